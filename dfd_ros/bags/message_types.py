"""ROS message types without ROS: those in rosbags, this package's own, and those that a bag defines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.resources import resource

OWN = ('dfd_ros/msg/FocusCommand', 'dfd_ros/msg/LensState')
MAX_DEFINITION = 1 << 20  # bytes

# Video, which rosbags does not know and SQLite bags before ROS 2 Iron do not define.
_FOREIGN = {
    'foxglove_msgs/msg/CompressedVideo': """
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
""",
    'ffmpeg_image_transport_msgs/msg/FFMPEGPacket': """
std_msgs/Header header
int32 width
int32 height
string encoding
uint64 pts
uint8 flags
bool is_bigendian
uint8[] data
""",
}


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
    own = {name: resource(f'msg/{name.rpartition("/")[2]}.msg').read_text() for name in OWN}
    for name, text in (_FOREIGN | own).items():
        store.register(typesys.get_types_from_msg(text, name))
    return store


@functools.lru_cache(maxsize=256)
def deserialiser(message_type: str, encoding: str, definition: str) -> Callable[[bytes], Any]:
    """Deserialises CDR messages of a type by its definition, as a bag has it.

    Args:
        encoding: of the definition: ros2msg, ros2idl, or empty.
        definition: its text. If it is empty, the type must be a known one.

    Raises:
        InputError: the definition cannot be used.
    """
    store = typestore()
    is_standard = message_type in store.types and message_type not in OWN
    if definition.strip():
        try:
            store = _store_of(message_type, encoding, definition)
        except Exception as error:  # the parser's own and others
            # Some recorders write no more than the name of a type, and some definitions are damaged. The standard
            # types have not changed in ROS 2.
            if not is_standard:
                raise InputError(f'the definition of {message_type} cannot be used: {reason(error)}') from None
    elif message_type not in store.types:
        raise InputError(f'{message_type} is not known and the bag has no definition of it')
    return lambda data: store.deserialize_cdr(data, message_type)


def _store_of(message_type: str, encoding: str, definition: str) -> Any:
    """A type store in which a type is what this definition says."""
    store, types = typestore(), _parsed(message_type, encoding, definition)
    if any(name not in store.fielddefs or _fields(store.fielddefs, name) != _fields(types, name) for name in types):
        store = _own_store(types)
    store.get_msgdef(message_type)
    return store


def _parsed(message_type: str, encoding: str, definition: str) -> dict[str, Any]:
    typesys = rosbags_module('typesys')
    if len(definition) > MAX_DEFINITION:
        raise ValueError(f'it is longer than {MAX_DEFINITION} bytes')
    if encoding.endswith('idl'):
        types = typesys.get_types_from_idl(definition)
    else:
        types = typesys.get_types_from_msg(definition, message_type)
    if message_type not in types or not types[message_type][1]:
        raise ValueError('it has no fields')
    return types


def _fields(types: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return [(field.lower(), kind) for field, kind in types[name][1]]


def _own_store(types: dict[str, Any]) -> Any:
    """A type store of these types, and of the standard types that they refer to."""
    known = typestore().fielddefs
    all_types: dict[str, Any] = {}
    left = list(types)
    while left:
        name = left.pop()
        if name not in all_types and (name in types or name in known):
            all_types[name] = types.get(name, known.get(name))
            left += [part for _, kind in all_types[name][1] for part in _names(kind)]
    store = rosbags_module('typesys.store').Typestore()
    store.register(all_types)
    return store


def _names(kind: Any) -> list[str]:
    """The message types in a field's type, which may be an array of them."""
    node, detail = kind
    if node == rosbags_module('interfaces').Nodetype.NAME:
        return [detail]
    return _names(detail[0]) if isinstance(detail[0], tuple) else []
