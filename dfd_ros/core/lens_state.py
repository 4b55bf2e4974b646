"""The state of the lens while one image was exposed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens, VergenceRange

PLAUSIBLE = {
    'focus_distance': (1e-3, math.inf),
    'focal_length': (1e-5, 10.0),
    'f_number': (1e-3, 1e4),
    'pixel_pitch': (1e-8, 1e-2),
    'magnification': (0.1, 10.0),
    'near': (1e-3, 1e4),
    'far': (1e-3, math.inf),
}
"""Bounds of the values (SI) that lenses have, and the wider ones of drawn training data."""


@dataclass(frozen=True)
class LensState:
    """State of the lens during one exposure. SI units; NaN means unknown."""

    focus_distance: float
    """Distance (m) that is in focus; infinity is allowed."""
    focal_length: float = math.nan
    """m."""
    f_number: float = math.nan
    """Focal length over the diameter of the aperture."""
    pixel_pitch: float = math.nan
    """Size (m) of a pixel of the image that belongs to this state."""
    magnification: float = math.nan
    """Image scale relative to focus at infinity (focus breathing), about the image centre."""
    near: float = math.nan
    """Nearest distance (m) that the lens can focus."""
    far: float = math.nan
    """Farthest distance (m) that the lens can focus; may be infinity."""
    settled: bool = True
    """False while the focus was still moving."""
    stamp: float = math.nan
    """Time of the exposure (s)."""

    @classmethod
    def of_lens(cls, focus_distance: float, lens: Lens, range_: VergenceRange, **others: Any) -> LensState:
        """The state of a known lens that can focus in a range. `others`: magnification, settled, stamp."""
        known = {'near': range_.near, 'far': range_.far, **others}
        return cls(focus_distance, lens.focal_length, lens.f_number, lens.pixel_pitch, **known)

    @classmethod
    def of_message(cls, message: Any, stamp: float, name: str = 'lens_state') -> LensState:
        """From a dfd_ros/msg/LensState of any version of its definition, however it was decoded. Values that no lens
        has count as unknown, and so do fields that the message lacks.

        Raises:
            InputError: no focus distance, or one that no lens has; starts with `name`.
        """

        def known(name: str, field: str = '') -> float:
            value = getattr(message, field or name, math.nan)
            return value if is_plausible(name, value) else math.nan

        focus_distance, focal_length = known('focus_distance'), known('focal_length')
        if math.isnan(focus_distance):
            found = getattr(message, 'focus_distance', math.nan)
            raise InputError(f'{name}: focus_distance is {found} m; expected {PLAUSIBLE["focus_distance"][0]:g} to inf')
        near, far = known('near', 'near_distance'), known('far', 'far_distance')
        if not near < far:
            near = far = math.nan
        return cls(
            focus_distance,
            math.nan if focal_length >= focus_distance else focal_length,
            known('f_number'),
            known('pixel_pitch'),
            known('magnification'),
            near,
            far,
            bool(getattr(message, 'settled', True)),
            stamp,
        )

    def checked(self, name: str) -> LensState:
        """This state, if a lens can have it; NaN is unknown.

        Raises:
            InputError: it cannot; starts with `name` and the field.
        """
        for field, (low, high) in PLAUSIBLE.items():
            value = getattr(self, field)
            if not math.isnan(value) and not is_plausible(field, value):
                raise InputError(f'{name}: {field} {value:g}, no lens has that; expected {low:g} to {high:g}')
        if math.isinf(self.stamp):
            raise InputError(f'{name}: stamp {self.stamp:g} s, expected a finite number')
        if self.focal_length >= self.focus_distance:
            raise InputError(
                f'{name}: focus_distance {self.focus_distance:g} m, not beyond the focal length {self.focal_length:g} m'
            )
        if self.near >= self.far:
            raise InputError(f'{name}: near {self.near:g} m is not less than far {self.far:g} m')
        return self

    @property
    def lens(self) -> Lens:
        """The part of the state that does not change with the focus."""
        return Lens(self.focal_length, self.f_number, self.pixel_pitch)

    @property
    def focal_length_px(self) -> float:
        """Focal length in pixels at this focus: times the magnification, where that is known. NaN if the focal length
        or the pixel pitch is unknown."""
        length = self.focal_length / self.pixel_pitch
        return length if math.isnan(self.magnification) else length * self.magnification

    @property
    def range(self) -> VergenceRange | None:
        """The distances that the lens can focus; None if they are unknown.

        Raises `InputError` if `near` and `far` are known but impossible (near >= far, near <= 0).
        """
        if math.isnan(self.near) or math.isnan(self.far):
            return None
        return VergenceRange(self.near, self.far)


def is_plausible(name: str, value: float) -> bool:
    """Whether a lens can have this value of a field of `LensState`; NaN is not."""
    low, high = PLAUSIBLE[name]
    return low <= value <= high
