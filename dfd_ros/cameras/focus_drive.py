"""The motion of a focus drive over time, from command to rest."""

from __future__ import annotations

import math
from typing import NamedTuple

from dfd_ros.cameras import CameraSource
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, distance, vergence


class _Motion(NamedTuple):
    start: float  # vergence, dioptres
    goal: float
    began: float  # s


class FocusDrive:
    """Moves at constant speed in vergence, as a lens barrel does; arrives `settle_time` s after a command.

    One thread may give commands while another reads the position.
    """

    def __init__(self, focus_distance: float, settle_time: float, range_: VergenceRange | None = None) -> None:
        """At rest at `focus_distance` (m). Commands outside `range_` are clamped to it."""
        self.settle_time = settle_time
        self._range = range_
        position = vergence(focus_distance)
        self._motion = _Motion(position, position, -math.inf)

    def command(self, focus_distance: float, time_s: float) -> None:
        """Starts towards `focus_distance` (m, inf allowed). Raises InputError for NaN, 0 and negative values."""
        if not focus_distance > 0:
            raise InputError(f'focus command: focus distance {focus_distance} m must be positive (inf for infinity)')
        goal = vergence(focus_distance)
        if self._range is not None:
            goal = min(max(goal, vergence(self._range.far)), vergence(self._range.near))
        if goal != self._motion.goal:  # a repeated command does not restart the motion
            self._motion = _Motion(self._at(self._motion, time_s)[0], goal, time_s)

    def at(self, time_s: float) -> tuple[float, bool]:
        """(focus distance in m, whether the focus rests) at `time_s`."""
        position, settled = self._at(self._motion, time_s)
        return distance(position), settled

    def _at(self, motion: _Motion, time_s: float) -> tuple[float, bool]:
        elapsed = time_s - motion.began
        if elapsed >= self.settle_time:
            return motion.goal, True
        share = max(elapsed, 0.0) / self.settle_time if self.settle_time else 0.0
        return motion.start + share * (motion.goal - motion.start), False


class DrivenSource(CameraSource):
    """Base of camera sources without a device, whose focus drive is `_drive`, which `focus` commands."""

    _drive: FocusDrive

    def focus(self, distance: float, time_s: float) -> None:
        self._drive.command(distance, time_s)
