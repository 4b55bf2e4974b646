"""Spatially varying defocus blur with a power-exponential point spread function.

PSF(r) ~ exp(-(r / R)^n): a Gaussian for n = 2, nearly a disc for n = 32. For every n the second moment is that of a
uniform disc whose diameter is the circle of confusion, so "CoC" means the same for all.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect
from dataclasses import dataclass

import torch
import torch.nn.functional as F

# Kernels exist for these circles of confusion (px), in fine steps for small blur and coarse ones for large blur.
# Between two of them, and between no blur and the first, results are interpolated.
KERNEL_COCS = tuple(1.5 * (2 ** (i / 2) - 1) for i in range(2, 13))  # 1.5 to 94 px
# Kernels up to this CoC (px) work at full resolution, larger ones at 1/2, 1/4 or 1/8.
_MAX_KERNEL = 8.0


def psf_radius(coc: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    """R of the PSF whose second moment is that of a disc of diameter `coc`: <r^2> = R^2 G(4/n) / G(2/n)."""
    log_ratio = torch.lgamma(2 / exponent) - torch.lgamma(4 / exponent)
    return coc / 2 * torch.exp(0.5 * (log_ratio - math.log(2)))


def psf_kernel(coc: float, exponent: torch.Tensor, size: int, supersampling: int = 5) -> torch.Tensor:
    """Kernels (N, size, size) for exponents (N,) and one CoC (px), integrated over each pixel. They sum to one."""
    fine = size * supersampling
    x = (torch.arange(fine, device=exponent.device) + 0.5) / supersampling - size / 2
    r = torch.sqrt(x[:, None] ** 2 + x[None] ** 2)
    radius = psf_radius(torch.full_like(exponent, coc), exponent)
    density = torch.exp(-((r / radius[:, None, None]) ** exponent[:, None, None]))
    kernel = F.avg_pool2d(density[:, None], supersampling)[:, 0]
    return kernel / kernel.sum((1, 2), keepdim=True)


def second_moment(kernel: torch.Tensor) -> torch.Tensor:
    """CoC^2 (px^2) of kernels (N, size, size): that of a uniform disc with the same <r^2> = CoC^2 / 8."""
    size = kernel.shape[-1]
    x = torch.arange(size, device=kernel.device) - (size - 1) / 2
    return 8 * (kernel * (x[:, None] ** 2 + x**2)).sum((1, 2))


@dataclass
class _Blur:
    """Blurs N images by about one circle of confusion.

    Attributes:
        kernel: (N, size, size).
        factor: by which the resolution is reduced.
        squared: (N,) CoC^2 (px^2) by the second moment, resampling included.
    """

    kernel: torch.Tensor
    factor: int
    squared: torch.Tensor

    @staticmethod
    def of(coc: float, exponent: torch.Tensor, psf=psf_kernel) -> _Blur:
        """The blur for a PSF with this CoC (px) and exponents (N,)."""
        factor = 1
        while coc / factor > _MAX_KERNEL:
            factor *= 2
        # Averaging and linear upsampling also blur: together by a CoC of two large pixels.
        resampling = 4 if factor > 1 else 0
        low = math.sqrt((coc / factor) ** 2 - resampling)
        kernel = psf(low, exponent, 2 * math.ceil(0.72 * low) + 1)
        return _Blur(kernel, factor, factor**2 * (second_moment(kernel) + resampling))

    def __getitem__(self, rows) -> _Blur:
        return _Blur(self.kernel[rows], self.factor, self.squared[rows])

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W), blurred."""
        n, channels, height, width = x.shape
        factor, size = self.factor, self.kernel.shape[-1]
        if factor > 1:
            x = F.avg_pool2d(F.pad(x, (0, -width % factor, 0, -height % factor)), factor)
        kernel = self.kernel[:, None].expand(n, channels, size, size).reshape(n * channels, 1, size, size)
        # Channels last: otherwise kernels of 11 px and more took fifteen times as long on a CPU with AVX2.
        x = x.reshape(1, n * channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, kernel, padding=size // 2, groups=n * channels).contiguous()
        x = x.reshape(n, channels, *x.shape[2:])
        if factor > 1:
            x = F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=False)[..., :height, :width]
        return x


class BlurLevels:
    """Images blurred evenly by any circle of confusion up to a largest one: a mixture of two kernels.

    Beyond its border an image repeats its edge pixels.

    Args:
        images: (N, C, H, W), linear light.
        exponent: of the PSF.
        largest: CoC (px); larger ones are clipped to this, or to the largest kernel.
    """

    def __init__(self, images: torch.Tensor, exponent: float, largest: float):
        self._levels, self._squared = [images], [0.0]
        for coc in KERNEL_COCS:
            if self._squared[-1] >= largest**2:
                break
            blur = _Blur.of(coc, torch.full((1,), exponent, device=images.device))
            self._levels.append(_padded(blur, images))
            self._squared.append(blur.squared.item())

    def at(self, squared: float) -> torch.Tensor:
        """(N, C, H, W) for the square of a CoC (px^2)."""
        above = min(max(bisect(self._squared, squared), 1), len(self._squared) - 1)
        if above == 0:
            return self._levels[0]
        low, high = self._squared[above - 1 : above + 1]
        return torch.lerp(self._levels[above - 1], self._levels[above], min((squared - low) / (high - low), 1.0))


def _padded(blur: _Blur, images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[-2:]
    margin = blur.factor * (blur.kernel.shape[-1] // 2 + 2)
    rows = blur.kernel.expand(len(images), -1, -1)
    seen = _Blur(rows, blur.factor, blur.squared)(F.pad(images, (margin,) * 4, mode='replicate'))
    return seen[..., margin : margin + height, margin : margin + width]


def _new_kernels(exponents: torch.Tensor, psf=psf_kernel) -> list[_Blur]:
    return [_Blur.of(coc, exponents, psf) for coc in KERNEL_COCS]


@functools.lru_cache(maxsize=2)
def _kernels(exponents: tuple[float, ...]) -> list[_Blur]:
    return _new_kernels(torch.tensor(exponents))


def defocus(premultiplied: torch.Tensor, coc: torch.Tensor, exponent: torch.Tensor, psf=psf_kernel) -> torch.Tensor:
    """Scatter every point of one surface over its circle of confusion.

    The measured second moments of two kernels determine their mixture, so that the result has the second moment of the
    CoC, even for a CoC below one pixel.

    Args:
        premultiplied: (N, 4, H, W) linear RGB times alpha, and alpha.
        coc: (N, 1, H, W) circle of confusion diameter (px), sign ignored; clipped to the largest kernel (about
            94 px).
        exponent: (N,) exponent of the PSF, 2 (Gaussian) to 32 (disc).
        psf: makes kernels of another shape, called like `psf_kernel`.

    Returns:
        (N, 4, H, W), the same quantities as spread by the lens. Energy is conserved.
    """
    distinct, which = exponent.unique(return_inverse=True)
    # All surfaces of a scene have the same kernels. A GPU computes them sooner than it answers which they are.
    is_known = psf is psf_kernel and distinct.device.type == 'cpu'
    kernels = _kernels(tuple(distinct.tolist())) if is_known else _new_kernels(distinct, psf)
    blurs = [blur[which] for blur in kernels]
    steps = torch.stack([torch.zeros_like(exponent)] + [blur.squared for blur in blurs])  # (levels, N), rising
    squared = torch.minimum(coc**2, steps[-1, :, None, None, None])
    visible = premultiplied[:, 3:] > 0
    low = torch.where(visible, squared, math.inf).amin((1, 2, 3))
    high = torch.where(visible, squared, -math.inf).amax((1, 2, 3))

    result = torch.zeros_like(premultiplied)
    for level, here in enumerate(steps):
        below, above = steps[max(level - 1, 0)], steps[min(level + 1, len(steps) - 1)]
        rows = ((high > below) & (low < above) | (low == here)).nonzero()[:, 0]
        if not len(rows):
            continue
        share = _share(squared[rows], *(x[rows, None, None, None] for x in (below, here, above)))
        part = premultiplied[rows] * share
        if level > 0:
            part = blurs[level - 1][rows](part)
        if len(rows) == len(result):
            result += part
        else:
            result.index_add_(0, rows, part)
    return result


def _share(x: torch.Tensor, below: torch.Tensor, here: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """1 where x is `here`, falling linearly to 0 at `below` and `above`. At the ends, one of these equals `here`."""
    rising = torch.where(here > below, (x - below) / (here - below), 1)
    falling = torch.where(above > here, (above - x) / (above - here), 1)
    return torch.minimum(rising, falling).clamp_min(0)
