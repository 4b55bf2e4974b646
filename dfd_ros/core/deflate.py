"""Deflated blocks that do not refer to each other (RFC 1951; zlib's full flush).

By ISA-L where it is installed (package `isal`), which takes a third of the time to pack them and half to unpack them.
Its blocks are other bytes of the same content, which every reader of deflated data unpacks.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

fast: Any = zlib
with contextlib.suppress(ImportError):
    from isal import isal_zlib

    fast = isal_zlib

END = b'\x03\x00'
"""Of deflated data: an empty last block."""


def deflated(data: bytes | memoryview) -> bytes:
    """A block with matches, as level 1 of zlib finds them."""
    return _block(fast, 1, data)


def stored(data: bytes | memoryview) -> bytes:
    """A block of the data as they are."""
    return _block(zlib, 0, data)  # ISA-L's level 0 is a faster 1


def _block(library: Any, level: int, data: bytes | memoryview) -> bytes:
    deflater = library.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush(zlib.Z_FULL_FLUSH)


def inflated(data: bytes, largest: int) -> bytes:
    """The content of blocks, of no more than `largest` bytes. Raises ValueError if they are damaged."""
    try:
        return fast.decompressobj(-zlib.MAX_WBITS).decompress(data, largest)
    except fast.error as error:
        raise ValueError(str(error)) from None


def crc32(data: bytes | memoryview, before: int = 0) -> int:
    """As of zlib."""
    return fast.crc32(data, before)
