"""Focal stacks of NYU Depth V2, blurred by the lens of HybridDepth (https://github.com/cake-lab/HybridDepth,
dataloader/NYU/loader.py): 50 mm at f/8, pixels of 12 um, focused at 1, 1.5, 2.5, 4 and 6 m. (HybridDepth itself spaces
the focus evenly between the nearest and farthest true depth of each image, which no camera knows.)

If splits.mat of the toolbox is beside the file, only its 654 test images are used, otherwise all images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_file
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.datasets.public.slices import chosen
from dfd_ros.synthesis.rgbd_scene import RgbdScene
from dfd_ros.synthesis.rgbd_sets.nyuv2 import NyuV2

FOCUS = (1.0, 1.5, 2.5, 4.0, 6.0)  # m
FOCAL_LENGTH, F_NUMBER, PIXEL_PITCH = 50e-3, 8.0, 12e-6


class NyuV2Stacks:
    """The test images of the file, as focal stacks.

    Args:
        slices: slices of each stack; None = all five.

    Raises:
        InputError: h5py is not installed, or the file differs from the published format.
    """

    def __init__(self, path: Path, slices: int | None = None):
        self._slices = chosen(slices, len(FOCUS), f'{path} (NYUv2)')
        self._images = NyuV2(path)
        self._numbers = _test_numbers(path.with_name('splits.mat'), len(self._images))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> FocalStack:
        number = self._numbers[index]
        colour, depth = self._images.rgbd(number)
        depth = np.where(depth > 0, depth, np.nan).astype(np.float32)
        scene = RgbdScene(colour, depth)
        states = [LensState(FOCUS[i], FOCAL_LENGTH, F_NUMBER, PIXEL_PITCH) for i in self._slices]
        images = [
            (srgb_encode(scene.photograph(state.lens, state.focus_distance)[0].clip(0, 1)) * 255)
            .round()
            .byte()
            .permute(1, 2, 0)
            .numpy()
            for state in states
        ]
        return FocalStack(images, states, depth, f'{self._images.path}, image {number}')


def _test_numbers(path: Path, images: int) -> list[int]:
    """Indices of the test images, from 0."""
    if not path.exists():
        return list(range(images))
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise InputError(f'{path}: MATLAB files need SciPy, which is not installed: pip install scipy') from None
    try:
        numbers = loadmat(require_file(path))['testNdxs'].ravel().astype(int) - 1
    except Exception:  # SciPy's reader raises many types
        raise InputError(f'{path}: not the splits.mat of NYU Depth V2 (no testNdxs)') from None
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= images:
        raise InputError(f'{path}: testNdxs must be within 1 to {images}, the number of images')
    return numbers.tolist()
