"""Recorded focus sweeps over a still target: images by control value of the focus motor.

A folder holds the images beside a `sweep.yaml`::

    distance_m: 0.5          # of the target from the lens; null = measured on the board, or not needed
    frames:
    - {file: 000.png, value: 0}
    - {file: 001.png, value: 10}

The frames are listed as they were taken: with rising values, or with falling ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from numpy.typing import ArrayLike
from PIL import Image
from pydantic import Field

from dfd_ros.core.constraints import Finite, Unknown
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import folder_written_atomically, read_yaml
from dfd_ros.core.image_io import read_image, used_bits
from dfd_ros.core.parsing import parse

FILE = 'sweep.yaml'
MIN_PEAK = 1.5  # contrast of the sharpest image over that of the most blurred one


@dataclass(frozen=True)
class _Frame:
    file: Annotated[str, Field(min_length=1, max_length=255)]
    value: Finite


@dataclass(frozen=True)
class _File:
    frames: list[_Frame]
    distance_m: Annotated[float, Field(gt=0), Unknown] = math.nan


@dataclass(frozen=True)
class Sweep:
    """One sweep, in the order of its control values."""

    name: str
    values: np.ndarray
    """(T,) of the focus motor."""
    images: list[np.ndarray]
    """(H, W, 3) uint8 RGB, T of them."""
    distance: float = math.nan
    """m, of the target; NaN = unknown."""
    falling: bool = False
    """Taken from the largest value to the smallest: a motor with play stands elsewhere then."""

    @classmethod
    def read(cls, folder: str | Path) -> Sweep:
        """Raises `InputError` that names the file and the field."""
        folder = Path(folder)
        path = folder / FILE
        content = read_yaml(path, '; dfd calibrate sweep records one, docs/calibration.md has its format')
        file = parse(_File, content, str(path))
        frames = [(frame.value, frame.file) for frame in file.frames]
        falling = len(frames) > 1 and frames[0] > frames[-1]
        frames.sort()
        values = np.array([value for value, _ in frames])
        if (np.diff(values) == 0).any():
            raise InputError(f'{path}, frames: every value must be unique')
        bits = used_bits([folder / file for _, file in frames], str(folder))
        images = [read_image(folder / file, as_stored=True, bits=bits) for _, file in frames]
        if len({image.shape for image in images}) > 1:
            raise InputError(f'{folder}: the images differ in size')
        return cls(str(folder), values, images, file.distance_m, falling)

    def write(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all."""
        files = [f'{i:03d}.png' for i in range(len(self.images))]
        frames = [{'file': file, 'value': float(value)} for file, value in zip(files, self.values)]
        content = {
            'distance_m': None if math.isnan(self.distance) else float(self.distance),
            'frames': frames[::-1] if self.falling else frames,
        }
        with folder_written_atomically(folder) as temporary:
            for file, image in zip(files, self.images):
                Image.fromarray(image).save(temporary / file)
            (temporary / FILE).write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None))


def is_sweep(folder: str | Path) -> bool:
    """Whether a folder is a sweep by control value, not a focal stack by focus distance."""
    return (Path(folder) / FILE).is_file()


def sharpest_value(values: ArrayLike, sharpness: ArrayLike, name: str) -> float:
    """The control value of the sharpness peak, between the steps: a parabola through the log above half the peak.

    Raises `InputError` if the peak is at an end, if there are too few frames, or if there is no peak.
    """
    values, sharpness = np.asarray(values, float), np.asarray(sharpness, float)
    if len(values) < 5:
        raise InputError(f'{name}: {len(values)} frames, a sweep needs at least 5')
    peak = int(np.argmax(sharpness))
    if not sharpness[peak] > MIN_PEAK * sharpness.min():
        raise InputError(
            f'{name}: is never sharp (contrast {sharpness[peak]:.2g} in the sharpest image, '
            f'{sharpness.min():.2g} in the most blurred one); sweep further, or light the target better'
        )
    if peak in (0, len(values) - 1):
        raise InputError(
            f'{name}: is sharpest at the end of the sweep (value {values[peak]:g}), so the peak may lie '
            'beyond it; sweep further, or move the target'
        )
    low = high = peak
    while low > 0 and sharpness[low - 1] > 0.5 * sharpness[peak]:
        low -= 1
    while high < len(values) - 1 and sharpness[high + 1] > 0.5 * sharpness[peak]:
        high += 1
    low, high = min(low, peak - 1), max(high, peak + 1)
    x = values[low : high + 1]
    curve = np.polyfit(x - values[peak], np.log(sharpness[low : high + 1]), 2)
    top = values[peak] - curve[1] / (2 * curve[0]) if curve[0] < 0 else values[peak]
    return float(np.clip(top, values[peak - 1], values[peak + 1]))
