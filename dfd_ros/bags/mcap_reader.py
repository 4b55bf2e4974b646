"""Reads MCAP files of rosbag2, also damaged and cut ones.

The records are scanned from the start, so that neither a broken nor a missing index or summary matters. What is
damaged is skipped up to the next chunk. Chunks are decompressed within limits, and their checksums are compared.

Format: MCAP specification 0, https://mcap.dev/spec.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dfd_ros.bags.bag_storage import Channel, Damage, StoredMessage
from dfd_ros.bags.decompression import MAX_SIZE, decompress
from dfd_ros.bags.mcap_file import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_INDEX,
    SCHEMA,
    STATISTICS,
    SUMMARY_OFFSET,
)
from dfd_ros.core.deflate import crc32
from dfd_ros.core.errors import plural
from dfd_ros.core.files import require_file

MAX_CACHE = 64 << 20  # bytes of decompressed chunks; the last one is always kept
_HEAD = 9  # bytes of a record before its content
_CHUNK_HEAD = 32  # bytes of a chunk before the name of its compression
_MESSAGE_HEAD = 22  # bytes of a message before its data
_PRIVATE = 0x80  # opcodes from here on are free for applications
_SEARCHED = 1 << 20  # bytes at a time
# Where reading can continue: at a chunk (length below 4 GiB, times, size, checksum, compression) or a message.
_RESUMED = re.compile(
    rb'[\x05\x06](?=.{4}\0\0\0\0)(?:(?<=\x05)|(?=.{36}(?:\0{4}|\x03\0\0\0lz4|\x04\0\0\0zstd)))', re.DOTALL
)
_MAX_RESUMED = 64
_CHAIN = 3  # valid records in a row that a message must begin to be taken for one


@dataclass
class _Span:
    """A chunk, or records with messages between chunks."""

    start: int
    end: int
    is_chunk: bool
    counts: Counter[int] = field(default_factory=Counter)
    is_indexed: bool = False
    """Whether its message index has the counts."""


class _Cut(ValueError):
    """A record that reaches beyond the end of the file."""


class McapReader:
    """A `Storage` of an .mcap file."""

    def __init__(self, file: Path, path: Path) -> None:
        """`file`: name for messages. `path`: where to read it.

        Raises ValueError if nothing of it can be read, InputError if it is not a regular file, OSError.
        """
        self.file, self._path = file, path
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self.start = 0
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._spans: list[_Span] = []
        self._stated: Counter[int] = Counter()
        self._damage = Damage(file)
        self._end = ''
        """What is wrong with the end of the file."""
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._handle, self._users = -1, 0
        with self._opened():
            self._size = os.fstat(self._handle).st_size
            if self._bytes(0, len(MAGIC)) != MAGIC:
                raise ValueError('not an MCAP file' if self._size else 'the file is empty')
            self._scan()
            self._complete()

    @property
    def cuts(self) -> list[str]:
        return self._damage.lines + ([f'{self.file}: {self._end}'] if self._end else [])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """Holds the file open; not longer, as a bag may have more files than a process may open."""
        if not self._users:
            self._handle = os.open(require_file(self._path), os.O_RDONLY | os.O_CLOEXEC)
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                os.close(self._handle)

    def _bytes(self, position: int, size: int) -> bytes:
        return os.pread(self._handle, size, position)

    # The records of the file

    def _scan(self) -> None:
        """Finds the spans, and the channels outside of chunks."""
        position, summary = len(MAGIC), -1
        while position < self._size:
            try:
                kind, end = self._record(position)
                if kind == FOOTER:
                    self._check_summary(summary, position)
                    return
                if kind == DATA_END:
                    summary = end
                    self._schemas_of_data = dict(self._schemas), dict(self.channels)
                elif kind in (SCHEMA, CHANNEL):
                    self._define(kind, self._bytes(position + _HEAD, end - position - _HEAD))
                elif kind == STATISTICS:
                    self._stated = _stated_counts(self._bytes(position + _HEAD, end - position - _HEAD))
                elif kind >= _PRIVATE:
                    self._damage.add(position, f'unknown record {kind:#x} at byte {position}')
                elif summary < 0:
                    self._add(kind, position, end)
                position = end
            except (ValueError, struct.error, IndexError) as error:
                found = self._next(position + 1)
                if found < 0:
                    self._end_early(position, summary, error)
                    return
                self._damage.add(position, f'{error} at byte {position}')
                position, summary = found, -1
        self._end_early(position, summary, _Cut())

    def _record(self, position: int) -> tuple[int, int]:
        """(opcode, end) of the record at this position. Raises ValueError if there cannot be one."""
        head = self._bytes(position, _HEAD)
        if len(head) < _HEAD:
            raise _Cut('the file ends in a record')
        kind, length = struct.unpack('<BQ', head)
        end = position + _HEAD + length
        is_plausible = {
            FOOTER: length == 20,
            DATA_END: length == 4,
            MESSAGE: _MESSAGE_HEAD <= length <= MAX_SIZE,
            MESSAGE_INDEX: length >= 6 and (length - 6) % 16 == 0,
            CHUNK: length >= _CHUNK_HEAD + 8,
            SUMMARY_OFFSET: length == 17,
        }.get(kind, HEADER <= kind <= DATA_END or kind >= _PRIVATE)
        if not is_plausible:
            raise ValueError('no valid record')
        if end > self._size:
            raise _Cut('a record reaches beyond the end of the file')
        if kind == CHUNK:
            self._chunk_head(position, end)
        return kind, end

    def _add(self, kind: int, position: int, end: int) -> None:
        if kind == CHUNK:
            self._spans.append(_Span(position, end, is_chunk=True))
            first = struct.unpack('<Q', self._bytes(position + _HEAD, 8))[0]
            self.start = min(self.start or first, first)
        elif kind == MESSAGE:
            channel, _, time = struct.unpack('<HIQ', self._bytes(position + _HEAD, 14))
            if not self._spans or self._spans[-1].is_chunk or self._spans[-1].end != position:
                self._spans.append(_Span(position, end, is_chunk=False))
            self._spans[-1].end = end
            self._spans[-1].counts[channel] += 1
            self.start = min(self.start or time, time)
        elif kind == MESSAGE_INDEX and self._spans and self._spans[-1].is_chunk:
            channel, size = struct.unpack('<HI', self._bytes(position + _HEAD, 6))
            if 6 + size != end - position - _HEAD:
                raise ValueError('a message index of another length')
            self._spans[-1].counts[channel] += size // 16
            self._spans[-1].is_indexed = True

    def _chunk_head(self, position: int, end: int) -> tuple[int, int, str, int]:
        """(size, checksum, compression, start of the content) of a chunk. Raises ValueError if it is inconsistent."""
        head = self._bytes(position + _HEAD, min(end - position - _HEAD, 64))
        _, _, size, checksum, length = struct.unpack_from('<QQQII', head)
        compression = head[_CHUNK_HEAD : _CHUNK_HEAD + length].decode('ascii')
        (stored,) = struct.unpack_from('<Q', head, _CHUNK_HEAD + length)
        if _CHUNK_HEAD + length + 8 + stored != end - position - _HEAD:
            raise ValueError('a chunk of another length')
        return size, checksum, compression, position + _HEAD + _CHUNK_HEAD + length + 8

    def _next(self, start: int) -> int:
        """Where reading can continue after damage: the position of a valid record; -1 = nowhere."""
        is_chunked = any(span.is_chunk for span in self._spans)
        while start < self._size:
            block = self._bytes(start, _SEARCHED + _MAX_RESUMED)
            for found in _RESUMED.finditer(block, 0, _SEARCHED + 1):
                position = start + found.start()
                if block[found.start()] == CHUNK:
                    if self._is_valid(position, 1):
                        return position
                elif not is_chunked and self._is_valid(position, _CHAIN):
                    return position
            start += _SEARCHED
        return -1

    def _is_valid(self, position: int, records: int) -> bool:
        try:
            for _ in range(records):
                kind, position = self._record(position)
                if kind == FOOTER:
                    break
        except (ValueError, struct.error):
            return False
        return True

    def _check_summary(self, summary: int, footer: int) -> None:
        _, _, checksum = struct.unpack('<QQI', self._bytes(footer + _HEAD, 20))
        if summary >= 0 and checksum:
            data = self._bytes(summary, min(footer - summary, MAX_SIZE)) + self._bytes(footer, _HEAD + 16)
            if crc32(data) != checksum:
                self._forget_summary()

    def _end_early(self, position: int, summary: int, error: Exception) -> None:
        """The records end, or become unreadable, before the end of the file is reached properly."""
        if summary >= 0:
            self._forget_summary()
        elif isinstance(error, _Cut):
            self._end = f'cut short; read up to byte {position} of {self._size}'
        else:
            self._end = f'damaged from byte {position} of {self._size} on: {error}'

    def _forget_summary(self) -> None:
        """Leaves out the definitions in a damaged summary. All messages are before it."""
        self._schemas, self.channels = self._schemas_of_data
        self._stated.clear()
        self._end = 'its summary is damaged; all records before it were read'

    def _define(self, kind: int, content: bytes) -> None:
        """Takes a schema or a channel."""
        number, position = struct.unpack_from('<H', content)[0], 2
        schema = 0
        if kind == CHANNEL:
            (schema,) = struct.unpack_from('<H', content, position)
            position += 2
        texts = []
        for _ in range(3):  # the last is the definition of a schema, and the metadata of a channel
            (length,) = struct.unpack_from('<I', content, position)
            texts.append(content[position + 4 : position + 4 + length].decode(errors='replace'))
            position += 4 + length
        if position != len(content):
            raise ValueError('a record of another length')
        if kind == SCHEMA:
            name, encoding, definition = texts
            self._schemas[number] = name, encoding, definition
        else:
            topic, serialisation, _ = texts
            name, encoding, definition = self._schemas.get(schema, ('', '', ''))
            channel = Channel(topic, name, serialisation, encoding, definition)
            known = self.channels.setdefault(number, channel)
            if (known.topic, known.serialisation) != (topic, serialisation):
                self._damage.add(('channel', number), f'channel {number} is {known.topic} and {topic}')

    def _complete(self) -> None:
        """Finds the channels and counts that only the chunks themselves hold."""
        for span in self._spans:
            if span.is_chunk and not (span.is_indexed and span.counts.keys() <= self.channels.keys()):
                counts = Counter(channel for channel, *_ in self._in_chunk(span, self._content(span)))
                span.counts = span.counts if span.is_indexed else counts
            self.counts += span.counts
        if not self.cuts and (lost := self._stated - self.counts):
            self._damage.add('statistics', f'{_fewer(lost)} than its statistics count')

    # The messages

    def messages(self, channels: Collection[int], *, by_index: bool = False) -> Iterator[StoredMessage]:
        with self._opened():
            for span in self._spans:
                if by_index and span.is_indexed and not any(channel in span.counts for channel in channels):
                    continue
                if not span.is_chunk:
                    yield from self._between_chunks(span, channels)
                    continue
                content = self._content(span)
                found = sorted(self._in_chunk(span, content), key=lambda item: item[1])
                if span.is_indexed and (lost := span.counts - Counter(channel for channel, *_ in found)):
                    self._damage.add(span.start, f'chunk at byte {span.start}: {_fewer(lost)} than its index counts')
                for channel, time, start, size in found:
                    if channel in channels:
                        yield StoredMessage(channel, time, content[start : start + size], (span, start, size))

    def read(self, place: tuple[_Span, int, int]) -> bytes:
        span, start, size = place
        with self._opened():
            if not span.is_chunk:
                return self._bytes(start, size)
            _, _, compression, content = self._chunk_head(span.start, span.end)
            if not compression:
                return self._bytes(content + start, size)
            return self._content(span)[start : start + size]

    def _between_chunks(self, span: _Span, channels: Collection[int]) -> Iterator[StoredMessage]:
        position = span.start
        while position < span.end:
            head = self._bytes(position, _HEAD + 14)
            _, length, channel, _, time = struct.unpack('<BQHIQ', head)
            start, size = position + _HEAD + _MESSAGE_HEAD, length - _MESSAGE_HEAD
            if channel in channels:
                yield StoredMessage(channel, time, self._bytes(start, size), (span, start, size))
            position += _HEAD + length

    def _in_chunk(self, span: _Span, content: bytes) -> Iterator[tuple[int, int, int, int]]:
        """(channel, time, start of the data, its size) of the messages in a chunk."""
        position = 0
        try:
            while position < len(content):
                kind, length = struct.unpack_from('<BQ', content, position)
                start, position = position + _HEAD, position + _HEAD + length
                if position > len(content):
                    raise ValueError('a record is longer than the chunk')
                if kind in (SCHEMA, CHANNEL):
                    self._define(kind, content[start:position])
                elif kind == MESSAGE:
                    channel, _, time, _ = struct.unpack_from('<HIQQ', content[start : start + _MESSAGE_HEAD])
                    yield channel, time, start + _MESSAGE_HEAD, length - _MESSAGE_HEAD
        except (ValueError, struct.error) as error:
            self._damage.add(span.start, f'chunk at byte {span.start}: {error}')

    def _content(self, span: _Span) -> bytes:
        """The content of a chunk; nothing, with a line in `cuts`, if it is damaged."""
        if span.start in self._cache:
            self._cache.move_to_end(span.start)
            return self._cache[span.start]
        try:
            size, checksum, compression, start = self._chunk_head(span.start, span.end)
            if max(size, span.end - start) > MAX_SIZE:
                raise ValueError(f'{size} bytes, more than {MAX_SIZE >> 20} MiB')
            content = decompress(self._bytes(start, span.end - start), compression, size)
            if checksum and crc32(content) != checksum:
                raise ValueError('its checksum differs')
        except (ValueError, struct.error, MemoryError) as error:
            self._damage.add(span.start, f'chunk at byte {span.start}: {str(error) or "no memory for it"}')
            return b''
        if compression:
            self._cache[span.start] = content
            while len(self._cache) > 1 and sum(map(len, self._cache.values())) > MAX_CACHE:
                self._cache.popitem(last=False)
        return content


def _stated_counts(content: bytes) -> Counter[int]:
    """Messages of each channel by a statistics record; none if its counts contradict each other."""
    try:
        (total,), (size,) = struct.unpack_from('<Q', content), struct.unpack_from('<I', content, 42)
        counts = Counter(dict(struct.iter_unpack('<HQ', content[46 : 46 + size])))
    except struct.error:
        return Counter()
    return counts if counts.total() == total else Counter()


def _fewer(lost: Counter[int]) -> str:
    return f'{plural(lost.total(), "message")} less'
