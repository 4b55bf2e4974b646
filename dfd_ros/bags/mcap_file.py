"""Writes an MCAP file that can be read at any time, also if the writer was killed.

Each flush appends one chunk and writes the end of the file (summary and footer) after it; the next flush overwrites
that end with its chunk. So everything flushed is in a complete file. Only during a write the file has no end: readers
that scan, such as those of rosbag2 and `dfd_ros.bags.bag_reader`, can open it then too.

Format: MCAP specification 0, https://mcap.dev/spec, profile "ros2".
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(1, 9)
STATISTICS, SUMMARY_OFFSET, DATA_END = 0x0B, 0x0E, 0x0F
_BUFFERS = 512  # in one os.pwritev; the limit is IOV_MAX, 1024 on Linux


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack('<I', len(data)) + data


def _map(entries: dict[str, str]) -> bytes:
    return _text(b''.join(_text(key) + _text(value) for key, value in entries.items()))


def _record(kind: int, *parts: bytes) -> bytes:
    body = b''.join(parts)
    return struct.pack('<BQ', kind, len(body)) + body


class Flushed(NamedTuple):
    """The messages that are in a file."""

    counts: dict[int, int]
    """Of each channel."""
    start: int
    """Times of the first and last message (ns); 0 if there is none."""
    end: int
    bytes: int


class McapFile:
    """Writes one MCAP file, a chunk (not compressed) with each `flush`. Message data is not copied."""

    def __init__(self, path: Path) -> None:
        """Creates the file. Raises OSError, such as FileExistsError."""
        self.path = path
        self.counts: dict[int, int] = defaultdict(int)
        """Messages of each channel, including pending ones."""
        self.start = self.end = 0
        """Times of the first and last message (ns); 0 if there is none."""
        self.pending = 0
        """Bytes to be written by the next flush."""
        self.flushed = Flushed({}, 0, 0, 0)
        """What is in the file."""
        self._schemas: dict[str, int] = {}
        self._descriptions: list[bytes] = []  # schema and channel records
        self._channels = 0
        self._chunk_indexes: list[bytes] = []
        self._buffers: list[bytes | memoryview] = []
        self._index: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._times = (0, 0)
        self._data = 0  # bytes of messages
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        head = MAGIC + _record(HEADER, _text('ros2'), _text('dfd_ros'))
        self._data_end = len(head)
        os.pwrite(self._file, head, 0)
        self._write_end([])

    @property
    def size(self) -> int:
        """Approximate size of the file in bytes after the next flush."""
        return self._data_end + self.pending

    def add_channel(self, topic: str, message_type: str, definition: str, metadata: dict[str, str]) -> int:
        """Adds a channel of CDR messages and returns its number. `definition`: text of the type and all its parts."""
        if message_type not in self._schemas:
            self._schemas[message_type] = number = len(self._schemas) + 1
            self._describe(
                _record(SCHEMA, struct.pack('<H', number), _text(message_type), _text('ros2msg'), _text(definition))
            )
        self._channels += 1
        self._describe(
            _record(
                CHANNEL,
                struct.pack('<HH', self._channels, self._schemas[message_type]),
                _text(topic),
                _text('cdr'),
                _map(metadata),
            )
        )
        return self._channels

    def _describe(self, record: bytes) -> None:
        self._descriptions.append(record)
        self._append(record)

    def _append(self, *data: bytes | memoryview) -> None:
        self._buffers.extend(data)
        self.pending += sum(map(len, data))

    def write(self, channel: int, log_time: int, publish_time: int, data: bytes) -> None:
        """Adds a message, which the next flush writes. Times in ns."""
        waiting = any(self._index.values())
        first, last = self._times if waiting else (log_time, log_time)
        self._times = min(first, log_time), max(last, log_time)
        self.start = min(self.start or log_time, log_time)
        self.end = max(self.end, log_time)
        self._index[channel].append((log_time, self.pending))
        self._append(
            struct.pack(
                '<BQHIQQ', MESSAGE, 22 + len(data), channel, self.counts[channel] & 0xFFFFFFFF, log_time, publish_time
            ),
            data,
        )
        self.counts[channel] += 1
        self._data += len(data)

    def flush(self) -> None:
        """Writes the pending messages and the end of the file. If it raises OSError, the file is as it was before."""
        if not any(self._index.values()):
            self._write_end([])  # there may be new channels
            return
        crc = 0
        for data in self._buffers:
            crc = zlib.crc32(data, crc)
        size = self.pending
        head = struct.pack('<BQQQQI', CHUNK, 40 + size, *self._times, size, crc) + _text('') + struct.pack('<Q', size)
        after = self._data_end + len(head) + size
        indexes: list[bytes] = []
        offsets: dict[int, int] = {}
        for channel, entries in self._index.items():
            offsets[channel] = after + sum(map(len, indexes))
            indexes.append(
                _record(
                    MESSAGE_INDEX,
                    struct.pack('<HI', channel, 16 * len(entries)),
                    *(struct.pack('<QQ', *entry) for entry in entries),
                )
            )
        index_size = sum(map(len, indexes))
        chunk_index = _record(
            CHUNK_INDEX,
            struct.pack('<QQQQ', *self._times, self._data_end, len(head) + size),
            _text(b''.join(struct.pack('<HQ', *item) for item in offsets.items())),
            struct.pack('<Q', index_size),
            _text(''),
            struct.pack('<QQ', size, size),
        )
        self._chunk_indexes.append(chunk_index)
        before = self._data_end, self.flushed
        self._data_end = after + index_size
        self.flushed = Flushed(dict(self.counts), self.start, self.end, self._data)
        try:
            self._write_end([head, *self._buffers, *indexes])
        except OSError:
            self._data_end, self.flushed = before
            self._chunk_indexes.pop()
            self._write_end([])
            raise
        # Starts to write it to the disk, without waiting; otherwise `close` would wait for the whole file.
        os.posix_fadvise(self._file, before[0], self._data_end - before[0], os.POSIX_FADV_DONTNEED)
        self._buffers, self.pending = [], 0
        self._index.clear()

    def _write_end(self, buffers: list[bytes | memoryview]) -> None:
        """Writes `buffers`, whose last byte is the last of the data, and then the end of the file."""
        start = self._data_end - sum(map(len, buffers))
        data_end = _record(DATA_END, struct.pack('<I', 0))
        groups = [
            (SCHEMA, [r for r in self._descriptions if r[0] == SCHEMA]),
            (CHANNEL, [r for r in self._descriptions if r[0] == CHANNEL]),
            (STATISTICS, [self._statistics()]),
            (CHUNK_INDEX, self._chunk_indexes),
        ]
        summary_start = position = self._data_end + len(data_end)
        records, offsets = [], []
        for kind, group in groups:
            size = sum(map(len, group))
            if group:
                records += group
                offsets.append(_record(SUMMARY_OFFSET, struct.pack('<BQQ', kind, position, size)))
            position += size
        summary = b''.join(records + offsets)
        footer = struct.pack('<BQQQ', FOOTER, 20, summary_start, position)
        crc = zlib.crc32(footer, zlib.crc32(summary))
        # Truncate first: if the process is killed during the write, nothing of the old end remains that could be
        # taken for the end of the new data.
        os.ftruncate(self._file, start)
        _write_all(self._file, [*buffers, data_end, summary, footer, struct.pack('<I', crc), MAGIC], start)

    def _statistics(self) -> bytes:
        counts, start, end, _ = self.flushed
        return _record(
            STATISTICS,
            struct.pack(
                '<QHIIIIQQ',
                sum(counts.values()),
                len(self._schemas),
                self._channels,
                0,
                0,
                len(self._chunk_indexes),
                start,
                end,
            ),
            _text(b''.join(struct.pack('<HQ', *item) for item in counts.items())),
        )

    def close(self) -> None:
        """Flushes and closes. Raises OSError if the rest does not fit on the disk; the file is complete without it."""
        if self._file < 0:
            return
        try:
            self.flush()
            os.fsync(self._file)
        finally:
            os.close(self._file)
            self._file = -1


def _write_all(file: int, buffers: list[bytes | memoryview], offset: int) -> None:
    for first in range(0, len(buffers), _BUFFERS):
        part = [memoryview(data).cast('B') for data in buffers[first : first + _BUFFERS]]
        while part:
            written = os.pwritev(file, part, offset)
            offset += written
            while part and written >= len(part[0]):
                written -= len(part.pop(0))
            if part and written:
                part[0] = part[0][written:]
