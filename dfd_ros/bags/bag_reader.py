"""rosbag2 bags (MCAP, SQLite) read without ROS: whole, split or compressed; MCAP also cut short by a crash."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dfd_ros.bags.mcap_file import DATA_END, FOOTER, MAGIC
from dfd_ros.bags.message_types import rosbags_module, typestore
from dfd_ros.core.errors import InputError

SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
_FINGERPRINT = 1 << 16  # bytes of each end of a file that tell it from others
_ZSTD = b'\x28\xb5\x2f\xfd'
_LARGEST_OPCODE = 0x0F
_END = struct.pack('<BQI', DATA_END, 4, 0) + struct.pack('<BQQQI', FOOTER, 20, 0, 0, 0) + MAGIC


class Bag:
    """One bag: a folder, or one of its files.

    What a crash has left is read as far as it goes; `cuts` then says what is missing.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises InputError, one line that names the file: not there, not a bag, no messages."""
        self.path = Path(path)
        self.cuts: list[str] = []
        """One line for each file that ends too early, as far as it is known yet."""
        self.topics: dict[str, str] = {}
        """Type of each topic, such as ``sensor_msgs/msg/Image``."""
        self.counts: Counter[str] = Counter()
        """Messages of each topic."""
        self._store = typestore()
        self._files = _files(self.path)
        for file in self._files:
            with self._opened(file) as storage:
                if storage is None:
                    continue
                for connection in storage.connections:
                    self._learn(connection)
                    self.counts[connection.topic] += connection.msgcount
        if not self.topics:
            reason = self.cuts[0] if self.cuts else f'{self.path}: the bag has no topics'
            raise InputError(f'{reason}; record it again')
        if not self.counts.total():
            raise InputError(f'{self.path}: the bag has no messages; was anything published while it was recorded?')

    def _learn(self, connection) -> None:
        known = self.topics.setdefault(connection.topic, connection.msgtype)
        if known != connection.msgtype:
            raise InputError(f'{self.path}: {connection.topic} has two types, {known} and {connection.msgtype}')
        if connection.msgtype not in self._store.types and connection.msgdef.data:
            typesys = rosbags_module('typesys')
            read = typesys.get_types_from_idl if connection.msgdef.format.name == 'IDL' else None
            types = (
                read(connection.msgdef.data)
                if read
                else typesys.get_types_from_msg(connection.msgdef.data, connection.msgtype)
            )
            self._store.register({name: fields for name, fields in types.items() if name not in self._store.types})

    def require(self, topic: str, *types: str) -> str:
        """The type of a topic. Raises InputError where it is not there, or of none of these types."""
        if topic not in self.topics:
            alike = sorted(name for name, kind in self.topics.items() if kind in types)
            hint = f'of that type it has {", ".join(alike)}' if alike else f'it has {", ".join(sorted(self.topics))}'
            raise InputError(f'{self.path}: no topic {topic}; {hint}')
        if types and self.topics[topic] not in types:
            raise InputError(f'{self.path}: {topic} is {self.topics[topic]}, must be {" or ".join(types)}')
        return self.topics[topic]

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, time of recording in ns, message) of these topics, in the order of the recording.

        One chunk is in memory at a time. A file that ends too early, or breaks, ends there, with a line in `cuts`.
        """
        for file in self._files:
            with self._opened(file) as storage:
                if storage is None:
                    continue
                connections = [c for c in storage.connections if c.topic in topics]
                if not connections:
                    continue
                # Without an index, rosbags refuses messages that are not in order; whoever reads here can take it.
                is_mcap = hasattr(storage, 'messages_scan')
                scan = storage.messages_scan if is_mcap and not storage.chunks else storage.messages
                try:
                    for connection, time, data in scan(connections):
                        yield connection.topic, time, self._deserialise(data, connection.msgtype)
                except InputError:
                    raise
                except GeneratorExit:
                    raise
                except Exception as error:  # whatever a decoder makes of broken data
                    self._cut(file, error)

    def _deserialise(self, data: bytes, message_type: str):
        if data[:4] == _ZSTD:  # compressed message by message
            data = _zstd().decompress(data)
        return self._store.deserialize_cdr(data, message_type)

    def _cut(self, file: Path, error: Exception) -> None:
        line = f'{file}: broken or cut short: {" ".join(str(error).split()) or type(error).__name__}'
        if line not in self.cuts:
            self.cuts.append(line)

    @contextlib.contextmanager
    def _opened(self, file: Path) -> Iterator[Any]:
        """The rosbags storage of a file; None, with a line in `cuts`, where nothing can be read of it."""
        rosbag2 = rosbags_module('rosbag2')
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(_decompressed(file)) if file.suffix == '.zstd' else file
            storage = None
            try:
                if '.mcap' in file.suffixes:
                    end = _end_of_records(path)
                    if end is not None:
                        self._cut(file, ValueError('it has no end; read up to the last whole record'))
                    storage = rosbags_module('rosbag2.storage_mcap').McapReader(
                        path if end is None else _EndedFile(path, end)
                    )
                else:
                    if not path.stat().st_size:
                        raise ValueError('the file is empty')
                    if any(path.with_name(path.name + end).exists() for end in ('-wal', '-journal')):
                        self._cut(
                            file,
                            ValueError(
                                'its recorder has not closed it; open it once with sqlite3, which '
                                'takes in the journal beside it'
                            ),
                        )
                    storage = rosbags_module('rosbag2.storage_sqlite3').Sqlite3Reader(path)
                storage.open()
                stack.callback(storage.close)
            except OSError as error:
                raise InputError(f'{file}: {error.strerror or error}') from None
            except Exception as error:
                if isinstance(error, rosbag2.ReaderError) and 'Profile' in str(error):
                    raise InputError(f'{file}: an MCAP file, but not of ROS 2') from None
                self._cut(file, error)
                storage = None
            yield storage


def _zstd():
    return importlib.import_module('compression.zstd' if sys.version_info >= (3, 14) else 'backports.zstd')


def _files(path: Path) -> list[Path]:
    """The files of a bag, in the order of the recording."""
    if not path.exists():
        raise InputError(f'{path}: no such bag')
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise InputError(f'{path}: not a bag; give a folder with .mcap or .db3 files, or one such file')
        return [path]
    # Not by metadata.yaml: it is missing after a crash, or lacks the last file. Names are numbered: bag_2 comes
    # before bag_10.
    found = [file for file in path.iterdir() if file.name.endswith(SUFFIXES)]
    plain = {file.name for file in found}
    found = [file for file in found if file.suffix != '.zstd' or file.stem not in plain]
    if not found:
        raise InputError(f'{path}: no bag, there is no .mcap or .db3 file in it')
    return sorted(found, key=_numbered)


def fingerprint(path: Path) -> str:
    """Tells a bag from others, wherever it lies: of the sizes and ends of its files. Raises InputError, OSError."""
    digest = hashlib.sha256()
    for file in _files(path):
        size = file.stat().st_size
        digest.update(struct.pack('<Q', size))
        with open(file, 'rb') as opened:
            digest.update(opened.read(_FINGERPRINT))
            opened.seek(max(0, size - _FINGERPRINT))
            digest.update(opened.read(_FINGERPRINT))
    return digest.hexdigest()


def _numbered(file: Path) -> tuple[int, str]:
    stem = file.name.partition('.')[0]
    number = stem.rpartition('_')[2]
    return (int(number) if number.isdecimal() else 0, stem)


@contextlib.contextmanager
def _decompressed(file: Path) -> Iterator[Path]:
    """A file that rosbag2 has compressed as a whole, as far as it goes."""
    with tempfile.TemporaryDirectory(prefix='dfd-bag-') as folder:
        path = Path(folder) / file.stem
        with _zstd().open(file, 'rb') as source, open(path, 'wb') as target:
            with contextlib.suppress(EOFError, _zstd().ZstdError):
                shutil.copyfileobj(source, target, 1 << 20)
        yield path


def _end_of_records(path: Path) -> int | None:
    """Where the last whole record of an MCAP file without its end stops; None where the file has its end."""
    size = path.stat().st_size
    with open(path, 'rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError('not an MCAP file' if size else 'the file is empty')
        if size >= 2 * len(MAGIC):
            file.seek(-len(MAGIC), os.SEEK_END)
            if file.read() == MAGIC:
                return None
        position = len(MAGIC)
        while True:
            file.seek(position)
            head = file.read(9)
            if len(head) < 9:
                return position
            kind, length = struct.unpack('<BQ', head)
            if not 0 < kind < _LARGEST_OPCODE or position + 9 + length > size:
                return position
            position += 9 + length


class _EndedFile:
    """A cut MCAP file as rosbags takes paths: up to `end`, and an end of its own after it."""

    def __init__(self, path: Path, end: int) -> None:
        self._path, self._end = path, end

    def __str__(self) -> str:
        return str(self._path)

    def open(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Joined(io.FileIO(self._path, mode), self._end, _END), 1 << 16)


class _Joined(io.RawIOBase):
    """The first `length` bytes of a file, and `tail` after them."""

    def __init__(self, file: io.FileIO, length: int, tail: bytes) -> None:
        self._file, self._length, self._tail, self._position = file, length, tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length + len(self._tail)}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer) -> int:
        wanted = len(buffer)
        if self._position < self._length:
            self._file.seek(self._position)
            data = self._file.read(min(wanted, self._length - self._position))
        else:
            start = self._position - self._length
            data = self._tail[start : start + wanted]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
