"""Do the images change with the focus that their lens states say? Judged by sharpness alone, without a network.

The sharpness of a place depends on the focus, and on what is there. Between two frames that are registered to each
other, what is there stays. So the changes of sharpness from frame to frame are regressed on the changes of focus: each
tile of the image has a sharpness at each focus (least squares; a bin without frames has none). The share of the
variance that this explains is high for a camera that sweeps its focus, moving or not, and about 0 for a motor that is
stuck. The same is tried with the lens states of up to `MAX_LAG` frames before and after.
"""

from __future__ import annotations

import functools
import math
from collections import deque

import numpy as np
import torch

from dfd_ros.core.geometry import Similarity

TILES = 8
"""Rows and columns of the grid in which the sharpness of an image is measured."""
REACH = 8
"""px, approximately: differences of neighbours are compared with those of pixels this far apart."""
SAMPLES = 80
"""Rows or columns, whichever are fewer, that are measured."""
NOISE = 1e-4
"""Mean square of differences below which they are mostly noise."""
FOCUS_BINS = 10
"""Bins across the range: frames in one bin count as having the same focus."""
FOCUS_LIMITS = -0.5, 1.5
"""v up to which bins are as narrow as in the range; networks have seen such foci in training."""
OUTER_BINS = 15
"""More bins at each side, each a tenth of the widest range so far. Where a part of it is swept, foci of the whole lie
far outside."""
BINS = 2 * FOCUS_BINS + 1 + 2 * OUTER_BINS
WINDOW = 60
"""Frames that are compared."""
MIN_REPEATS = 15
"""Changes of focus beyond those that a fit needs: with fewer, a response may be chance."""
MIN_TEXTURE = 4e-3
"""Mean square of the coarse differences, less that of the fine ones, that a tenth of the tiles must reach: plain walls
look the same at every focus. Walls reach up to 0.002, scenes with objects 0.01 and more."""
TEXTURED = 58
"""Index of the tile that must reach `MIN_TEXTURE`, among the `TILES`**2 tiles sorted by rising texture."""
MAX_LAG = 2
FIT_EVERY = 4
"""Frames."""
MIN_MOTION = 0.05
"""Share of a tile: smaller motions are ignored."""


class FocusResponse:
    """Follows the sharpness of the last `WINDOW` frames of one stream. The cost of a frame does not depend on it."""

    def __init__(self) -> None:
        lags = 2 * MAX_LAG + 1
        self._sharpness: np.ndarray | None = None
        self._textures: deque[float] = deque(maxlen=WINDOW)
        self._count = 0
        self._foci: deque[float] = deque(maxlen=lags + 1)
        self._changes: deque[np.ndarray] = deque(maxlen=MAX_LAG + 1)
        # Of the least squares: rows in use with the foci of each lag before and after, and its normal equations.
        self._rows: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque()
        self._widest = 1.0  # width of the widest range so far, of that now
        self._start()
        self.shares = np.full(lags, math.nan)
        """Shares of the variance that the lens states of MAX_LAG frames before each image, ..., MAX_LAG frames after it
        explain. NaN while there are too few frames, or no texture."""
        self.unrest = math.nan
        """Standard deviation of the changes of the log of sharpness that the focus does not explain."""

    def _start(self) -> None:
        lags = 2 * MAX_LAG + 1
        self._normal = np.zeros((lags, BINS, BINS))
        self._products = np.zeros((lags, BINS, TILES * TILES))
        self._total = 0.0

    def rescale(self, scale: float, offset: float) -> None:
        """Another range is swept from now on, in which v is scale * v + offset."""
        self._widest = max(scale * self._widest, 1.0)
        self._foci = deque((scale * focus + offset for focus in self._foci), self._foci.maxlen)
        self._rows = deque(
            (change, scale * before + offset, scale * after + offset) for change, before, after in self._rows
        )
        self._start()
        for row in self._rows:
            self._add(1, *row)

    @property
    def share(self) -> float:
        """The share that the lens states of the images themselves explain."""
        return float(self.shares[MAX_LAG])

    def push(self, image: torch.Tensor, focus: float, motion: Similarity) -> None:
        """Adds a frame. image: (1, 3, H, W) in 0..1; focus: v; motion: maps pixels of this image to those
        of the one before."""
        before = self._sharpness
        self._sharpness, texture = sharpness(image)
        self._textures.append(texture)
        self._foci.append(focus)
        if before is not None:
            self._changes.append(self._sharpness - _seen_through(before, motion, *image.shape[2:]))
        if len(self._foci) <= len(self.shares):
            return
        # The images of the oldest of these changes are in the middle of the foci: each lag has its two.
        foci = np.array(self._foci)
        self._rows.append((self._changes[0].ravel(), foci[:-1], foci[1:]))
        self._add(1, *self._rows[-1])
        if len(self._rows) > WINDOW:
            self._add(-1, *self._rows.popleft())
        self._count += 1
        if self._count % FIT_EVERY == 0:
            self._fit()

    def _add(self, sign: int, change: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
        """Adds (removes for a sign of -1) an equation of each lag: h[after] - h[before] = change."""
        before, after = self._bins(before), self._bins(after)
        lags = np.arange(len(before))
        self._normal[lags, before, before] += sign
        self._normal[lags, after, after] += sign
        self._normal[lags, before, after] -= sign
        self._normal[lags, after, before] -= sign
        self._products[lags, after] += sign * change
        self._products[lags, before] -= sign * change
        self._total += sign * float(change @ change)

    def _bins(self, foci: np.ndarray) -> np.ndarray:
        inside = foci.clip(*FOCUS_LIMITS)
        outer = np.rint((foci - inside) / self._widest * FOCUS_BINS).clip(-OUTER_BINS, OUTER_BINS)
        return (OUTER_BINS + np.rint((inside - FOCUS_LIMITS[0]) * FOCUS_BINS) + outer).astype(int)

    def _fit(self) -> None:
        used = np.flatnonzero(self._normal.diagonal(axis1=1, axis2=2).any(0))
        normal, products = self._normal[:, used[:, None], used], self._products[:, used]
        # The normal matrix has no inverse: h may be shifted by a constant.
        solved = np.linalg.solve(normal + 1e-6 * np.eye(len(used)), np.concatenate([products, normal], 2))
        explained = (products * solved[..., : TILES * TILES]).sum((1, 2))
        rank = np.rint(np.trace(solved[..., TILES * TILES :], axis1=1, axis2=2))
        left = len(self._rows) - rank
        textured = sum(self._textures) >= MIN_TEXTURE * len(self._textures)
        enough = (rank >= 1) & (left >= MIN_REPEATS) & textured
        noise = np.maximum(self._total - explained, 0) / np.maximum(left, 1)
        shares = (explained - rank * noise) / (self._total + noise + 1e-9)
        self.shares = np.where(enough, shares, math.nan)
        self.unrest = math.sqrt(noise[MAX_LAG] / TILES**2) if enough[MAX_LAG] else math.nan


def sharpness(image: torch.Tensor) -> tuple[np.ndarray, float]:
    """(TILES, TILES) log of the mean squared difference of neighbours, relative to that of pixels `REACH` apart:
    neither exposure nor contrast changes it. And how much texture there is, see `MIN_TEXTURE`.

    image: (1, 3, H, W) in 0..1, of which green is read."""
    green = image[0, 1]
    height, width = green.shape
    step = max(1, min(height, width) // SAMPLES)
    apart = max(1, round(REACH / step))  # samples
    here, right, below = (
        green[down : height - 1 + down : step, across : width - 1 + across : step].cpu().numpy()
        for down, across in ((0, 0), (0, 1), (1, 0))
    )
    shape = slice(None, -apart), slice(None, -apart)
    near = here[shape]
    if min(near.shape) < TILES:
        return np.zeros((TILES, TILES), np.float32), 0.0  # too small: as without texture, nothing is concluded
    fine = _tiles((right[shape] - near) ** 2 + (below[shape] - near) ** 2)
    coarse = _tiles((here[:-apart, apart:] - near) ** 2 + (here[apart:, :-apart] - near) ** 2)
    return np.log((fine + NOISE) / (coarse + NOISE)), float(np.sort((coarse - fine).ravel())[TEXTURED - 1])


def _tiles(map_: np.ndarray) -> np.ndarray:
    """(TILES, TILES) means."""
    rows, columns, counts = _bounds(*map_.shape)
    return np.add.reduceat(np.add.reduceat(map_, rows, 0), columns, 1) / counts


@functools.lru_cache(maxsize=8)
def _bounds(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first rows and columns of the tiles, and how many pixels each has."""
    rows, columns = (np.arange(TILES) * size // TILES for size in (height, width))
    return rows, columns, np.outer(np.diff(rows, append=height), np.diff(columns, append=width))


def _seen_through(tiles: np.ndarray, motion: Similarity, height: int, width: int) -> np.ndarray:
    """Tiles of an image as they lie in the next one; beyond its border they continue."""
    if motion.displacement(height, width) < MIN_MOTION * min(height, width) / TILES:
        return tiles
    x, y = (np.arange(TILES) + 0.5) * width / TILES - 0.5, (np.arange(TILES)[:, None] + 0.5) * height / TILES - 0.5
    (a, b, c), (d, e, f) = motion.matrix(height, width)
    columns = np.clip(((a * x + b * y + c) + 0.5) * TILES / width - 0.5, 0, TILES - 1)
    rows = np.clip(((d * x + e * y + f) + 0.5) * TILES / height - 0.5, 0, TILES - 1)
    left, top = np.minimum(columns.astype(int), TILES - 2), np.minimum(rows.astype(int), TILES - 2)
    right, down = columns - left, rows - top
    upper = tiles[top, left] * (1 - right) + tiles[top, left + 1] * right
    lower = tiles[top + 1, left] * (1 - right) + tiles[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
