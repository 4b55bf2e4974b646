"""Reads rosbag2 bags (MCAP, SQLite) without ROS: split, compressed, cut short by a crash, or damaged."""

from __future__ import annotations

import functools
import hashlib
import os
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dfd_ros.bags.bag_files import METADATA, bag_files, format_of, listed_files, metadata_of, numbered
from dfd_ros.bags.bag_storage import Channel, Storage
from dfd_ros.bags.decompression import DecompressedFile, decompress
from dfd_ros.bags.mcap_reader import McapReader
from dfd_ros.bags.message_types import deserialiser
from dfd_ros.bags.sqlite_reader import SqliteReader
from dfd_ros.core.errors import InputError, reason, shortened
from dfd_ros.core.files import require_file

_MAX_NOTE_LENGTH, _MAX_NOTES = 400, 20  # names and reasons are whatever the bag says
_ZSTD = b'\x28\xb5\x2f\xfd'
_BLOCK = 1 << 20


class BagMessage(NamedTuple):
    """A message of a bag."""

    topic: str
    time: int
    """Of recording, ns."""
    message: Any
    reload: Callable[[], Any]
    """Reads the message again; raises ValueError, OSError. Keep this instead of the message, which may be large."""


class Bag:
    """One bag: a folder, or one of its files.

    What can be read of damaged files is read; `notes` has what is missing.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises InputError, one line that names the file: it does not exist, is not a bag, or has no messages."""
        self.path = Path(path)
        self.topics: dict[str, str] = {}
        """Type of each topic, such as ``sensor_msgs/msg/Image``. Only topics in CDR, as ROS 2 records them."""
        self.counts: Counter[str] = Counter()
        """Messages of each topic."""
        self._other: dict[str, str] = {}  # serialisation of the topics that are not in CDR
        self._conflicts: dict[str, str] = {}  # second type of a topic
        self._lines: list[str] = []
        self._ignored: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        metadata = metadata_of(self.path)
        self._listed = listed_files(metadata)
        self._recorded = _recorded_counts(metadata)
        self._missing: dict[str, int] = {}  # of the topics that have been read
        self._storages: list[Storage] = []
        self._decompressed: list[DecompressedFile] = []
        files, others = bag_files(self.path)
        if others:
            names = ', '.join(file.name for file in others)
            self._lines.append(f'{self.path}: not read: {names}, of another recording than {METADATA} lists')
        opened = [self._open(file) for file in files]
        self._storages = self._in_order([storage for storage in opened if storage is not None])
        for storage in self._storages:
            for number, channel in storage.channels.items():
                self._add(channel, storage.counts[number])
        for topic, count in self._recorded.items():  # a damaged name may hide a topic
            if count and topic not in self.topics:
                self._lines.append(f'{self.path}: no messages of {topic}, of which {METADATA} counts {count}')
        if not self.topics:
            reason = '; '.join(self.notes()) or f'{self.path}: the bag has no topics'
            raise InputError(reason + (f' in CDR, but in {min(self._other.values())}' if self._other else ''))
        if not self.counts.total():
            reason = 'was anything published during the recording?'
            raise InputError(f'{self.path}: the bag has no messages; {"; ".join(self.notes()) or reason}')

    def _open(self, file: Path) -> Storage | None:
        """The storage of a file; None, with a line in `notes`, if nothing of it can be read."""
        try:
            path = require_file(file)
            if file.suffix == '.zstd':
                unpacked = DecompressedFile(file)
                self._decompressed.append(unpacked)
                path = unpacked.path
                if unpacked.damage:
                    self._lines.append(f'{file}: cut short or damaged: {unpacked.damage}')
                    if not path.stat().st_size:
                        return None
            return (McapReader if format_of(file) == '.mcap' else SqliteReader)(file, path)
        except OSError as error:
            raise InputError(f'{file}: {reason(error)}') from None
        except InputError:
            raise
        except Exception as error:  # whatever broken data leads to
            self._lines.append(f'{file}: cannot be read: {reason(error)}')
            return None

    def _in_order(self, storages: list[Storage]) -> list[Storage]:
        """By the times in the files, else as metadata.yaml lists them, else by the numbers in their names."""
        names = {storage.file.name.removesuffix('.zstd') for storage in storages}
        for name in self._listed:
            if name not in names and not any(name in line for line in self._lines):
                self._lines.append(f'{self.path}: {name} is missing, which {METADATA} lists')
        rank = {name: position for position, name in enumerate(self._listed)}
        return sorted(
            storages,
            key=lambda storage: (
                storage.start,
                rank.get(storage.file.name.removesuffix('.zstd'), len(rank)),
                numbered(storage.file.name),
            ),
        )

    def _add(self, channel: Channel, count: int) -> None:
        if channel.serialisation != 'cdr':
            self._other[channel.topic] = channel.serialisation
            return
        if self.topics.setdefault(channel.topic, channel.type) != channel.type:
            self._conflicts[channel.topic] = channel.type
        self.counts[channel.topic] += count

    def notes(self) -> list[str]:
        """What of the bag is missing, damaged or ignored: lines that name the file, complete once it has been read."""
        damaged = [line for storage in self._storages for line in storage.cuts]
        ignored = [
            f'{topic}: {count} ignored, {reason}{self._examples[topic, reason]}'
            for (topic, reason), count in self._ignored.items()
        ]
        lost = {topic: count for topic, count in self._missing.items() if count > 0}
        counts = ', '.join(f'{count} of {self._recorded[topic]} messages of {topic}' for topic, count in lost.items())
        missing = [f'{self.path}: by {METADATA} there should be more: {counts} are missing'] if lost else []
        notes = [shortened(line, _MAX_NOTE_LENGTH) for line in (*self._lines, *damaged, *missing, *ignored)]
        more = len(notes) - _MAX_NOTES
        return [*notes[:_MAX_NOTES], f'{self.path}: {more} more such notes'] if more > 0 else notes

    def ignore(self, topic: str, reason: str, example: str = '') -> None:
        """Counts a message that is of no use, for `notes`. Of each reason the first example is kept."""
        self._ignored[topic, reason] += 1
        self._examples.setdefault((topic, reason), f' ({shortened(example)})' if example else '')

    def require(self, topic: str, *types: str) -> str:
        """The type of a topic. Raises InputError if it does not exist, or is of none of these types."""
        if topic not in self.topics:
            alike = sorted(name for name, kind in self.topics.items() if kind in types)
            names = shortened(', '.join(alike or sorted(self.topics)), _MAX_NOTE_LENGTH)
            hint = f'of that type it has {names}' if alike else f'it has {names}'
            if topic in self._other:
                hint = f'it is in {self._other[topic]}, not in CDR'
            raise InputError('; '.join([f'{self.path}: no topic {topic}; {hint}', *self.notes()]))
        if topic in self._conflicts:
            raise InputError(f'{self.path}: {topic} has two types, {self.topics[topic]} and {self._conflicts[topic]}')
        if types and self.topics[topic] not in types:
            raise InputError(f'{self.path}: {topic} is {self.topics[topic]}, must be {" or ".join(types)}')
        return self.topics[topic]

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) of these topics, about in the order of recording."""
        for topic, time, message, _ in self.read(topics):
            yield topic, time, message

    def read(self, topics: Collection[str], *, again: bool = False) -> Iterator[BagMessage]:
        """The messages of these topics, about in the order of recording.

        Each is read by the definition of its type in its file. One that cannot be read is left out, with a line in
        `notes`. Not more than a chunk is in memory.

        again: for a second look at these topics: unreadable messages are not counted, and the index is used.
        """
        found: Counter[str] = Counter()
        for storage in self._storages:
            wanted = {
                number: channel
                for number, channel in storage.channels.items()
                if channel.topic in topics and channel.serialisation == 'cdr'
            }
            if not wanted:
                continue
            readers: dict[int, Callable[[bytes], Any]] = {}
            for channel, time, data, place in storage.messages(wanted, by_index=again):
                topic = wanted[channel].topic
                found[topic] += 1
                try:
                    if channel not in readers:
                        readers[channel] = self._reader(storage, wanted[channel])
                    message = readers[channel](data)
                except InputError:
                    raise
                except Exception as error:  # whatever broken data leads to
                    if not again:
                        self.ignore(topic, 'cannot be read', reason(error))
                    continue
                yield BagMessage(topic, time, message, functools.partial(_reload, storage, place, readers[channel]))
        if not again:
            self._missing |= {topic: self._recorded[topic] - found[topic] for topic in {*topics} & {*self.topics}}

    def _reader(self, storage: Storage, channel: Channel) -> Callable[[bytes], Any]:
        try:
            deserialise = deserialiser(channel.type, channel.definition_encoding, channel.definition)
        except InputError as error:
            raise InputError(f'{storage.file}: {channel.topic}: {error}') from None

        def read(data: bytes) -> Any:
            if data[:4] == _ZSTD:  # compressed message by message
                data = decompress(data, 'zstd')
            return deserialise(data)

        return read


def _reload(storage: Storage, place: Any, read: Callable[[bytes], Any]) -> Any:
    return read(storage.read(place))


def _recorded_counts(metadata: dict[str, Any]) -> Counter[str]:
    """Messages of each topic in CDR by metadata.yaml; none if its counts contradict each other."""
    counts, others = Counter[str](), 0
    try:
        for item in metadata['topics_with_message_count']:
            topic, count = item['topic_metadata'], int(item['message_count'])
            if topic['serialization_format'] == 'cdr':
                counts[topic['name']] += count
            else:
                others += count
        return counts if counts.total() + others == metadata['message_count'] else Counter()
    except (KeyError, TypeError, ValueError):
        return Counter()


def fingerprint(path: Path) -> str:
    """Of the contents of a bag, wherever it is stored. Raises InputError, OSError."""
    digest = hashlib.sha256()
    for file in bag_files(path)[0]:
        add_to_fingerprint(digest, file)
    return digest.hexdigest()


def add_to_fingerprint(digest: Any, file: Path) -> None:
    """Adds the content of a file to a hash. Raises InputError, OSError."""
    with open(require_file(file), 'rb') as opened:
        digest.update(struct.pack('<Q', os.fstat(opened.fileno()).st_size))
        while block := opened.read(_BLOCK):
            digest.update(block)
