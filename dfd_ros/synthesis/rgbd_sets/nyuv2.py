"""NYU Depth V2, labelled (Silberman et al., ECCV 2012): nyu_depth_v2_labeled.mat, a MATLAB 7.3 file, which is HDF5::

images (1449, 3, 640, 480) uint8 sRGB      transposed, as MATLAB stores columns first
depths (1449, 640, 480) float32 m          the authors filled the holes
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.core.hdf5_files import Hdf5File
from dfd_ros.synthesis.rgbd_sets.rgbd_view import rgbd_view
from dfd_ros.synthesis.worlds.view import View

FOCAL_LENGTH = 518.86  # px, from camera_params.m of the toolbox
CROP = (slice(45, 471), slice(41, 601))  # without the white rim: the usual crop of Eigen et al., NIPS 2014


class NyuV2:
    """The images of the file.

    Raises:
        InputError: h5py is not installed, or the file differs from the published format.
    """

    def __init__(self, path: Path):
        self.path = path
        with Hdf5File(path) as file:
            self._count = file.shape('images', (None, 3, 640, 480))[0]
            if file.shape('depths', (None, 640, 480))[0] != self._count or not self._count:
                raise InputError(f'{path}: has {self._count} images but not as many depths')

    def __len__(self) -> int:
        return self._count

    def rgbd(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Colour (426, 560, 3) uint8 and depth (426, 560) float32 m, inside the rim."""
        with Hdf5File(self.path) as file:  # opened each time, as training forks processes
            colour, depth = file.read('images', index), file.read('depths', index)
        return np.ascontiguousarray(colour.transpose(2, 1, 0)[CROP]), depth.T[CROP].astype(np.float32)

    def read(self, index: int) -> View:
        colour, depth = self.rgbd(index)
        return rgbd_view(
            f'{self.path}, image {index}', srgb_decode(colour.astype(np.float32) / 255), depth, FOCAL_LENGTH
        )
