"""User-defined classes by name, such as `mypackage.camera:MyCamera`: cameras and networks without a fork."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from functools import reduce
from typing import TypeVar

from dfd_ros.core.errors import InputError

MODULE_CLASS = 'module:Class'
"""A choice that means any user-defined class."""

T = TypeVar('T')


def is_choice(value: str, choices: Collection[str]) -> bool:
    """Whether `value` is one of `choices`, or names a class if `MODULE_CLASS` is one."""
    return value in choices or (MODULE_CLASS in choices and ':' in value)


def find_class(name: str, base: type[T]) -> type[T]:
    """The class that `module:Class` names.

    Raises:
        InputError: there is no such module or class, or the class does not derive from `base`.
    """
    module, _, cls = name.partition(':')
    if not all(part.isidentifier() for part in module.split('.')):
        raise InputError(f'"{name}": give {MODULE_CLASS}, such as mypackage.mymodule:MyClass')
    try:
        found: object = reduce(getattr, cls.split('.'), importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name is None or not f'{module}.'.startswith(f'{error.name}.'):
            raise  # the module exists, but one of its imports does not
        raise InputError(
            f'"{name}": Python finds no module {error.name}; install it, or put its folder on PYTHONPATH'
        ) from None
    except AttributeError:
        raise InputError(f'"{name}": the module {module} has no class "{cls}"') from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f'"{name}": has to be a class that derives from {base.__module__}.{base.__name__}')
    return found
