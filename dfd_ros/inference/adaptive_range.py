"""What part of its range a lens should sweep: the depths that there are, and now and then everything.

A scene seldom fills the range of a lens. The same number of frames, spread over the depths that there are, gives finer
depth, so after a sweep of everything only these are swept. What lies outside of them shows only as blur: therefore
everything is swept again every few sweeps, and at once when the depth becomes unsure.
"""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate


class AdaptiveRange:
    """Chooses the range for `DepthEstimator.change_range` and for the sweep of the lens, after each frame.

        adaptive = AdaptiveRange()
        for image, state in camera:
            estimate = estimator.push(image, state)
            estimator.change_range(adaptive.push(state.focus_distance, estimate, lens_range))
            camera.sweep(adaptive.range)

    Attributes:
        range: what to sweep now; None before the first frame.
    """

    NARROW_SWEEPS = 5
    """Sweeps of the depths that there are between two of everything."""
    MARGIN = 0.08
    """Around the depths that there are, as a share of the range that was swept."""
    QUANTILE = 0.005
    """Share of the sure pixels at each end that may lie outside: some are wrong."""
    MIN_CONFIDENCE = 0.3
    MIN_SURE = 0.5
    """Of the pixels; with fewer, everything is swept."""
    MIN_WIDTH = 0.12
    """Of the range of the lens."""
    WORTH = 0.8
    """A part of the range is swept if it is at most this share of the whole."""
    STEADY = 0.1
    """Of the width: smaller changes of the part are not followed."""
    LOST = 0.7
    """Of the pixels that were sure after the sweep before; with fewer, everything is swept at once."""
    LOST_FIRST = 0.5
    """The same for the first sweep of a part: in a narrower range, less is sure."""
    ENDS = 0.15
    """Share of the range: how near to both of its ends the focus has been after a sweep."""
    MAX_FRAMES = 1000
    """A sweep that has not reached both ends by then is over."""

    def __init__(self) -> None:
        self.range: VergenceRange | None = None
        self._lens_range: VergenceRange | None = None
        self._begin(None)

    def _begin(self, range_: VergenceRange | None) -> None:
        """A sweep of a range."""
        self.range = range_
        self._nearest, self._farthest = -math.inf, math.inf
        self._frames = 0

    def push(self, focus_distance: float, estimate: Estimate, lens_range: VergenceRange) -> VergenceRange:
        """The range of the next frame.

        Args:
            focus_distance: m, of the frame.
            estimate: after it.
            lens_range: all that may be swept.
        """
        if lens_range != self._lens_range or self.range is None or estimate.frames <= 1:
            self._lens_range = lens_range
            self._left, self._sure, self._least = 0, 0.0, 0.0
            self._begin(lens_range)
        assert self.range is not None
        v = self.range.normalise(focus_distance)
        if -self.ENDS < v < 1 + self.ENDS:  # not on its way from another range, or held elsewhere
            self._nearest, self._farthest = max(self._nearest, v), min(self._farthest, v)
        self._frames += 1
        small = estimate.reduced
        sure = small.confidence >= self.MIN_CONFIDENCE
        share = np.count_nonzero(sure) / sure.size
        is_over = self._nearest > 1 - self.ENDS and self._farthest < self.ENDS
        if share < self._least:
            self._least = 0.0
            self._begin(lens_range)
        elif is_over or self._frames >= self.MAX_FRAMES:
            self._begin(self._next(small.vergence[sure], share, lens_range))
        return self.range

    def _next(self, u: np.ndarray, share: float, lens_range: VergenceRange) -> VergenceRange:
        """What to sweep after a sweep of `range`, which left the share `share` of the pixels sure, of these u."""
        assert self.range is not None
        is_whole, self._least = self.range == lens_range, 0.0
        self._left -= 1
        is_lost = not is_whole and (self._left <= 0 or share < self.LOST_FIRST * self._sure)
        if is_lost or share < self.MIN_SURE:
            return lens_range
        part = self._around(u, lens_range)
        if part.width > self.WORTH * lens_range.width:
            return lens_range
        if is_whole:
            self._left, self._sure = self.NARROW_SWEEPS, share
            return part
        self._least = self.LOST * share
        near, far = self.range.normalise(part.near), self.range.normalise(part.far)
        return self.range if max(abs(near - 1), abs(far)) < self.STEADY else part

    def _around(self, u: np.ndarray, lens_range: VergenceRange) -> VergenceRange:
        """The part of the lens's range with these depths."""
        assert self.range is not None
        ends = np.quantile(u, [self.QUANTILE, 1 - self.QUANTILE]) + [-self.MARGIN, self.MARGIN]
        far, near = (float(lens_range.normalise(self.range.denormalise(end))) for end in ends)
        if (missing := self.MIN_WIDTH - (near - far)) > 0:
            far, near = far - missing / 2, near + missing / 2
        return VergenceRange(
            lens_range.near if near >= 1 else lens_range.denormalise(near),
            lens_range.far if far <= 0 else lens_range.denormalise(far),
        )
