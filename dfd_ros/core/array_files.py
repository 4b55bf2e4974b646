"""NumPy arrays and archives. Headers are checked before memory is allocated."""

from __future__ import annotations

import contextlib
import io
import math
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import require_file

MAX_ARRAY = 2**30
"""Bytes of an array, or of all arrays of an archive."""


class Part(NamedTuple):
    """A part of arrays (T, H, W, ...)."""

    shape: tuple[int, int, int]
    """(T, H, W), which the arrays must have."""
    frames: Sequence[int]
    """Different indices of the first axis, rising."""
    rows: slice
    columns: slice


def read_array(path: Path, hint: str = '') -> np.ndarray:
    """The array of a .npy file.

    Args:
        hint: added to the message if there is no such file.

    Raises:
        InputError: there is no such file, it is not an array, or too large.
    """
    require_file(path, hint)
    try:
        with open(path, 'rb') as file:
            return _array(file, MAX_ARRAY)
    except Exception as error:  # NumPy's reader of headers raises many types
        raise InputError(f'{path}: cannot be read as a NumPy array: {reason(error)}') from None


def read_archive(
    file: Path | bytes, name: str, wanted: Collection[str] | None = None, largest: int = MAX_ARRAY
) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, or of its content.

    Args:
        name: of the file, for messages.
        wanted: names of arrays; None = all. Others are not read.
        largest: bytes that all that are read may have together.

    Raises:
        InputError: there is no such file, it is not an archive of arrays, or too large.
    """
    if isinstance(file, Path):
        require_file(file)
    arrays, left = {}, largest
    with _naming(name), zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
        for entry in archive.infolist():
            key = entry.filename.removesuffix('.npy')
            if wanted is None or key in wanted:
                with archive.open(entry) as member:
                    arrays[key] = _array(member, left)
                left -= arrays[key].nbytes
    return arrays


def read_archive_part(content: bytes, name: str, wanted: Collection[str], part: Part) -> dict[str, np.ndarray]:
    """A part of the arrays of a .npz file, unpacked no further than to its end.

    Args:
        content: of the file.
        name: of the file, for messages.
        wanted: names of arrays; the others are not read.

    Raises:
        InputError: it is not an archive of arrays, or one has another shape.
    """
    arrays = {}
    with _naming(name), zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            key = entry.filename.removesuffix('.npy')
            if key in wanted:
                with archive.open(entry) as member:
                    arrays[key] = _part(member, key, part)
    return arrays


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the readers of archives and headers raise many types
        raise InputError(f'{name}: cannot be read as an archive of NumPy arrays: {reason(error)}') from None


def _part(file: IO[bytes], key: str, part: Part) -> np.ndarray:
    shape, is_fortran, dtype = _header(file)
    if shape[:3] != part.shape:
        raise ValueError(f'{key} of {shape}, must be {part.shape} as the images are')
    if is_fortran:  # the frames are not one behind the other
        return _content(file, shape, is_fortran, dtype, MAX_ARRAY)[list(part.frames), part.rows, part.columns]
    line = math.prod(shape[2:]) * dtype.itemsize
    if shape[1] * line > MAX_ARRAY:
        raise ValueError(f'{shape[1] * line / 2**20:.0f} MB a frame, more than {MAX_ARRAY / 2**20:.0f}')
    start, size, frames = file.tell(), (part.rows.stop - part.rows.start) * line, []
    for t in part.frames:
        file.seek(start + (t * shape[1] + part.rows.start) * line)
        data = file.read(size)
        if len(data) != size:
            raise ValueError(f'{key} is truncated')
        frames.append(np.frombuffer(data, dtype).reshape(-1, *shape[2:])[:, part.columns])
    return np.stack(frames)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError('it holds Python objects')
    return shape, is_fortran, dtype


def _array(file: IO[bytes], largest: int) -> np.ndarray:
    return _content(file, *_header(file), largest)


def _content(file: IO[bytes], shape: tuple[int, ...], is_fortran: bool, dtype: np.dtype, largest: int) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    if size > largest:
        raise ValueError(f'{size / 2**20:.0f} MB, more than {largest / 2**20:.0f}')
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f'truncated: {len(data)} bytes of {size}')
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order='F' if is_fortran else 'C')
