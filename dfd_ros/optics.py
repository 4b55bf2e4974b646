"""Thin-lens optics: vergence, circle of confusion, depth of field.

Everything is in SI units (metres) unless a name says ``_px``. Vergence is 1 / distance, in dioptres;
infinity has vergence 0. Every function takes floats, NumPy arrays or torch tensors (broadcast as usual)
and returns the same kind. What is not known (NaN) and what cannot be (a focus at or inside the focal
length, a point at distance 0) comes out as NaN, never as an exception: these are per-pixel functions.

Formulas: thin-lens equation 1/f = 1/D + 1/v, and the circle of confusion of Potmesil and Chakravarty,
"A lens and aperture camera model for synthetic image generation", SIGGRAPH 1981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np


def _lib(*values):
    """NumPy, or torch where one of the values is a tensor (torch is imported only by its users)."""
    for value in values:
        if type(value).__module__.startswith('torch'):
            import torch
            return torch
    return np


def _plain(result, *values):
    """A Python float back for plain numbers in."""
    if all(isinstance(v, (int, float)) for v in values):
        return float(result)
    return result


def _tensors(lib, *values):
    if lib is np:
        return [np.asarray(v, dtype=np.result_type(np.asarray(v).dtype, np.float32)) for v in values]
    reference = next(v for v in values if lib.is_tensor(v))
    return [v if lib.is_tensor(v) else lib.as_tensor(v, dtype=reference.dtype, device=reference.device)
            for v in values]


def vergence(distance):
    """1 / distance, in dioptres. Infinity gives 0; 0, a negative distance and NaN give NaN."""
    lib = _lib(distance)
    d, = _tensors(lib, distance)
    with np.errstate(divide='ignore', invalid='ignore'):
        return _plain(lib.where(d > 0, 1 / d, math.nan), distance)


def distance(vergence):
    """1 / vergence, in metres. 0 gives infinity; a negative vergence (beyond infinity) and NaN give NaN."""
    lib = _lib(vergence)
    v, = _tensors(lib, vergence)
    with np.errstate(divide='ignore', invalid='ignore'):
        return _plain(lib.where(v > 0, 1 / v, lib.where(v == 0, math.inf, math.nan)), vergence)


def coc_signed(distance, focus_distance, focal_length, f_number):
    """Signed circle of confusion on the sensor (m): positive for points nearer than the focus.

    c = A f (1/D - 1/F) / (1 - f/F) with the aperture A = f / N, which equals A f (F - D) / (D (F - f))
    and stays finite for a point or a focus at infinity. NaN where F <= f (no image is formed), D <= 0,
    or an input is NaN.
    """
    lib = _lib(distance, focus_distance, focal_length, f_number)
    d, focus, f, n = _tensors(lib, distance, focus_distance, focal_length, f_number)
    with np.errstate(divide='ignore', invalid='ignore'):
        valid = (d > 0) & (focus > f) & (f > 0) & (n > 0)
        c = f / n * f * (1 / d - 1 / focus) / (1 - f / focus)
        return _plain(lib.where(valid, c, math.nan), distance, focus_distance, focal_length, f_number)


def coc(distance, focus_distance, focal_length, f_number):
    """Circle of confusion diameter on the sensor (m): A f |D - F| / (D (F - f)). NaN as `coc_signed`."""
    return abs(coc_signed(distance, focus_distance, focal_length, f_number))


def coc_px(distance, focus_distance, focal_length, f_number, pixel_pitch):
    """Circle of confusion diameter in pixels of `pixel_pitch` metres. NaN as `coc_signed`."""
    return coc(distance, focus_distance, focal_length, f_number) / pixel_pitch


def depth_of_field(focus_distance, focal_length, f_number, max_coc):
    """(near, far) limits (m) between which the circle of confusion is at most `max_coc` (m).

    Far is infinity from the hyperfocal distance on. NaN where F <= f or an input is NaN.
    """
    lib = _lib(focus_distance, focal_length, f_number, max_coc)
    args = (focus_distance, focal_length, f_number, max_coc)
    focus, f, n, c = _tensors(lib, *args)
    with np.errstate(divide='ignore', invalid='ignore'):
        half_width = c * n / (f * f) * (1 - f / focus)
        valid = (focus > f) & (f > 0) & (n > 0) & (c >= 0)
        near = lib.where(valid, 1 / (1 / focus + half_width), math.nan)
        far_vergence = 1 / focus - half_width
        far = lib.where(valid, lib.where(far_vergence > 0, 1 / far_vergence, math.inf), math.nan)
    return _plain(near, *args), _plain(far, *args)


def hyperfocal_distance(focal_length, f_number, max_coc):
    """Nearest focus distance (m) at which infinity is within `max_coc` (m): f^2 / (N c) + f."""
    return focal_length * focal_length / (f_number * max_coc) + focal_length


def magnification(focus_distance, focal_length):
    """Image scale of a unit-focusing lens relative to its focus at infinity: 1 / (1 - f/F).

    Focus breathing: the image grows as the focus comes nearer. NaN where F <= f.
    """
    lib = _lib(focus_distance, focal_length)
    focus, f = _tensors(lib, focus_distance, focal_length)
    with np.errstate(divide='ignore', invalid='ignore'):
        return _plain(lib.where((focus > f) & (f > 0), 1 / (1 - f / focus), math.nan),
                      focus_distance, focal_length)


@dataclass(frozen=True)
class VergenceRange:
    """The distances that a sweep covers: `near` and `far` in metres, near < far <= infinity.

    The networks' coordinate u runs from 0 at `far` to 1 at `near`, linear in vergence.
    """

    near: float
    far: float

    def __post_init__(self):
        if not (0 < self.near < self.far):
            raise ValueError(f'vergence range: near {self.near} m must be positive and less than far '
                             f'{self.far} m')

    @property
    def width(self) -> float:
        """Vergence between far and near (dioptres)."""
        return 1 / self.near - 1 / self.far

    def normalise(self, distance):
        """Distance (m) to u: 0 at far, 1 at near. Infinity is allowed."""
        return (vergence(distance) - 1 / self.far) / self.width

    def denormalise(self, u):
        """u to distance (m). At and beyond vergence 0 the answer is infinity."""
        lib = _lib(u)
        v, = _tensors(lib, u)
        v = v * self.width + 1 / self.far
        return distance(lib.where(v < 0, v * 0, v))


@dataclass(frozen=True)
class Lens:
    """What is fixed about a lens and its sensor, in metres. NaN means unknown."""

    focal_length: float = math.nan
    f_number: float = math.nan
    pixel_pitch: float = math.nan

    def blur_scale(self, range_: VergenceRange) -> float:
        """k: circle of confusion in pixels across the whole range, CoC = k |u - v| to first order.

        NaN where the focal length, the aperture or the pixel pitch is unknown.
        """
        return self.focal_length ** 2 / self.f_number / self.pixel_pitch * range_.width

    def coc_px(self, distance, focus_distance):
        """Circle of confusion diameter in pixels; NaN where the lens is unknown."""
        return coc_px(distance, focus_distance, self.focal_length, self.f_number, self.pixel_pitch)

    def scaled(self, image_scale: float) -> Lens:
        """The same lens seen in an image resized by `image_scale` (0.5 = half as many pixels a side)."""
        return replace(self, pixel_pitch=self.pixel_pitch / image_scale)
