"""HDF5 files, with one-line errors. Only this module needs h5py."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.array_files import MAX_ARRAY
from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import require_file


class Hdf5File:
    """An HDF5 file, open while the context lasts.

    Raises:
        InputError: h5py is not installed, or the file does not exist or is not HDF5.
    """

    def __init__(self, path: Path):
        try:
            import h5py
        except ModuleNotFoundError:
            raise InputError(f'{path}: HDF5 needs h5py, which is not installed: pip install h5py') from None
        self.path = require_file(path)
        try:
            self._file = h5py.File(path, 'r')
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f'{path}: cannot be read as HDF5: {reason(error)}') from None

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def shape(self, name: str, expected: tuple[int | None, ...]) -> tuple[int, ...]:
        """The shape of a data set.

        Args:
            expected: the shape that it should have, None = any.

        Raises:
            InputError: there is none, or of another shape.
        """
        layout = '(' + ', '.join('N' if n is None else str(n) for n in expected) + ')'
        if not hasattr(self._file.get(name), 'shape'):
            raise InputError(f'{self.path}: no data set "{name}" in it, it should be {layout}')
        shape = self._file[name].shape
        if len(shape) != len(expected) or any(n not in (None, m) for n, m in zip(expected, shape)):
            raise InputError(f'{self.path}: "{name}" is {shape}, it should be {layout}')
        return shape

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        """All of a data set, or one element along its first axis. Raises `InputError` for one over `MAX_ARRAY`."""
        data = self._file[name]
        size = data.nbytes // (1 if index is None else max(len(data), 1))
        if size > MAX_ARRAY:
            raise InputError(f'{self.path}: "{name}" has {size / 2**20:.0f} MB, more than {MAX_ARRAY / 2**20:.0f}')
        try:
            return data[() if index is None else index]
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f'{self.path}: "{name}" cannot be read: {reason(error)}') from None
