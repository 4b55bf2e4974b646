"""Cuts rows out of encoded images, so that only those are decoded.

A PNG or JPEG whose header states fewer rows is decoded up to the last of them. As `dfd_ros.datasets` writes them, they
can begin later too: a PNG of `dfd_ros.core.png_rows`, and a JPEG with restart markers at the ends of its rows of blocks
(ISO/IEC 10918-1, B.2 and E.1.4).
"""

from __future__ import annotations

import re
import struct

from dfd_ros.core.png_rows import SIGNATURE, Rows, png_rows

_SEQUENTIAL = (0xC0, 0xC1)
_PLAIN = (*_SEQUENTIAL, 0xC4, 0xDB, 0xDD, 0xE0, 0xFE)  # and tables, restart interval, JFIF, comment
_RESTART = re.compile(rb'\xff[\xd0-\xd7]')


def rows_of(data: bytes, first: int, end: int) -> Rows | None:
    """A smaller image that has at least rows `first` to `end` - 1 of a PNG or JPEG, with the same values.

    None where the format does not allow it: interlaced, progressive, of another type, or with data that may turn the
    image.
    """
    try:
        if data.startswith(SIGNATURE):
            return png_rows(data, first, end)
        return _jpeg_rows(data, first, end) if data.startswith(b'\xff\xd8') else None
    except (struct.error, IndexError, ZeroDivisionError):  # truncated: left to the decoder, which says so
        return None


def _jpeg_rows(data: bytes, first: int, end: int) -> Rows | None:
    frame, restart, at = 0, 0, 2  # `frame`: where the size of the image is
    while (marker := data[at + 1]) != 0xDA:
        if data[at] != 0xFF or marker not in _PLAIN:
            return None
        if marker in _SEQUENTIAL:
            frame = at + 5
        elif marker == 0xDD:
            (restart,) = struct.unpack_from('>H', data, at + 4)
        at += 2 + struct.unpack_from('>H', data, at + 2)[0]
    if not frame or data[frame + 4] != data[at + 4]:  # each component in a scan of its own
        return None
    height, width = struct.unpack_from('>HH', data, frame)
    sampling = [data[frame + 6 + 3 * i] for i in range(data[frame + 4])]
    high, wide = 8 * max(s & 15 for s in sampling), 8 * max(s >> 4 for s in sampling)
    if not height or len(sampling) == 1:  # stated at the end of the scan; of other blocks
        return None
    # The decoder smooths colours across rows of blocks: one more on each side.
    top, bottom = max(first // high - 1, 0), -(-end // high) + 1
    scan = at + 2 + struct.unpack_from('>H', data, at + 2)[0]
    body = data[scan:]
    if restart and restart == -(-width // wide):
        ends = [match.start() for match in _RESTART.finditer(body)]
        if len(ends) != -(-height // high) - 1:
            return None
        bands = [body[a:b] for a, b in zip([0, *(e + 2 for e in ends)], [*ends, len(body)])][top:bottom]
        numbered = (band + bytes([0xFF, 0xD0 + i % 8]) for i, band in enumerate(bands[:-1]))
        body = b''.join(numbered) + bands[-1] + b'\xff\xd9'
    else:
        top = 0
    rows = min(bottom * high, height) - top * high
    return Rows(data[:frame] + struct.pack('>H', rows) + data[frame + 2 : scan] + body, top * high, height, width)
