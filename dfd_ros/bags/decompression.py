"""Decompression that never makes more than it is allowed to."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from dfd_ros.core.errors import InputError, quoted, reason

MAX_SIZE = 256 << 20
"""Bytes of a message or chunk, which are in memory as a whole."""
MAX_RATIO = 200
"""Of a compressed file, beyond its first `MAX_SIZE` bytes: images and depth do not compress so well."""
_BLOCK = 1 << 16


def zstd() -> Any:
    """The module zstd of the standard library, or its backport."""
    return importlib.import_module('compression.zstd' if sys.version_info >= (3, 14) else 'backports.zstd')


def decompress(data: bytes, kind: str, size: int | None = None) -> bytes:
    """The content of compressed data.

    Args:
        kind: '', zstd or lz4.
        size: expected number of bytes; None = up to `MAX_SIZE`.

    Raises:
        ValueError: the data cannot be decompressed, or to another size; nothing beyond it has been decompressed.
    """
    limit = MAX_SIZE if size is None else size
    if limit > MAX_SIZE:
        raise ValueError(f'{limit} bytes, more than {MAX_SIZE >> 20} MiB')
    if not kind:
        content = data
    elif kind == 'zstd':
        try:
            content = zstd().ZstdDecompressor().decompress(data, limit + 1)
        except zstd().ZstdError as error:
            raise ValueError(str(error)) from None
    elif kind == 'lz4':
        try:
            content = importlib.import_module('lz4.frame').LZ4FrameDecompressor().decompress(data, limit + 1)
        except (RuntimeError, ImportError) as error:
            raise ValueError(str(error)) from None
    else:
        raise ValueError(f'unknown compression {quoted(kind)}')
    if len(content) > limit:
        raise ValueError(f'decompresses to more than {limit} bytes')
    if size is not None and len(content) != size:
        raise ValueError(f'{len(content)} bytes, expected {size}')
    return content


class DecompressedFile:
    """A file compressed with zstd, decompressed into a temporary file that lives as long as this object."""

    def __init__(self, file: Path) -> None:
        """Raises InputError, one line that names `file`: it expands without measure, or does not fit on the disk."""
        self.damage = ''
        """Why the file could not be decompressed to its end."""
        self._folder = tempfile.TemporaryDirectory(prefix='dfd-bag-')
        self.path = Path(self._folder.name) / file.stem
        limit = MAX_SIZE + MAX_RATIO * file.stat().st_size
        try:
            with zstd().open(file, 'rb') as source, open(self.path, 'wb') as target:
                while block := self._next_block(source):
                    if target.tell() + len(block) > limit:
                        raise InputError(f'{file}: expands to more than {MAX_RATIO} times its size; not a bag')
                    target.write(block)
        except OSError as error:
            free = shutil.disk_usage(self._folder.name).free
            raise InputError(
                f'{file}: cannot be decompressed into {tempfile.gettempdir()}: {reason(error)} '
                f'({free / 1e9:.1f} GB free); set TMPDIR to a folder with more space'
            ) from None

    def _next_block(self, source: Any) -> bytes:
        try:
            return source.read1(_BLOCK)
        except (EOFError, zstd().ZstdError) as error:
            self.damage = reason(error)
            return b''
