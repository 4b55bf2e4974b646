"""ROS message types without ROS: those in rosbags, and this package's own."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from dfd_ros.core.errors import InputError
from dfd_ros.core.resources import resource

OWN = ('dfd_ros/msg/FocusCommand', 'dfd_ros/msg/LensState')


def rosbags_module(name: str) -> ModuleType:
    """``rosbags.NAME``. Raises InputError if rosbags is not installed."""
    import importlib

    try:
        return importlib.import_module(f'rosbags.{name}')
    except ImportError:
        raise InputError('bags need the package rosbags, which is not installed: pip install rosbags') from None


@functools.cache
def typestore() -> Any:
    """The rosbags type store of this process, with the messages of ROS 2 and of this package.

    It is shared, because generating the code that reads and writes a type takes longer than reading a small bag.
    """
    typesys = rosbags_module('typesys')
    store = typesys.get_typestore(typesys.Stores.ROS2_KILTED)
    for name in OWN:
        text = resource(f'msg/{name.rpartition("/")[2]}.msg').read_text()
        store.register(typesys.get_types_from_msg(text, name))
    return store
