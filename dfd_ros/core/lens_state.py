"""The state of the lens while one image was exposed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dfd_ros.core.optics import Lens, VergenceRange


@dataclass(frozen=True)
class LensState:
    """State of the lens during one exposure. SI units; NaN means unknown."""

    focus_distance: float
    """Distance (m) that is in focus; infinity is allowed."""
    focal_length: float = math.nan
    f_number: float = math.nan
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
    def of_message(cls, message: Any, stamp: float) -> LensState:
        """From a dfd_ros/msg/LensState, however it was decoded. Values that are not positive and finite count as
        unknown; only the focus distance and far may be infinite."""

        def known(value: float) -> float:
            return value if 0 < value < math.inf else math.nan

        near, far = message.near_distance, message.far_distance
        if not 0 < near < far:
            near = far = math.nan
        return cls(
            message.focus_distance,
            known(message.focal_length),
            known(message.f_number),
            known(message.pixel_pitch),
            known(message.magnification),
            near,
            far,
            bool(message.settled),
            stamp,
        )

    @property
    def lens(self) -> Lens:
        """The part of the state that does not change with the focus."""
        return Lens(self.focal_length, self.f_number, self.pixel_pitch)

    @property
    def range(self) -> VergenceRange | None:
        """The distances that the lens can focus; None if they are unknown.

        Raises `InputError` if `near` and `far` are known but impossible (near >= far, near <= 0).
        """
        if math.isnan(self.near) or math.isnan(self.far):
            return None
        return VergenceRange(self.near, self.far)
