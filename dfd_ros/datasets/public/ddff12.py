"""DDFF 12-Scene (Hazirbas et al., ACCV 2018): ddff-dataset-trainval.h5, or DFV's split (Yang et al., CVPR 2022) in the
same layout::

    stack_val (N, 10, 383, 552, 3) sRGB 0..255       ten slices, evenly focused at 0.28 to 0.02 px of disparity
    disp_val  (N, 383, 552) float32 px               disparity between neighbouring sub-apertures, 0 = none

A slice is the sum of 9 x 9 shifted sub-apertures, so the aperture is nine baselines wide. Only the focal length in
pixels is known, which is enough.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.hdf5_files import Hdf5File
from dfd_ros.core.lens_state import LensState
from dfd_ros.datasets.public.slices import chosen

FOCUS = np.linspace(0.28, 0.02, 10)  # px
# From the calibration IntParamLF.mat, as DFV and FOSSA read it: px, m.
FOCAL_LENGTH_PX, BASELINE = 521.4052, 0.0002708787
DISPARITY_TIMES_DEPTH = FOCAL_LENGTH_PX * BASELINE
"""px m: divided by disparity (px) it gives depth (m)."""
_PITCH = 17.3e-6  # m; arbitrary, only the ratio to the focal length matters


class Ddff12:
    """The validation stacks of the file.

    Args:
        slices: slices of each stack; None = all ten.

    Raises:
        InputError: h5py is not installed, or the file differs from the published format.
    """

    def __init__(self, path: Path, slices: int | None = None):
        self._path = path
        self._slices = chosen(slices, len(FOCUS), f'{path} (DDFF-12)')
        with Hdf5File(path) as file:
            self._count, _, height, width, _ = file.shape('stack_val', (None, len(FOCUS), None, None, 3))
            file.shape('disp_val', (self._count, height, width))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> FocalStack:
        if index >= self._count:
            raise IndexError(index)
        with Hdf5File(self._path) as file:
            images, disparity = file.read('stack_val', index), file.read('disp_val', index).astype(np.float64)
        if images.max() <= 1 and images.dtype.kind == 'f':
            raise InputError(f'{self._path}: "stack_val" holds at most 1, expected 0 to 255')
        depth = np.full(disparity.shape, np.nan, np.float32)
        np.divide(DISPARITY_TIMES_DEPTH, disparity, out=depth, where=disparity > 0, casting='same_kind')
        focal_length = FOCAL_LENGTH_PX * _PITCH
        states = [
            LensState(DISPARITY_TIMES_DEPTH / FOCUS[i], focal_length, focal_length / (9 * BASELINE), _PITCH)
            for i in self._slices
        ]
        return FocalStack(
            [images[i].clip(0, 255).astype(np.uint8) for i in self._slices],
            states,
            depth,
            f'{self._path}, stack {index}',
        )
