"""Reads colour (linear light) and depth (m) from image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.array_files import read_array
from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.core.exr_image import read_exr
from dfd_ros.core.image_encodings import metres
from dfd_ros.core.image_io import read_depth_image, read_image

DEPTH_SUFFIXES = ('.png', '.npy', '.exr')


def read_linear(path: Path, bits: int = 0) -> np.ndarray:
    """(H, W, 3) float32 linear light of an sRGB image. bits, and raises: as `read_image`."""
    return srgb_decode(read_image(path, bits=bits).astype(np.float32) / 255)


def read_depth(path: Path) -> np.ndarray:
    """(H, W) float32 m of a 16-bit PNG (mm), a NumPy array (m) or an EXR image (m).

    Raises:
        InputError: the file does not exist or is none of these.
    """
    if path.suffix == '.exr':
        return read_exr(path)
    if path.suffix != '.npy':
        return metres(read_depth_image(path))
    depth = read_array(path)
    if depth.ndim != 2 or depth.dtype.kind != 'f':  # whole numbers are rather millimetres
        raise InputError(f'{path}: {depth.dtype} {depth.shape}, expected metres as float32 (height, width)')
    return depth.astype(np.float32)
