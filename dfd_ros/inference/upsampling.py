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


def upsample(maps: torch.Tensor, guide: torch.Tensor, noise: float = 0.03) -> torch.Tensor:
    """Upsample `maps` to the size of `guide`, with edges where the guide has them.

    Args:
        maps: (B, C, h, w).
        guide: (B, 1, H, W) in 0..1, H >= h and W >= w.
        noise: contrast of the guide (standard deviation, 0..1) that does not count as an edge.

    Returns:
        (B, C, H, W), within the range of each map. NaN where a map is NaN, and in the cells around.
    """
    if maps.shape[-2:] == guide.shape[-2:]:
        return maps
    unknown = maps.isnan()
    if unknown.any():  # a mean, so that unknown values do not spread
        mean = maps.nanmean((2, 3), keepdim=True)
        result = upsample(torch.where(unknown, mean.nan_to_num(), maps), guide, noise)
        unknown = F.max_pool2d(unknown.float(), 3, 1, 1)
        return torch.where(F.interpolate(unknown, size=guide.shape[-2:]) > 0, math.nan, result)
    channels = maps.shape[1]
    small = F.interpolate(guide, size=maps.shape[-2:], mode='area')
    means = _mean3x3(torch.cat([maps, maps * small, small, small * small], 1))
    mean, mean_product, mean_guide, mean_square = means.split([channels, channels, 1, 1], 1)
    per_variance = 1 / (mean_square - mean_guide * mean_guide + noise * noise)
    slope = torch.addcmul(mean_product, mean, mean_guide, value=-1) * per_variance
    linear = torch.cat([slope, torch.addcmul(maps, slope, small, value=-1)], 1)
    linear = F.interpolate(linear, size=guide.shape[-2:], mode='bilinear')
    result = torch.addcmul(linear[:, channels:], linear[:, :channels], guide)
    low, high = torch.aminmax(maps.flatten(2), dim=2)
    return result.clamp_(low[..., None, None], high[..., None, None])
