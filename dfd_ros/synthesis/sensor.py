"""From linear light to the image that a camera delivers: exposure, noise, sharpening, JPEG."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def expose(linear: torch.Tensor, gain: torch.Tensor, shot: float, read: float, noise: torch.Tensor) -> torch.Tensor:
    """Add photon and read noise to linear images (T, 3, H, W), and clip as a sensor does.

    The variance is shot * signal + read^2, where white is a signal of 1. `gain` (T,) is the exposure; `noise` is
    standard normal and has the shape of the images.
    """
    signal = linear * gain[:, None, None, None]
    return (signal + noise * torch.sqrt(shot * signal.clamp(0, 1) + read**2)).clamp(0, 1)


def sharpen(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Apply an unsharp mask, as phones do."""
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode='replicate'), 3, 1)
    return (image + amount * (image - blurred)).clamp(0, 1)


# Annex K of ITU-T T.81 (JPEG), quality 50.
_LUMINANCE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
_CHROMINANCE = torch.full((8, 8), 99.0)
_CHROMINANCE[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.float32
)
_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_DCT = torch.tensor(
    [[math.cos(math.pi * (2 * n + 1) * k / 16) * (0.5 if k else math.sqrt(0.125)) for n in range(8)] for k in range(8)]
)


def jpeg(image: torch.Tensor, quality: float) -> torch.Tensor:
    """Images (T, 3, H, W) in 0..1 after JPEG compression (T.81 with 4:4:4 sampling)."""
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    tables = torch.stack([_LUMINANCE, _CHROMINANCE, _CHROMINANCE]).to(image.device)
    tables = (tables * scale).round().clamp(1, 255)[:, None, None]
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode='replicate') * 255 - 128
    ycc = torch.einsum('ij,tjhw->tihw', _YCBCR.to(image.device), padded)
    t, c, h, w = ycc.shape
    blocks = ycc.reshape(t, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    dct = _DCT.to(image.device)
    blocks = (dct @ blocks @ dct.T / tables).round() * tables
    ycc = (dct.T @ blocks @ dct).permute(0, 1, 2, 4, 3, 5).reshape(t, c, h, w)
    rgb = torch.einsum('ij,tjhw->tihw', torch.linalg.inv(_YCBCR).to(image.device), ycc)
    return ((rgb + 128) / 255).clamp(0, 1)[..., :height, :width]
