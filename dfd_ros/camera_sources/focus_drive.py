"""The motion of a focus drive from command to rest, in time."""

from __future__ import annotations

import math

from dfd_ros.errors import InputError
from dfd_ros.optics import VergenceRange, distance, vergence


class FocusDrive:
    """Moves at constant speed in vergence, as a lens barrel does, and arrives `settle_time` s after a command."""

    def __init__(self, focus_distance: float, settle_time: float, range_: VergenceRange | None = None) -> None:
        """At rest at `focus_distance` (m). Commands outside `range_` end at its nearer limit."""
        self.settle_time = settle_time
        self._range = range_
        self._start = self._goal = vergence(focus_distance)
        self._moved_at = -math.inf

    def command(self, focus_distance: float, time_s: float) -> None:
        """Starts towards `focus_distance` (m, inf allowed). Raises InputError for NaN, 0 and less."""
        if not focus_distance > 0:
            raise InputError(f'focus command: focus distance {focus_distance} m; it must be positive '
                             f'(inf for infinity)')
        goal = vergence(focus_distance)
        if self._range is not None:
            goal = min(max(goal, vergence(self._range.far)), vergence(self._range.near))
        if goal != self._goal:   # a command that is sent again does not start the motion again
            self._start, _ = self._at(time_s)
            self._goal, self._moved_at = goal, time_s

    def at(self, time_s: float) -> tuple[float, bool]:
        """(focus distance in m, whether the focus rests) at `time_s`."""
        position, settled = self._at(time_s)
        return distance(position), settled

    def _at(self, time_s: float) -> tuple[float, bool]:
        elapsed = time_s - self._moved_at
        if elapsed >= self.settle_time:
            return self._goal, True
        share = max(elapsed, 0.0) / self.settle_time
        return self._start + share * (self._goal - self._start), False
