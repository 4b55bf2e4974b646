"""What the frames in the memory of an estimator can tell about depth: nothing, unless the focus moves.

Depth comes from the change of blur between foci. A network answers in any case; this says whether there was anything
to answer from.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import torch
import torch.nn.functional as F

ONE_FOCUS = 'the focus has not moved'
NO_RESPONSE = 'the images do not change with the focus distance of their lens states'
NO_ANSWER = 'the network gives no depth: its stack is not complete, or its weights are broken'

LONGEST_REST = 30
"""Frames at one focus after which the sweeps before are too old. Over 40 such frames the median error stays what it was
(160x120, 5 Hz: 6 to 6, 7 to 8, 16 to 16, 3 to 3 %; 6 to 27, 7 to 54, 16 to 47 % if the memory read all of them)."""
SMALLEST_SPREAD = 0.05
"""Of foci that tell something, as a share of the range in vergence."""
SMALLEST_BLUR = 0.5
"""px, difference in blur that can be seen."""

CELL = 8
"""px, side of a place of which the foci are kept."""
TILES = 8
"""The sharpness of an image is measured in so many rows and columns."""
RESPONSE_FRAMES = 60
LEAST_REPEATS = 15
"""Frames at foci that were visited before: fewer cannot tell a response from chance."""
LEAST_RESPONSE = 0.05
LARGEST_UNREST = 0.2
"""A camera that moves fast changes the sharpness more than the focus does: where it varies by more at one focus,
nothing is concluded."""
FOCUS_BINS = 10
"""Across the range: frames in one bin have the same focus."""


class Evidence:
    """Follows the foci and the sharpness of the frames of one stream in one range."""

    def __init__(self) -> None:
        self._foci: deque[float] = deque(maxlen=LONGEST_REST + 1)
        self._sharpness: deque[tuple[int, np.ndarray]] = deque(maxlen=RESPONSE_FRAMES)
        self.foci_seen: torch.Tensor | None = None
        """(1, 2, H / CELL, W / CELL) in the view of the memory: 1 + the nearest focus that each place was seen at, and
        2 - the farthest. Both are positive; 0 is a place that was not in view."""
        self.spread = 0.0
        """Share of the range in vergence between the nearest and the farthest focus of the last frames."""
        self._least = SMALLEST_SPREAD
        self.unrest = math.nan
        """Standard deviation of the log of the local sharpness at one focus."""
        self.response = math.nan
        """Share of the variance of the local sharpness that the focus explains: about 0 for a motor that is stuck, NaN
        while too few foci were visited again."""

    def push(self, image: torch.Tensor, focus: float, blur_scale: float) -> str:
        """Adds a frame. Returns why nothing is known about depth, '' if something is.

        image: (1, 3, H, W) as the network sees it; focus: its v; blur_scale: k in pixels of `image`, NaN = unknown.
        """
        self._foci.append(focus)
        self.spread = max(self._foci) - min(self._foci)
        self._least = SMALLEST_SPREAD if math.isnan(blur_scale) else max(SMALLEST_SPREAD, SMALLEST_BLUR / blur_scale)
        cells = [-(-size // CELL) for size in image.shape[2:]]
        now = image.new_tensor([1 + focus, 2 - focus])[None, :, None, None].expand(1, 2, *cells)
        self.foci_seen = now if self.foci_seen is None else torch.maximum(self.foci_seen, now)
        self._sharpness.append((round(focus * FOCUS_BINS), sharpness(image)))
        bins, tiles = zip(*self._sharpness)
        self.response, self.unrest = explained_share(np.array(bins), np.stack(tiles))
        if self.spread < self._least:
            return ONE_FOCUS
        return NO_RESPONSE if self.response < LEAST_RESPONSE and self.unrest < LARGEST_UNREST else ''

    def seen(self, height: int, width: int) -> torch.Tensor:
        """(height, width) bool: places that were seen at two foci."""
        assert self.foci_seen is not None
        # Foci are at most 1.5: 3 - 1e-3 lets the rounding of warped maps pass.
        spread = self.foci_seen.sum(1, keepdim=True) - (3 - 1e-3)
        return F.interpolate((spread >= self._least).float(), (height, width), mode='nearest')[0, 0] > 0


def sharpness(image: torch.Tensor) -> np.ndarray:
    """(TILES * TILES,) log of the mean squared gradient of green in each tile of an image (1, 3, H, W) in 0..1."""
    green = image[:, 1:2]
    # Every second row and column is enough.
    across, down = green[..., ::2, :].diff(dim=-1), green[..., ::2].diff(dim=-2)
    energy = F.adaptive_avg_pool2d(across.square(), TILES) + F.adaptive_avg_pool2d(down.square(), TILES)
    return torch.log(energy + 1e-5).flatten().cpu().numpy()


def explained_share(groups: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Share of the variance of `values` (N, K) that the `groups` (N,) explain: omega squared of a one-way analysis of
    variance, pooled over the K columns. About 0 if they explain nothing. And the standard deviation that remains. NaN
    for fewer than two groups or too few repeats."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    between, within = len(counts) - 1, len(groups) - len(counts)
    if between < 1 or within < LEAST_REPEATS:
        return math.nan, math.nan
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, group, values)
    means = sums / counts[:, None]
    total = float(((values - values.mean(0)) ** 2).sum())
    residual = float(((values - means[group]) ** 2).sum())
    noise = residual / within
    share = (total - residual - between * noise) / (total + noise) if total > 0 else 0.0
    return share, math.sqrt(noise / values.shape[1])
