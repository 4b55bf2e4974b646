"""Sharpness of each pixel at each focus, the cue of classical depth from focus.

The state consists of two lists of maps and does not grow with the number of frames: the latest sharpness for each of
`BINS` bins of focus, and the exact focus of the latest frame in each bin. Order and spacing of the focus and the number
of frames are therefore arbitrary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

BINS = 32
STRIDE = 16  # of the focus table; images are padded to multiples of it
_ENERGY_FLOOR = 2e-6  # below the resolution of 8-bit images
_GREY = 0.4  # mean to which images are scaled
_MAX_GAIN = 4.0


def pad(image: torch.Tensor) -> torch.Tensor:
    """Pad an image to multiples of `STRIDE` by repeating its last row and column."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode='replicate')


def half_size_grey(image: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) to grey (B, 1, H/2, W/2), with the same mean for every exposure."""
    grey = F.avg_pool2d(image.mean(1, keepdim=True), 2)
    return grey * (_GREY / grey.mean((1, 2, 3), keepdim=True)).clamp_max(_MAX_GAIN)


def sharpness(grey: torch.Tensor) -> torch.Tensor:
    """Log energy of the modified Laplacian, >= 0, same shape as `grey` (B, 1, h, w).

    The modified Laplacian of Nayar and Nakagawa, "Shape from Focus" (PAMI 1994), is |I_xx| + |I_yy|. It is computed
    with steps of 1 and of 2, which responds to wider blur. Its square is averaged over a window (5x5 twice), and the
    logs of both are added: neither dominates, energy below the noise adds nothing, and the peak over focus is nearly a
    parabola.
    """
    fine, wide = (
        torch.log1p(_window(_modified_laplacian(grey, step).square()) / (9 * _ENERGY_FLOOR)) for step in (1, 2)
    )
    return fine + wide


def _modified_laplacian(x: torch.Tensor, step: int) -> torch.Tensor:
    height, width = x.shape[-2:]
    wide = F.pad(x, (step,) * 4, mode='replicate')
    rows, columns = wide[..., step : step + height, :], wide[..., step : step + width]
    return (2 * x - rows[..., :width] - rows[..., 2 * step :]).abs() + (
        2 * x - columns[..., :height, :] - columns[..., 2 * step :, :]
    ).abs()


def _window(x: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode='replicate'), 5, 1)
    return x


class Peak(NamedTuple):
    """The best focus of each pixel, all (B, 1, h, w).

    Attributes:
        focus: v of the sharpest frame.
        vergence: u, interpolated between frames.
        contrast: height of the peak: log energy above the mean of all frames.
        gap: in focus, between the neighbouring frames of the peak, or the end of the range if there is no neighbour.
    """

    focus: torch.Tensor
    vergence: torch.Tensor
    contrast: torch.Tensor
    gap: torch.Tensor


class FocusVolume:
    """The latest sharpness of each pixel for each bin of focus.

    Attributes:
        volume: (B, BINS, H/2, W/2), 1 + sharpness; below 1 = not seen at this focus.
        table: (B, 2 BINS, H/16, W/16): for each bin whether it was seen, and seen times v. It is constant over the
            image, and a map only so that it can be warped like all state.
    """

    def __init__(self, volume: torch.Tensor, table: torch.Tensor):
        self.volume, self.table = volume, table

    @staticmethod
    def empty(batch: int, height: int, width: int, device='cpu') -> FocusVolume:
        """An empty volume for images of (height, width), multiples of `STRIDE`."""
        return FocusVolume(
            torch.zeros(batch, BINS, height // 2, width // 2, device=device),
            torch.zeros(batch, 2 * BINS, height // STRIDE, width // STRIDE, device=device),
        )

    def add(self, sharp: torch.Tensor, focus: torch.Tensor, leak: float) -> FocusVolume:
        """Add a frame.

        Args:
            sharp: (B, 1, H/2, W/2); focus: (B,), v.
            leak: decrease of all other bins, so that old sharpness is gradually forgotten.
        """
        bins = (focus.clamp(0, 1) * (BINS - 1)).round().long()[:, None, None, None]
        volume = torch.where(self.volume > 1, (self.volume - leak).clamp_min(1), self.volume)
        volume = volume.scatter(1, bins.expand_as(sharp), 1 + sharp)
        seen = torch.ones_like(self.table[:, :1])
        table = self.table.scatter(1, bins.expand_as(seen), seen)
        table = table.scatter(1, BINS + bins.expand_as(seen), focus[:, None, None, None] * seen)
        return FocusVolume(volume, table)

    def focus(self) -> tuple[torch.Tensor, torch.Tensor]:
        """v of each bin (B, BINS), 0 if not seen; whether it was seen, (B, BINS) bool."""
        seen, weighted = self.table.sum((2, 3)).chunk(2, 1)
        return weighted / seen.clamp_min(1e-12), seen > 1e-6

    def peak(self) -> Peak:
        """The best focus: the vertex of the parabola of log energy through the peak and its neighbours in focus.

        In log energy the parabola is the Gaussian of Nayar and Nakagawa (1994). The vertex is limited to half the
        distance to either neighbour; a peak with only one neighbour is not interpolated.
        """
        v, seen = self.focus()
        best, index = self.volume.max(1, keepdim=True)
        before, behind = _neighbours(seen)

        def at(table):
            return table.gather(1, index.flatten(1)).view_as(index)

        def value(where):
            return self.volume.gather(1, where.clamp(0, BINS - 1))

        i0, i2 = at(before), at(behind)
        s0, s2 = value(i0), value(i2)
        has0, has2 = (i0 >= 0) & (s0 >= 1), (i2 < BINS) & (s2 >= 1)
        v1 = at(v)
        v0 = torch.where(has0, v.gather(1, i0.clamp_min(0).flatten(1)).view_as(v1), v1.clamp_max(0))
        v2 = torch.where(has2, v.gather(1, i2.clamp_max(BINS - 1).flatten(1)).view_as(v1), v1.clamp_min(1))
        left, right = v1 - v0, v2 - v1
        fall0, fall2 = best - s0, best - s2
        curved = left * fall2 + right * fall0
        step = 0.5 * (right * right * fall0 - left * left * fall2) / curved.clamp_min(1e-9)
        step = torch.where(has0 & has2 & (curved > 1e-6), step, 0.0)
        u = v1 + torch.maximum(torch.minimum(step, right / 2), -left / 2)
        known = self.volume >= 1
        mean = (self.volume * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
        return Peak(v1, u, (best - mean).clamp_min(0), v2 - v0)


def _neighbours(seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each bin the nearest seen bin before it (-1 = none) and after it (`BINS` = none), (B, BINS) each."""
    order = torch.arange(BINS, device=seen.device).expand_as(seen)
    before = torch.where(seen, order, -1).cummax(1).values
    behind = torch.where(seen, order, BINS).flip(1).cummin(1).values.flip(1)
    return F.pad(before[:, :-1], (1, 0), value=-1), F.pad(behind[:, 1:], (0, 1), value=BINS)
