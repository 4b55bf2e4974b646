"""The range of a lens that nobody states: what its focus has swept."""

from __future__ import annotations

import math
from collections import deque

from dfd_ros.core.optics import VergenceRange, distance, vergence


class SweptRange:
    """Learns the range of a lens from its focus distances.

    Nothing is known until the focus has turned round: then the first sweep is over. The range grows when a focus leaves
    it by more than `SLACK` of its width; after `LEARNING_TURNS` turns it takes two such frames, since one alone may be
    an outlier. An end of the range that no focus has come near for `MEMORY` frames and `LEARNING_TURNS` turns is
    given up; after as many turns also one of a single frame that is farther from all others than they are apart.
    """

    SLACK = 0.05
    MIN_WIDTH = 0.02
    """Dioptres; less is a focus that trembles, and no sweep."""
    LEARNING_TURNS = 4
    MEMORY = 40

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque(maxlen=self.MEMORY)  # vergence, turns so far
        self._direction = 0.0
        self._turns = 0
        self._near, self._far = 0.0, math.inf  # vergences
        self.range: VergenceRange | None = None

    def push(self, focus_distance: float) -> VergenceRange | None:
        """The range after this frame, None while it is not known."""
        focus = vergence(focus_distance)
        step = focus - self._recent[-1][0] if self._recent else 0.0
        self._turns += step * self._direction < 0
        self._direction = step or self._direction
        self._recent.append((focus, self._turns))
        self._grow()
        self._shrink()
        if self._turns and self._near - self._far >= self.MIN_WIDTH and self._has_moved(self.range):
            self.range = VergenceRange(1 / self._near, distance(self._far))
        return self.range

    def _grow(self) -> None:
        foci = sorted(focus for focus, _ in self._recent)
        needed = 1 if self._turns <= self.LEARNING_TURNS else min(2, len(foci))
        self._near, self._far = max(self._near, foci[-needed]), min(self._far, foci[needed - 1])

    def _shrink(self) -> None:
        if self.range is None or self._turns - self._recent[0][1] < self.LEARNING_TURNS:
            return
        foci = sorted(focus for focus, _ in self._recent)
        if foci[-1] - foci[-2] > foci[-2] - foci[0] >= self.MIN_WIDTH:
            self._near = foci[-2]
        if foci[1] - foci[0] > foci[-1] - foci[1] >= self.MIN_WIDTH:
            self._far = foci[1]
        slack = self.SLACK * self.range.width
        if len(self._recent) == self.MEMORY and foci[-1] < self._near - slack:
            self._near = foci[-1]
        if len(self._recent) == self.MEMORY and foci[0] > self._far + slack:
            self._far = foci[0]

    def _has_moved(self, known: VergenceRange | None) -> bool:
        if known is None:
            return True
        slack = self.SLACK * known.width
        return abs(self._near - 1 / known.near) > slack or abs(self._far - 1 / known.far) > slack
