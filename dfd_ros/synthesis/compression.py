"""Lossy compression of images: JPEG, and video, which codes the differences of frames."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

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


def _coded(planes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Planes (T, C, H, W), -128..127, after quantisation in blocks of 8x8 by a table (8, 8), or one for each plane."""
    height, width = planes.shape[-2:]
    planes = F.pad(planes, (0, -width % 8, 0, -height % 8), mode='replicate')
    t, c, h, w = planes.shape
    blocks = planes.reshape(t, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    dct = _DCT.to(planes.device)
    blocks = (dct @ blocks @ dct.T / table).round() * table
    return (dct.T @ blocks @ dct).permute(0, 1, 2, 4, 3, 5).reshape(t, c, h, w)[..., :height, :width]


def _coded_420(ycc: torch.Tensor, luminance: torch.Tensor, chrominance: torch.Tensor) -> torch.Tensor:
    """As `_coded`, with the two colour planes at half the resolution."""
    height, width = ycc.shape[-2:]
    colour = F.avg_pool2d(F.pad(ycc[:, 1:], (0, width % 2, 0, height % 2), mode='replicate'), 2)
    colour = F.interpolate(_coded(colour, chrominance), scale_factor=2, mode='bilinear', align_corners=False)
    return torch.cat([_coded(ycc[:, :1], luminance), colour[..., :height, :width]], 1)


def _to_ycc(image: torch.Tensor) -> torch.Tensor:
    return torch.einsum('ij,tjhw->tihw', _YCBCR.to(image.device), image * 255 - 128)


def _to_rgb(ycc: torch.Tensor) -> torch.Tensor:
    return ((torch.einsum('ij,tjhw->tihw', torch.linalg.inv(_YCBCR).to(ycc.device), ycc) + 128) / 255).clamp(0, 1)


def _tables(quality: float, device: torch.device) -> list[torch.Tensor]:
    """The tables of luminance and chrominance for a JPEG quality of 1 to 100."""
    scale = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    return [(table.to(device) * scale).round().clamp(1, 255) for table in (_LUMINANCE, _CHROMINANCE)]


def jpeg(image: torch.Tensor, quality: float) -> torch.Tensor:
    """Images (T, 3, H, W) in 0..1 after JPEG compression (T.81 with 4:4:4 sampling)."""
    luminance, chrominance = _tables(quality, image.device)
    return _to_rgb(_coded(_to_ycc(image), torch.stack([luminance, chrominance, chrominance])[:, None, None]))


def jpeg_420(image: torch.Tensor, quality: float) -> torch.Tensor:
    """Images (T, 3, H, W) in 0..1 after JPEG compression with colour at half the resolution."""
    return _to_rgb(_coded_420(_to_ycc(image), *_tables(quality, image.device)))


def video(image: torch.Tensor, step: float) -> torch.Tensor:
    """Consecutive frames (T, 3, H, W) after video compression, which codes the difference of each frame to the previous
    decoded one: small changes get lost or arrive late.

    Args:
        step: quantisation step, out of 255.
    """
    rise = torch.arange(8, device=image.device)
    table = step * (1 + (rise[:, None] + rise) / 7)
    ycc = _to_ycc(image)
    shown = [_coded_420(ycc[:1], table / 1.5, table)]
    for t in range(1, len(ycc)):
        shown.append(shown[-1] + _coded_420(ycc[t : t + 1] - shown[-1], table, table))
    return _to_rgb(torch.cat(shown))
