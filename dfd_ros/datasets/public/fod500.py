"""FoD500 (Maximov et al., CVPR 2020), in the layout of https://github.com/dvl-tum/defocus-net::

    000400_01All.tif, ... five per stack, in order: 256x256 sRGB, focused at 0.1, 0.15, 0.3, 0.7 and 1.5 m
    000400Dpt.exr     depth, m, half floats

Stacks from 400 on are the test set. The lens is 2.9 mm at f/1; published methods assume a sensor 3.1 mm wide.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.exr_image import read_exr
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.image_io import read_image, used_bits
from dfd_ros.core.lens_state import LensState
from dfd_ros.datasets.public.slices import chosen

FOCUS = (0.1, 0.15, 0.3, 0.7, 1.5)  # m
FIRST_TEST = 400
_SENSOR_WIDTH = 3.1e-3  # m


class Fod500:
    """The test stacks of a folder.

    Args:
        slices: slices of each stack; None = all five.

    Raises:
        InputError: there are none.
    """

    def __init__(self, folder: Path, slices: int | None = None):
        self._slices = chosen(slices, len(FOCUS), f'{folder} (FoD500)')
        self._depths = sorted(
            path
            for path in folder.glob('*Dpt.exr')
            if re.fullmatch(r'\d{6}Dpt\.exr', path.name) and int(path.name[:6]) >= FIRST_TEST
        )
        if not self._depths:
            raise InputError(
                f'{folder}: not FoD500: expected {FIRST_TEST:06d}Dpt.exr and five {FIRST_TEST:06d}_XXAll.tif, ...'
            )
        self._bits = used_bits([image for path in self._depths for image in _images(path)], str(folder))

    def __len__(self) -> int:
        return len(self._depths)

    def __getitem__(self, index: int) -> FocalStack:
        path = self._depths[index]
        files = _images(path)
        if len(files) != len(FOCUS):
            raise InputError(f'{path.parent / path.name[:6]}_*All.tif: {len(files)} images, expected {len(FOCUS)}')
        depth = read_exr(path)
        images = [read_image(files[i], bits=self._bits) for i in self._slices]
        if any(image.shape[:2] != depth.shape for image in images):
            raise InputError(
                f'{path}: depth is {depth.shape[1]}x{depth.shape[0]}, expected '
                f'{images[0].shape[1]}x{images[0].shape[0]} as the images are'
            )
        states = [LensState(FOCUS[i], 2.9e-3, 1.0, _SENSOR_WIDTH / depth.shape[1]) for i in self._slices]
        return FocalStack(images, states, np.where(depth > 0, depth, np.nan).astype(np.float32), str(path))


def _images(depth: Path) -> list[Path]:
    return sorted(depth.parent.glob(f'{depth.name[:6]}_*All.tif'))
