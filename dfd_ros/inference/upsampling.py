"""Edge-aware upsampling of maps that a network predicts at reduced resolution.

After He and Sun, "Fast Guided Filter", arXiv:1505.00996: around each pixel, a map is approximated by a linear function
of the guide, here the grey image. Upsampling this function puts edges of the map at edges of the image. Unlike in the
paper, a window determines only the slope and not the offset, which preserves thin things that the network found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

STRIP = 1 << 17
"""Pixels of large images that are computed at a time: they stay in the caches."""


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows of an image of this size, `STRIP` pixels at a time."""
    count = max(1, STRIP // width)
    for first in range(0, height, count):
        yield slice(first, min(first + count, height))


class Upsampling:
    """Maps of one image at its size, one at a time: each takes 4 ms per megapixel, and those of 12 megapixels 48 MB."""

    def __init__(self, maps: torch.Tensor, small: np.ndarray, guide: np.ndarray, noise: float = 0.03) -> None:
        """
        Args:
            maps: (C, h, w) float32, on the CPU.
            small: (h, w) uint8, `guide` reduced to their size by area averaging.
            guide: (H, W) uint8, the grey image, not smaller.
            noise: contrast of the guide (standard deviation, 0..1) that does not count as an edge.
        """
        self._maps, self._guide = maps, torch.from_numpy(guide)
        self._small = small.astype(np.float32) / 255
        self._mean = _mean3x3(self._small)
        self._per_variance = 1 / (_mean3x3(self._small * self._small) - self._mean * self._mean + noise * noise)

    def __call__(self, channel: int, gain: float = 1.0, bias: float = 0.0) -> torch.Tensor:
        """(H, W) float32: `gain` x + `bias` of one map x, within its range. NaN where the map is NaN, and in the cells
        around."""
        height, width = self._guide.shape
        map_ = self._maps[channel] * gain + bias
        unknown = map_.isnan()
        cells = around(unknown) if unknown.any() else None
        if cells is not None:  # unknown values must not spread
            map_ = torch.where(unknown, map_.nanmean().nan_to_num(), map_)
        low, high = (float(limit) for limit in torch.aminmax(map_))
        wide = torch.from_numpy(_widened(self._linear(map_.numpy()), width))
        slope, offset = wide.chunk(2)
        result = torch.from_numpy(np.empty((height, width), np.float32))  # in huge pages, unlike torch's own
        for rows in strips(height, width):
            above, weights = _interpolation(rows, height, len(slope))
            strip = torch.mm(weights, offset[above], out=result[rows])
            strip.addcmul_(weights @ slope[above], self._guide[rows].float()).clamp_(low, high)
            if cells is not None:
                strip.masked_fill_(nearest(cells, rows, height, width), math.nan)
        return result

    def _linear(self, map_: np.ndarray) -> np.ndarray:
        """(2 h, w): slope, for a guide in 0..255, and below it the offset of the linear function around each pixel."""
        slope = (_mean3x3(map_ * self._small) - _mean3x3(map_) * self._mean) * self._per_variance
        return np.concatenate([slope * np.float32(1 / 255), map_ - slope * self._small])


def _mean3x3(x: np.ndarray) -> np.ndarray:
    import cv2  # a machine that only trains may be without

    return cv2.blur(x, (3, 3), borderType=cv2.BORDER_REPLICATE)


def _widened(maps: np.ndarray, width: int) -> np.ndarray:
    """Bilinearly. OpenCV: torch takes five times as long."""
    import cv2

    return cv2.resize(maps, (width, len(maps)), interpolation=cv2.INTER_LINEAR)


def _interpolation(rows: slice, height: int, count: int) -> tuple[slice, torch.Tensor]:
    """The rows of `count` that these of `height` lie between, and their weights (R, rows of `count`)."""
    row = torch.arange(rows.start, rows.stop)
    at = ((row + 0.5) * (count / height) - 0.5).clamp_(0, count - 1)
    used = slice(int(at[0]), min(int(at[-1]) + 2, count))
    between = torch.arange(used.start, used.stop)
    return used, (1 - (at[:, None] - between).abs()).clamp_(min=0)


def around(cells: torch.Tensor) -> torch.Tensor:
    """`cells` (h, w) bool, and their neighbours."""
    return F.max_pool2d(cells[None].float(), 3, 1, 1)[0] > 0


def nearest(cells: torch.Tensor, rows: slice, height: int, width: int) -> torch.Tensor:
    """(R, width) bool: `cells` (h, w) in these rows of an image of that size."""
    row = torch.arange(rows.start, rows.stop) * cells.shape[0] // height
    return F.interpolate(cells[row][None].float(), width)[0] > 0
