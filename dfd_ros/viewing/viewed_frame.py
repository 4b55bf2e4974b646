"""What the page shows of one frame."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange, vergence
from dfd_ros.drawing.visualise import with_unit

ASSUMED_FIELD_OF_VIEW = math.radians(60)  # horizontal, of a camera that is not calibrated
RELIEF = VergenceRange(1.0, 2.0)  # where a relative scene is drawn in space: its stand-ins go to infinity


class Pinhole(NamedTuple):
    """Intrinsics in pixels; pixel centres are at whole numbers."""

    fx: float
    fy: float
    cx: float
    cy: float
    is_known: bool = True
    """False: assumed, so that the cloud has the right distances but not the right widths."""

    @classmethod
    def assumed(cls, height: int, width: int) -> Pinhole:
        """Of a camera that is not calibrated."""
        focal_length = width / 2 / math.tan(ASSUMED_FIELD_OF_VIEW / 2)
        return cls(focal_length, focal_length, (width - 1) / 2, (height - 1) / 2, False)

    @classmethod
    def of_lens(cls, height: int, width: int, state: LensState) -> Pinhole:
        """As the lens has it, its axis in the middle of the image; assumed where the lens is not known."""
        focal_length = state.focal_length_px
        if math.isnan(focal_length):
            return cls.assumed(height, width)
        return cls(focal_length, focal_length, (width - 1) / 2, (height - 1) / 2)


@dataclass(frozen=True)
class ViewedFrame:
    """A frame and its results. All maps are (H, W) float32 in the view of the image; None is not there."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    camera: Pinhole
    focus_distance: float = math.nan
    """m; NaN = unknown."""
    range: VergenceRange | None = None
    """The range of depth: the scale of colours and plots."""
    depth: np.ndarray | None = None
    """m along the optical axis; NaN = unknown."""
    coc: np.ndarray | None = None
    """px, diameter of the circle of confusion."""
    confidence: np.ndarray | None = None
    """0..1."""
    all_in_focus: np.ndarray | None = None
    """(H, W, 3) uint8 RGB."""
    threshold: float = 0.0
    """Depth of less confidence is not shown."""
    age: float = math.nan
    """s from the exposure to when the frame was complete; NaN = unknown."""
    note: str = ''
    """Why nothing is known about depth, or what the viewer should know."""
    is_metric: bool = True
    """False: only the order of focus is known. All distances are stand-ins, whose vergence is the place between the
    farthest focus (0) and the nearest (1)."""

    @functools.cached_property
    def shown_depth(self) -> np.ndarray | None:
        """`depth` with NaN where the confidence is below the threshold."""
        if self.depth is None or self.confidence is None or self.threshold <= 0:
            return self.depth
        return np.where(self.confidence >= self.threshold, self.depth, np.float32(np.nan))

    @property
    def in_space(self) -> ViewedFrame:
        """The frame as it is drawn in space: a relative one as a relief, 1 to 2 m from the camera."""
        # Not cached here: a frame that refers to itself stays in memory until the next garbage collection.
        return self if self.is_metric else self._relief

    @functools.cached_property
    def _relief(self) -> ViewedFrame:
        return replace(
            self,
            depth=None if self.depth is None else RELIEF.denormalise(vergence(self.depth)),
            focus_distance=RELIEF.denormalise(vergence(self.focus_distance)),
            range=self.range
            and VergenceRange(*(RELIEF.denormalise(vergence(end)) for end in (self.range.near, self.range.far))),
        )

    def place(self, distance: float) -> str:
        """A distance (m) as text; of a relative scene, the place between the farthest focus (0) and the nearest (1)."""
        return with_unit(distance) if self.is_metric else f'{vergence(distance):.2f}'
