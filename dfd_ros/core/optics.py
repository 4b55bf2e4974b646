"""Thin-lens optics: vergence, circle of confusion, magnification.

Everything is in SI units (metres) unless a name says ``_px``. Vergence is 1 / distance, in dioptres;
infinity has vergence 0. Every function takes floats, NumPy arrays or torch tensors (broadcast as usual)
and returns the same kind. Unknown (NaN) and impossible values (a focus at or inside the focal length, a
point at distance 0) give NaN, never an exception: these are per-pixel functions.

Formulas: thin-lens equation 1/f = 1/D + 1/v, and the circle of confusion of Potmesil and Chakravarty,
"A lens and aperture camera model for synthetic image generation", SIGGRAPH 1981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dfd_ros.core.errors import InputError


def _lib(*values):
    """NumPy, or torch if one of the values is a tensor (torch is imported only then)."""
    for value in values:
        if type(value).__module__.startswith('torch'):
            import torch

            return torch
    return np


def _arrays(lib, *values):
    """Each value as a floating-point array of `lib`; plain numbers get the precision of the arrays."""
    if lib is np:
        precise = [np.asarray(v).dtype for v in values if not isinstance(v, (int, float))]
        dtype = np.result_type(*precise, np.float32) if precise else np.float64
        return [np.asarray(v, dtype=dtype) for v in values]
    tensor = next(v for v in values if lib.is_tensor(v))
    dtype = tensor.dtype if tensor.is_floating_point() else lib.get_default_dtype()
    return [
        v if lib.is_tensor(v) and v.is_floating_point() else lib.as_tensor(v, dtype=dtype, device=tensor.device)
        for v in values
    ]


def _where(lib, condition, value, otherwise: float):
    """`value` where `condition` holds, otherwise a constant of the same precision (a bare constant would widen it)."""
    return lib.where(condition, value, lib.full_like(value, otherwise))


def _plain(result, *values):
    """Plain numbers give a Python float, a 0-d array gives a NumPy scalar."""
    if all(isinstance(v, (int, float)) for v in values):
        return float(result)
    return result[()] if isinstance(result, np.ndarray) else result


def vergence(distance):
    """1 / distance, in dioptres. Infinity gives 0; 0, a negative distance and NaN give NaN."""
    lib = _lib(distance)
    (d,) = _arrays(lib, distance)
    with np.errstate(all='ignore'):
        return _plain(_where(lib, d > 0, 1 / d, math.nan), distance)


def distance(vergence):
    """1 / vergence, in metres. 0 gives infinity; a negative vergence (beyond infinity) and NaN give NaN."""
    lib = _lib(vergence)
    (v,) = _arrays(lib, vergence)
    with np.errstate(all='ignore'):
        at_infinity = _where(lib, v == 0, lib.full_like(v, math.inf), math.nan)
        return _plain(lib.where(v > 0, 1 / v, at_infinity), vergence)


def coc_signed(distance, focus_distance, focal_length, f_number):
    """Signed circle of confusion on the sensor (m): positive for points nearer than the focus.

    c = A f (1/D - 1/F) / (1 - f/F) with the aperture A = f / N, which equals A f (F - D) / (D (F - f))
    and stays finite for a point or a focus at infinity. NaN where F <= f (no image is formed), D <= 0,
    or an input is NaN.
    """
    lib = _lib(distance, focus_distance, focal_length, f_number)
    d, focus, f, n = _arrays(lib, distance, focus_distance, focal_length, f_number)
    with np.errstate(all='ignore'):
        # The lens first: often only the distance is an image.
        known = (focus > f) & (f > 0) & (n > 0)
        scale = _where(lib, known, f / n * f / (1 - f / focus), math.nan)
        c = scale * (1 / d - 1 / focus)
        return _plain(_where(lib, d > 0, c, math.nan), distance, focus_distance, focal_length, f_number)


def coc(distance, focus_distance, focal_length, f_number):
    """Circle of confusion diameter on the sensor (m): A f |D - F| / (D (F - f)). NaN as `coc_signed`."""
    return abs(coc_signed(distance, focus_distance, focal_length, f_number))


def coc_px(distance, focus_distance, focal_length, f_number, pixel_pitch):
    """Circle of confusion diameter in pixels of `pixel_pitch` metres. NaN as `coc_signed`; no pitch, NaN."""
    args = (distance, focus_distance, focal_length, f_number, pixel_pitch)
    lib = _lib(*args)
    *_, pitch = _arrays(lib, *args)
    c = coc(distance, focus_distance, focal_length, f_number)
    return _plain(c / _where(lib, pitch > 0, pitch, math.nan), *args)


def magnification(focus_distance, focal_length):
    """Image scale of a unit-focusing lens relative to its focus at infinity: 1 / (1 - f/F).

    Focus breathing: the image grows as the focus comes nearer. NaN where F <= f.
    """
    lib = _lib(focus_distance, focal_length)
    focus, f = _arrays(lib, focus_distance, focal_length)
    with np.errstate(all='ignore'):
        scale = _where(lib, (focus > f) & (f > 0), 1 / (1 - f / focus), math.nan)
        return _plain(scale, focus_distance, focal_length)


@dataclass(frozen=True)
class VergenceRange:
    """The distances that a sweep covers: `near` and `far` in metres, near < far <= infinity.

    The networks' coordinate u runs from 0 at `far` to 1 at `near`, linear in vergence.
    """

    near: float
    far: float

    def __post_init__(self):
        if not (0 < self.near < self.far and 0 < self.width < math.inf):
            raise InputError(f'vergence range: near {self.near} m must be positive and less than far {self.far} m')

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
        (scaled,) = _arrays(lib, u)
        v = scaled * self.width + 1 / self.far
        with np.errstate(all='ignore'):
            return _plain(1 / lib.clip(v, 0, None), u)


@dataclass(frozen=True)
class Lens:
    """The constants of a lens and its sensor: `focal_length` (m), `f_number`, `pixel_pitch` (m). NaN means unknown."""

    focal_length: float = math.nan
    f_number: float = math.nan
    pixel_pitch: float = math.nan

    def blur_scale(self, range_: VergenceRange) -> float:
        """k: circle of confusion in pixels across the whole range, CoC = k |u - v| to first order.

        NaN where the focal length, the aperture or the pixel pitch is unknown, or k is not a positive number.
        """
        known = self.focal_length > 0 and self.f_number > 0 and self.pixel_pitch > 0
        # f * f, since f ** 2 raises where it overflows.
        k = self.focal_length * self.focal_length / self.f_number / self.pixel_pitch * range_.width if known else 0.0
        return k if 0 < k < math.inf else math.nan

    def coc_px(self, distance, focus_distance):
        """Circle of confusion diameter in pixels; NaN where the lens is unknown."""
        return coc_px(distance, focus_distance, self.focal_length, self.f_number, self.pixel_pitch)

    def scaled(self, image_scale: float) -> Lens:
        """The same lens seen in an image resized by `image_scale` (0.5 = half as many pixels a side)."""
        return replace(self, pixel_pitch=self.pixel_pitch / image_scale)
