"""Where a lens is that says so: its reports over time."""

from __future__ import annotations

import bisect
from collections import deque
from itertools import pairwise

from dfd_ros.cameras.lens_motion import Position

REMEMBERED = 128  # reports
STAMP_NOISE = 0.25  # of a frame by which stamps may be off
RECENT = 9  # reports, for the usual time between two
MAX_GAP = 2.5  # frames, or usual times between reports; across a longer gap the position is unknown


class PositionReports:
    """Values with the times (s) at which they were true, in the order of these times."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)

    def add(self, time_s: float, value: float) -> None:
        """One that is older than the last is dropped, and with a time that falls far back all before it are."""
        if self._samples and time_s <= self._samples[-1][0]:
            if time_s > self._samples[-1][0] - 1.0:
                return
            self._samples.clear()
        self._samples.append((time_s, value))

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def last(self) -> tuple[float, float] | None:
        """(time, value)"""
        return self._samples[-1] if self._samples else None

    def reach(self, time_s: float, period: float) -> bool:
        """Whether there is a report of this time or later."""
        return bool(self._samples) and self._samples[-1][0] >= time_s - STAMP_NOISE * period

    def during(self, begin: float, end: float, period: float, tolerance: float) -> Position | None:
        """The position from `begin` to `end` (s), at rest where all reports around agree within `tolerance`; the middle
        of its way where it moved.

        None: no report is near. `period`: s between two frames.
        """
        samples = list(self._samples)
        if not samples:
            return None
        times = [time_s for time_s, _ in samples]
        noise = STAMP_NOISE * period
        first, last = bisect.bisect_left(times, begin - noise), bisect.bisect_right(times, end + noise) - 1
        if first == len(times) or times[first] > begin + noise:
            first -= 1
        if last < 0 or times[last] < end - noise:
            last += 1
        intervals = sorted(b - a for a, b in pairwise(times[-RECENT:]))
        largest = MAX_GAP * max(period, intervals[len(intervals) // 2] if intervals else 0.0)
        before, after = samples[max(first, 0)], samples[min(last, len(samples) - 1)]
        if min(abs(end - before[0]), abs(end - after[0])) > largest:
            return None
        used = samples[max(first, 0) : last + 1] or [before]
        values = [value for _, value in used]
        whole = first >= 0 and last < len(samples)
        dense = all(b[0] - a[0] <= largest for a, b in pairwise(used))
        if not (whole and dense):
            return Position(_interpolated(used, end), False)
        low, high = min(values), max(values)
        if high - low <= tolerance:
            return Position(_interpolated(used, end), True, travel=high - low)
        return Position((low + high) / 2, False, travel=high - low)


def _interpolated(samples: list[tuple[float, float]], time_s: float) -> float:
    if time_s <= samples[0][0]:
        return samples[0][1]
    for (t0, v0), (t1, v1) in pairwise(samples):
        if time_s <= t1:
            return v0 + (v1 - v0) * (time_s - t0) / (t1 - t0)
    return samples[-1][1]
