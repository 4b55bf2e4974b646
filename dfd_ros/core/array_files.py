"""NumPy arrays and archives. Headers are checked before memory is allocated."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import require_file

MAX_ARRAY = 2**30
"""Bytes of an array, or of all arrays of an archive."""


def read_array(path: Path, hint: str = '', largest: int = MAX_ARRAY) -> np.ndarray:
    """The array of a .npy file.

    Args:
        hint: added to the message if there is no such file.
        largest: bytes that it may have.

    Raises:
        InputError: there is no such file, it is not an array, or too large.
    """
    require_file(path, hint)
    try:
        with open(path, 'rb') as file:
            return _array(file, largest)
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
    try:
        with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
            for entry in archive.infolist():
                key = entry.filename.removesuffix('.npy')
                if wanted is None or key in wanted:
                    with archive.open(entry) as member:
                        arrays[key] = _array(member, left)
                    left -= arrays[key].nbytes
    except Exception as error:  # the readers of archives and headers raise many types
        raise InputError(f'{name}: cannot be read as an archive of NumPy arrays: {reason(error)}') from None
    return arrays


def _array(file: IO[bytes], largest: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError('it holds Python objects')
    size = math.prod(shape) * dtype.itemsize
    if size > largest:
        raise ValueError(f'{size / 2**20:.0f} MB, more than {largest / 2**20:.0f}')
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f'truncated: {len(data)} bytes of {size}')
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order='F' if is_fortran else 'C')
