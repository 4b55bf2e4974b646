"""Depth in OpenEXR images. Only this module needs OpenEXR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import require_file

CHANNELS = ('Z', 'V', 'Y', 'R')
"""Where depth may be, the first that is there. Blender writes it to all of R, G and B, or to V."""


def read_exr(path: Path) -> np.ndarray:
    """(H, W) float32, the depth channel of an image.

    Raises:
        InputError: OpenEXR is not installed, no such file, no OpenEXR image, or none of its channels is depth.
    """
    try:
        import OpenEXR
    except ModuleNotFoundError:
        raise InputError(f'{path}: EXR images need OpenEXR, which is not installed: pip install OpenEXR') from None
    require_file(path)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise InputError(f'{path}: cannot be read as EXR: {reason(error)}') from None
    for name in CHANNELS:
        if name in channels:
            return np.asarray(channels[name], np.float32)
    raise InputError(f'{path}: its channels are {", ".join(channels)}, depth should be in {" or ".join(CHANNELS)}')
