"""Colour in linear light, and depth in metres, of single files."""

from __future__ import annotations

import tokenize
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.core.exr_image import read_exr
from dfd_ros.core.image_io import read_image

DEPTH_SUFFIXES = ('.png', '.npy', '.exr')


def read_linear(path: Path) -> np.ndarray:
    """(H, W, 3) float32 linear light of an sRGB image. Raises `InputError` where it cannot be read."""
    return srgb_decode(read_image(path).astype(np.float32) / 255)


def read_depth(path: Path) -> np.ndarray:
    """(H, W) float32 m of a 16-bit PNG (mm), a NumPy array (m) or an EXR image (m).

    Raises:
        InputError: no such file, or not such a file.
    """
    if path.suffix == '.exr':
        return read_exr(path)
    try:
        if path.suffix == '.npy':
            depth = np.load(path, allow_pickle=False)
            if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype.kind not in 'fiu':
                raise ValueError('it should be (height, width) numbers in metres')
            return depth.astype(np.float32)
        with Image.open(path) as image:
            if not image.mode.startswith('I'):
                raise ValueError(f'its pixels are {image.mode}, it should be of 16 bit, in mm')
            return np.asarray(image).astype(np.float32) * 1e-3
    except FileNotFoundError:
        raise InputError(f'{path}: no such depth image') from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        Image.DecompressionBombError,
    ) as error:
        raise InputError(f'{path}: cannot be read as depth: {" ".join(str(error).split())[:120]}') from None
