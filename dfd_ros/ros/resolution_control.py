"""Chooses the resolution at which the depth node keeps up with its camera."""

from __future__ import annotations

import statistics
from collections import deque

LEVELS = 160, 240, 320, 480, 640, 960, 1280, 1920  # px
FRAMES, FEW_FRAMES = 40, 10  # at one resolution, before the next decision; where there is no doubt
TOO_SLOW, MUCH_TOO_SLOW = 1.0, 1.3  # of the time between two frames
FITS = 0.65  # of it, expected at the next higher resolution
FIRST_HOLD, MAX_HOLD = 10.0, 3600.0  # s


class ResolutionControl:
    """Compares the time that a frame takes with the time there is for it.

    The resolution falls as soon as frames take too long, as far as the time demands. It rises by one level where even
    a time that grows with the number of pixels leaves a margin, which it overestimates: part of the time is constant.
    On a machine whose load comes and goes, each fall doubles the time until the next rise.
    """

    def __init__(self, highest: int) -> None:
        """`highest`: px, the longest side of the images that the network may see."""
        self.highest = highest
        self._levels = [size for size in LEVELS if size < highest] + [highest]
        self.resolution = highest
        """px, of the longest side."""
        self._times: deque[float] = deque(maxlen=FRAMES)
        self._periods: deque[float] = deque(maxlen=FRAMES)
        self._hold, self._changed_at = FIRST_HOLD, -MAX_HOLD

    def add(self, took: float, period: float, now: float) -> str:
        """A frame took `took` s of the `period` s that there were. Gives why the resolution changes with the next
        frame, in one line; empty if it stays."""
        if not period > 0:  # stamps that stand still
            return ''
        self._times.append(took)
        self._periods.append(period)
        frames = len(self._times)
        if frames < FEW_FRAMES:
            return ''
        took, period = statistics.median(self._times), statistics.median(self._periods)
        index = self._levels.index(self.resolution)
        if frames < FRAMES and took < MUCH_TOO_SLOW * period:
            return ''
        if took > TOO_SLOW * period and index:
            self._hold = min(2 * self._hold, MAX_HOLD)
            while index and self._expected(took, index) > FITS * period:
                index -= 1
        elif index + 1 < len(self._levels) and now >= self._changed_at + self._hold:
            index += self._expected(took, index + 1) < FITS * period
        if self._levels[index] == self.resolution:
            return ''
        before, self.resolution = self.resolution, self._levels[index]
        self._times.clear()
        self._periods.clear()
        self._changed_at = now
        return (
            f'resolution {before} px, then {self.resolution} px: a frame took {1e3 * took:.0f} ms of the '
            f'{1e3 * period:.0f} ms between two frames'
        )

    def _expected(self, took: float, index: int) -> float:
        """What a frame may take at a level, s."""
        return took * (self._levels[index] / self.resolution) ** 2
