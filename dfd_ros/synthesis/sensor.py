"""From linear light to the image that a camera delivers: exposure, noise, sharpening."""

from __future__ import annotations

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
