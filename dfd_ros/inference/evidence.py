"""What the frames in the memory of an estimator reveal about depth: nothing, unless the focus moves.

Depth comes from the change of blur between foci. A network answers in any case; this says whether there was anything
to answer from.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import torch

from dfd_ros.core.errors import plural
from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.focus_response import FOCUS_LIMITS, MAX_LAG, FocusResponse

ONE_FOCUS = 'the focus has not moved'
NO_RESPONSE = 'the images do not change with the focus distance of their lens states'
NO_ANSWER = 'the network gives no depth: its stack is not complete, or its weights are broken'

MAX_REST = 30
"""Number of frames at one focus that make the sweeps before them too old. Over 40 such frames the median error stays
what it was (160x120, 5 Hz: 6 to 6, 7 to 8, 16 to 16, 3 to 3 %; 6 to 27, 7 to 54, 16 to 47 % if the memory read all of
them)."""
MIN_SPREAD = 0.05
"""Smallest difference of two foci that is visible, as a share of the range in vergence."""
MIN_BLUR = 0.5
"""px, smallest difference in blur that is visible."""

CELL = 8
"""px, side of the square places whose foci are remembered."""
MIN_RESPONSE = 0.2
"""Of 80 streams of stuck motors before moving cameras (`benchmarks/lens_faults.py`), the response was 0.16 or less once
it had settled; of 110 good ones 0.23 or more, but for one scene (0.11 to 0.29)."""
MAX_UNREST = 0.28
"""Registration cannot follow a camera that moves fast: where more is unexplained, nothing is concluded. It was 0.25 or
less before a stuck motor, and 0.33 or more where fast motion, of 3 % of the image a frame, hid a good response."""
MIN_FIT = 0.5
"""Smallest share that lens states must explain to be those of other images."""
LAG_MARGIN = 0.1
"""By how much lens states of other frames must explain the images better than the images' own."""


def limited_focus(focus: float) -> float:
    """Far outside the range the blur is as strong as somewhat outside."""
    return min(max(focus, FOCUS_LIMITS[0]), FOCUS_LIMITS[1])


class Evidence:
    """Follows the foci and the sharpness of the frames of one stream in one range."""

    def __init__(self) -> None:
        self._foci: deque[float] = deque(maxlen=MAX_REST + 1)
        self.foci_seen: torch.Tensor | None = None
        """(1, 2, H / CELL, W / CELL) in the view of the memory: 1 + the nearest focus that each place was seen at, and
        2 - the farthest. Both are positive; 0 is a place that was not in view."""
        self.spread = 0.0
        """Share of the range in vergence between the nearest and the farthest focus of the last frames."""
        self._least = MIN_SPREAD
        self._response = FocusResponse()

    @property
    def response(self) -> float:
        """Share of the variance of the local sharpness that the focus explains: about 0 for a motor that is stuck, NaN
        while too few foci were visited again, or without texture."""
        return self._response.share

    @property
    def lag(self) -> int | None:
        """By how many frames the lens states precede the images that they explain best: 0 where the images show that
        each has its own, None where they do not (a ramp that is repeated explains as much when it is shifted)."""
        shares = self._response.shares
        best = int(np.argmax(shares))
        others = np.delete(shares, [best, MAX_LAG])
        if not shares[best] >= MIN_FIT:
            return None
        if best == MAX_LAG:
            return 0 if shares[best] - others.max() > LAG_MARGIN else None
        return MAX_LAG - best if shares[best] - shares[MAX_LAG] > LAG_MARGIN else None

    def rescale(self, scale: float, offset: float) -> None:
        """Another range is swept from now on, in which v is scale * v + offset."""
        self._foci = deque((limited_focus(scale * focus + offset) for focus in self._foci), self._foci.maxlen)
        if self.foci_seen is not None:
            foci = torch.cat([self.foci_seen[:, :1] - 1, 2 - self.foci_seen[:, 1:]], 1)
            foci = (scale * foci + offset).clamp(*FOCUS_LIMITS)
            seen = torch.cat([1 + foci[:, :1], 2 - foci[:, 1:]], 1)
            self.foci_seen = seen.where(self.foci_seen > 0, self.foci_seen)
        self._response.rescale(scale, offset)

    def push(self, image: torch.Tensor, focus: float, blur_scale: float, motion: Similarity = Similarity()) -> str:
        """Adds a frame. Returns why nothing is known about depth, '' if something is.

        image: (1, 3, H, W) as the network sees it; focus: its v, which may lie far outside; blur_scale: k in pixels of
        `image`, NaN = unknown; motion: maps pixels of this image to those of the one before.
        """
        self._response.push(image, focus, motion)
        focus = limited_focus(focus)
        self._foci.append(focus)
        self.spread = max(self._foci) - min(self._foci)
        self._least = MIN_SPREAD if math.isnan(blur_scale) else max(MIN_SPREAD, MIN_BLUR / blur_scale)
        if self.foci_seen is None:
            self.foci_seen = image.new_zeros(1, 2, *(-(-size // CELL) for size in image.shape[2:]))
        self.foci_seen[:, 0].clamp_(min=1 + focus)
        self.foci_seen[:, 1].clamp_(min=2 - focus)
        if self.spread < self._least:
            return ONE_FOCUS
        if self.lag:
            return shown_by(self.lag)
        stuck = self.response < MIN_RESPONSE and self._response.unrest < MAX_UNREST
        return NO_RESPONSE if stuck else ''

    def seen(self) -> torch.Tensor | None:
        """(H / CELL, W / CELL) bool: places that were seen at two foci. None: all."""
        assert self.foci_seen is not None
        # Foci are at most 1.5: 3 - 1e-3 lets the rounding of warped maps pass.
        cells = self.foci_seen.sum(1)[0] - (3 - 1e-3) >= self._least
        return None if cells.all() else cells


def shown_by(lag: int) -> str:
    """What is wrong where the images fit the lens states of `lag` frames before."""
    side = 'before' if lag > 0 else 'after'
    return f'the images show the focus of the lens states {plural(abs(lag), "frame")} {side} their own'
