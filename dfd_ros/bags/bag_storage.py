"""What the readers of the storage formats of rosbag2 have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dfd_ros.core.errors import shortened


class Channel(NamedTuple):
    """A topic in a file."""

    topic: str
    type: str
    """Such as ``sensor_msgs/msg/Image``."""
    serialisation: str
    """Of the messages: cdr in ROS 2."""
    definition_encoding: str
    definition: str
    """Text of the type's definition; empty = the file has none."""


class StoredMessage(NamedTuple):
    """A message in a file, serialised."""

    channel: int
    time: int
    """Of recording, ns."""
    data: bytes
    place: Any
    """Where it is in the file, for `Storage.read`."""


class Storage(Protocol):
    """One file of a bag. Damage costs only the messages that it hits, and is in `cuts`."""

    file: Path
    channels: dict[int, Channel]
    counts: Counter[int]
    """Messages of each channel, as far as they are known without reading them."""
    start: int
    """Time of recording of the first message, ns; 0 = not known."""

    @property
    def cuts(self) -> list[str]:
        """Lines that name the file and say what is missing, as far as it has been read."""

    def messages(self, channels: Collection[int], *, by_index: bool = False) -> Iterator[StoredMessage]:
        """The messages of these channels, about in the order of recording.

        by_index: skip parts of the file that have none of them by its index, which damage may have changed.
        """

    def read(self, place: Any) -> bytes:
        """The data of the message at this place, which `messages` gave. Raises ValueError, OSError."""


class Damage:
    """The damaged places of a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._places: dict[object, str] = {}

    def add(self, place: object, reason: str) -> None:
        """place: identifies the damage; each is counted once."""
        self._places.setdefault(place, shortened(reason))

    @property
    def lines(self) -> list[str]:
        """At most one line."""
        if not self._places:
            return []
        first, more = next(iter(self._places.values())), len(self._places) - 1
        return [f'{self._file}: damaged: {first}' + (f', and {more} more' if more else '')]
