"""Whether lens states are stamped with the times of other images than their own, by when the two arrive."""

from __future__ import annotations

import math
import statistics
from collections import deque

import numpy as np

PAIRS = 8  # whose arrivals are compared
MIN_OFFSET = 0.02  # s


class FrameOffset:
    """Notices lens states that pair with the image before or after their own.

    Where they are stamped late by a whole frame, the stamps alone fit. But an image and its lens state then arrive a
    frame apart, every time.
    """

    def __init__(self) -> None:
        self._stamps: deque[float] = deque(maxlen=PAIRS)
        self._offsets: deque[float] = deque(maxlen=PAIRS)

    def add_image(self, stamp: float) -> None:
        self._stamps.append(stamp)

    def add_pair(self, image_arrival: float, lens_arrival: float) -> None:
        self._offsets.append(image_arrival - lens_arrival)

    @property
    def period(self) -> float:
        """s between images; NaN while unknown."""
        return float(statistics.median(np.diff(self._stamps))) if len(self._stamps) == PAIRS else math.nan

    @property
    def frames(self) -> int:
        """By how many frames the lens states precede the images that they are paired with; 0 if they do not."""
        if len(self._offsets) < PAIRS or len(self._stamps) < PAIRS:
            return 0
        offset, period = statistics.median(self._offsets), self.period
        if not (period > 0 and abs(offset) >= MIN_OFFSET):  # NaN: unknown
            return 0
        frames = round(offset / period)
        constant = all(abs(o / period - frames) < 0.3 for o in self._offsets)
        return frames if constant else 0
