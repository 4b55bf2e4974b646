"""The time between two frames of a camera, from their stamps."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

SILENCE = 3.0  # s without a frame, after which the camera counts as started anew
REMEMBERED = 16
EVEN_FRAMES, UNEVEN = 5, 0.3  # frames, and the share of a frame by which they may be apart


class FrameRate:
    def __init__(self, period: float = 1 / 30) -> None:
        """`period`: s between two frames, until it is known."""
        self.period = period
        """s, the median."""
        self._stamps: deque[float] = deque(maxlen=REMEMBERED)
        self.jump = math.nan
        """s between the two stamps at which the measurement was last started anew; NaN: it never was."""

    def add(self, stamp: float) -> None:
        """A frame, with its stamp in s. Stamps that fall back, or a long silence, start the measurement anew."""
        if self._stamps and not 0 < (step := stamp - self._stamps[-1]) < SILENCE:
            self.jump = step
            self._stamps.clear()
        self._stamps.append(stamp)
        if self.is_known:
            intervals = sorted(self._intervals)
            self.period = intervals[len(intervals) // 2]

    @property
    def is_known(self) -> bool:
        return len(self._stamps) > 2

    @property
    def is_even(self) -> bool:
        """Whether the last frames came at the rate of the camera: else nobody knows when the lens moved."""
        recent = self._intervals[1 - EVEN_FRAMES :]
        return len(recent) == EVEN_FRAMES - 1 and all(abs(t - self.period) < UNEVEN * self.period for t in recent)

    @property
    def _intervals(self) -> list[float]:
        return [after - before for before, after in pairwise(self._stamps)]
