"""Messages and services by name, and their fields by path."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

from dfd_ros.core.errors import InputError
from dfd_ros.ros.drivers.focus_scale import Limits

_INTEGER = re.compile(r'(u?)int(8|16|32|64)$')


def find_interface(name: str, kind: str) -> Any:
    """The class of a name such as std_msgs/msg/Float64. `kind`: msg, srv. Raises InputError."""
    parts = name.split('/')
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind or not all(map(str.isidentifier, parts)):
        example = {'msg': 'std_msgs/msg/Float64', 'srv': 'std_srvs/srv/SetBool'}[kind]
        raise InputError(f'{name!r} is not a type such as {example}')
    try:
        return getattr(importlib.import_module(f'{parts[0]}.{kind}'), parts[2])
    except ImportError:
        raise InputError(f'{name}: the package {parts[0]} is not installed, or its workspace is not sourced') from None
    except AttributeError:
        raise InputError(f'{name}: the package {parts[0]} has no such type') from None


def number_limits(message: Any, path: str, name: str) -> Limits:
    """What a field takes. `name`: of the type, for messages. Raises InputError for none, and for no number."""
    *parents, last = path.split('.')
    try:
        for parent in parents:
            message = getattr(message, parent)
        kind = message.get_fields_and_field_types()[last]
    except (AttributeError, KeyError):
        raise InputError(f'{name} has no field {path!r}') from None
    if found := _INTEGER.match(kind):
        bits = int(found[2])
        low, high = (0, 2**bits - 1) if found[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return Limits(low, high, step=1)
    if kind in ('float', 'double'):
        return Limits(-math.inf, math.inf)
    raise InputError(f'{name}: field {path!r} is {kind}, not a number')


def set_field(message: Any, path: str, value: Any) -> None:
    """Sets a field, with the type that it has. Raises InputError for no such field, and for a value of another type."""
    *parents, last = path.split('.')
    try:
        for parent in parents:
            message = getattr(message, parent)
        kind = type(getattr(message, last))
    except AttributeError:
        raise InputError(f'{type(message).__name__} has no field {path!r}') from None
    if isinstance(value, str) != (kind is str) or (kind is bool and value not in (0, 1)):
        raise InputError(f'field {path!r}: {value!r} should be of type {kind.__name__}')
    setattr(message, last, kind(value))


def get_number(message: Any, path: str) -> float:
    """The number in a field. Raises InputError."""
    for part in path.split('.'):
        message = getattr(message, part, None)
    if isinstance(message, bool) or not isinstance(message, int | float):
        raise InputError(f'field {path!r} is no number')
    return float(message)


def find_key(message: Any, key: str) -> tuple[str | None, str]:
    """The value of a diagnostic_msgs/KeyValue of this key in a DiagnosticArray, or in a list of the message, and the
    hardware that the array names for it."""
    for status in getattr(message, 'status', ()):
        if (found := _in_list(status.values, key)) is not None:
            return found, status.hardware_id
    return _in_list(getattr(message, 'data', ()), key), ''


def _in_list(pairs: Any, key: str) -> str | None:
    return next((pair.value for pair in pairs if getattr(pair, 'key', None) == key), None)
