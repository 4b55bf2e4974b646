"""The frames of a camera over time, from their stamps: the time between two, and which came when."""

from __future__ import annotations

import bisect
import math
from collections import deque
from itertools import pairwise

SILENCE = 3.0  # s without a frame, after which the camera counts as started anew
REMEMBERED = 128
RECENT = 16  # frames, for the time between two
EVEN_FRAMES, UNEVEN = 5, 0.3  # frames, and the share of a frame by which they may be apart


class FrameRate:
    def __init__(self, period: float = 1 / 30) -> None:
        """`period`: s between two frames, until it is known."""
        self.period = period
        """s, the median."""
        self._stamps: deque[float] = deque(maxlen=REMEMBERED)
        self._arrivals: deque[float] = deque(maxlen=REMEMBERED)
        self.jump = math.nan
        """s between the two stamps at which the measurement was last started anew; NaN: it never was."""

    def add(self, stamp: float, arrival: float) -> None:
        """A frame, with its stamp and the time of its arrival in s, by two clocks. Stamps that fall back, or a long
        silence, start the measurement anew."""
        if self._stamps and not 0 < (step := stamp - self._stamps[-1]) < SILENCE:
            self.jump = step
            self._stamps.clear()
            self._arrivals.clear()
        self._stamps.append(stamp)
        self._arrivals.append(arrival)
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

    def arrived_since(self, time_s: float) -> int:
        """The number of frames that have arrived after `time_s`."""
        return len(self._arrivals) - bisect.bisect_right(self._arrivals, time_s)

    def missing_since(self, time_s: float) -> float:
        """s by which the frames that arrived after `time_s` took longer than they should. Where a driver counts frames,
        the lens is that much later."""
        count = self.arrived_since(time_s)
        first = max(len(self._stamps) - count - 1, 0)
        if not self._stamps:
            return 0.0
        late = self._stamps[-1] - self._stamps[first] - (len(self._stamps) - 1 - first) * self.period
        return late if late > UNEVEN * self.period else 0.0

    def before(self, stamp: float, frames: int) -> tuple[float, float]:
        """(earliest, latest) stamp of the frame that was so many `frames` before that of `stamp`: they are counted, and
        by the rate, as the driver or the network may have dropped some."""
        by_rate = stamp - frames * self.period
        index = bisect.bisect_left(self._stamps, stamp) - frames
        if not self._stamps:
            return by_rate, by_rate
        counted = self._stamps[min(max(index, 0), len(self._stamps) - 1)]
        return min(by_rate, counted), max(by_rate, counted)

    @property
    def _intervals(self) -> list[float]:
        recent = list(self._stamps)[-RECENT:]
        return [after - before for before, after in pairwise(recent)]
