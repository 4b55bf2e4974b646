"""Edge-aware upsampling of maps that a network predicts at reduced resolution.

After He and Sun, "Fast Guided Filter", arXiv:1505.00996: around each pixel, a map is approximated by a linear function
of the guide, here the grey image. Upsampling this function puts edges of the map at edges of the image. Unlike in the
paper, a window determines only the slope and not the offset, which preserves thin things that the network found.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def _mean3x3(x: torch.Tensor) -> torch.Tensor:
    x = F.pad(x, (1, 1, 1, 1), mode='replicate')
    rows = (x[..., :-2] + x[..., 1:-1]).add_(x[..., 2:])
    return (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :]).mul_(1 / 9)


class Upsampling:
    """Maps at a larger size, some rows at a time: those of 12 megapixels as a whole leave the caches at each step."""

    def __init__(self, maps: torch.Tensor, small: torch.Tensor, height: int, noise: float = 0.03) -> None:
        """
        Args:
            maps: (B, C, h, w).
            small: (B, 1, h, w), the guide (0..1) reduced to their size by area averaging.
            height: of the result, at least h.
            noise: contrast of the guide (standard deviation, 0..1) that does not count as an edge.
        """
        self._ratio = maps.shape[2] / height
        self._unknown: torch.Tensor | None = None
        unknown = maps.isnan()
        if unknown.device.type != 'cpu' or unknown.any():  # a GPU would have to be waited for
            mean = maps.nanmean((2, 3), keepdim=True)  # so that unknown values do not spread
            maps = torch.where(unknown, mean.nan_to_num(), maps)
            self._unknown = F.max_pool2d(unknown.float(), 3, 1, 1)
        channels = maps.shape[1]
        means = _mean3x3(torch.cat([maps, maps * small, small, small * small], 1))
        mean, mean_product, mean_guide, mean_square = means.split([channels, channels, 1, 1], 1)
        per_variance = 1 / (mean_square - mean_guide * mean_guide + noise * noise)
        slope = torch.addcmul(mean_product, mean, mean_guide, value=-1) * per_variance
        self._linear = torch.cat([slope, torch.addcmul(maps, slope, small, value=-1)], 1)
        low, high = torch.aminmax(maps.flatten(2), dim=2)
        self._low, self._high = low[..., None, None], high[..., None, None]

    def rows(self, guide: torch.Tensor, first: int = 0) -> torch.Tensor:
        """(B, C, R, W), the rows from `first` on, within the range of each map. NaN where a map is NaN, and in the
        cells around. guide: (B, 1, R, W) in 0..1, the same rows of it, W >= w."""
        count, width = guide.shape[-2:]
        height = self._linear.shape[2]
        row = torch.arange(first, first + count, device=guide.device)
        at = ((row + 0.5) * self._ratio - 0.5).clamp_(0, height - 1)
        above = at.long()
        below = (above + 1).clamp_(max=height - 1)
        part = (at - above)[:, None]
        linear = torch.lerp(self._linear[:, :, above], self._linear[:, :, below], part)
        linear = F.interpolate(linear.flatten(1, 2), size=width, mode='linear').unflatten(1, (-1, count))
        slope, offset = linear.chunk(2, 1)
        result = torch.addcmul(offset, slope, guide).clamp_(self._low, self._high)
        if self._unknown is None:
            return result
        nearest = (row * self._ratio).long().clamp_(max=height - 1)
        unknown = F.interpolate(self._unknown[:, :, nearest], size=(count, width))
        return torch.where(unknown > 0, math.nan, result)


def upsample(maps: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """`maps` (B, C, h, w) at the size of `guide` (B, 1, H, W), at once."""
    if maps.shape[-2:] == guide.shape[-2:]:
        return maps
    small = F.interpolate(guide, size=maps.shape[-2:], mode='area')
    return Upsampling(maps, small, guide.shape[2]).rows(guide)
