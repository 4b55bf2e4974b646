"""Spatially varying defocus blur with a power-exponential point spread function.

PSF(r) ~ exp(-(r / R)^n): a Gaussian for n = 2, all but a disc for n = 32. Whatever n, the second moment is
that of the uniform disc with the circle of confusion as its diameter, so that "CoC" means the same for all.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

# Kernels exist for the circles of confusion LEVEL_SCALE (2^(i/2) - 1) px, i = 0, 1, ...: fine steps where the
# blur is small, coarse ones where it is large. Between two of them the result is interpolated.
LEVEL_SCALE = 1.5
LARGEST_LEVEL = 12  # 94 px
# Up to this many pixels a kernel works at full resolution, beyond it at 1/2, 1/4, 1/8.
_LARGEST_KERNEL = 8.0


def _level_coc(level: int) -> float:
    return LEVEL_SCALE * (2 ** (level / 2) - 1)


def psf_radius(coc: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """R of the PSF whose second moment is that of a disc of diameter `coc`: <r^2> = R^2 G(4/n) / G(2/n)."""
    log_ratio = torch.lgamma(2 / exponent) - torch.lgamma(4 / exponent)
    return coc / 2 * torch.exp(0.5 * (log_ratio - math.log(2)))


def psf_kernel(coc: float, exponent: torch.Tensor, size: int, supersampling: int = 5) -> torch.Tensor:
    """Kernels (N, size, size) that sum to one, integrated over each pixel, for exponents (N,) and one CoC (px)."""
    fine = size * supersampling
    x = (torch.arange(fine, device=exponent.device) + 0.5) / supersampling - size / 2
    r = torch.sqrt(x[:, None] ** 2 + x[None] ** 2)
    radius = psf_radius(torch.full_like(exponent, coc), exponent)
    density = torch.exp(-(r / radius[:, None, None]) ** exponent[:, None, None])
    kernel = F.avg_pool2d(density[:, None], supersampling)[:, 0]
    return kernel / kernel.sum((1, 2), keepdim=True)


def _blur(x: torch.Tensor, coc: float, exponent: torch.Tensor) -> torch.Tensor:
    """Blur (N, C, H, W) by one CoC (px) with an exponent (N,) each."""
    n, channels, height, width = x.shape
    factor = 1
    while coc / factor > _LARGEST_KERNEL:
        factor *= 2
    if factor > 1:
        pad = (-width % factor, -height % factor)
        x = F.avg_pool2d(F.pad(x, (0, pad[0], 0, pad[1])), factor)
        # Averaging and linear upsampling blur as well: their variance is taken off the kernel's.
        coc_low = math.sqrt((coc / factor) ** 2 - 4)
    else:
        coc_low = coc
    size = 2 * math.ceil(0.72 * coc_low) + 1
    kernel = psf_kernel(coc_low, exponent, size)
    kernel = kernel[:, None].expand(n, channels, size, size).reshape(n * channels, 1, size, size)
    x = F.conv2d(x.reshape(1, n * channels, *x.shape[2:]), kernel, padding=size // 2, groups=n * channels)
    x = x.reshape(n, channels, *x.shape[2:])
    if factor > 1:
        x = F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)[..., :height, :width]
    return x


def defocus(premultiplied: torch.Tensor, coc: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """Scatter every point of one surface over its circle of confusion.

    Args:
        premultiplied: (N, 4, H, W) linear RGB times alpha, and alpha.
        coc: (N, 1, H, W) circle of confusion diameter (px), sign ignored; beyond 94 px it is taken as 94.
        exponent: (N,) exponent of the PSF, 2 (Gaussian) to 32 (disc).

    Returns:
        (N, 4, H, W), the same quantities as the lens spreads them. Energy is kept.
    """
    # Fractional index of each pixel's CoC among the levels.
    index = (2 * torch.log2(1 + coc.abs() / LEVEL_SCALE)).clamp_max(LARGEST_LEVEL)
    visible = premultiplied[:, 3:] > 0
    first = torch.where(visible, index, math.inf).amin((1, 2, 3)).floor().tolist()
    last = torch.where(visible, index, -1.0).amax((1, 2, 3)).ceil().tolist()

    result = torch.zeros_like(premultiplied)
    for level in range(LARGEST_LEVEL + 1):
        chosen = [i for i in range(len(first)) if first[i] <= level <= last[i]]
        if not chosen:
            continue
        everything = len(chosen) == len(first)
        rows = slice(None) if everything else torch.tensor(chosen, device=coc.device)
        share = (1 - (index[rows] - level).abs()).clamp_min(0)
        part = premultiplied[rows] * share
        if level > 0:
            part = _blur(part, _level_coc(level), exponent[rows])
        if everything:
            result += part
        else:
            result.index_add_(0, rows, part)
    return result
