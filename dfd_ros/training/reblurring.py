"""How well each vergence explains the frames of a focal stack with a known lens, without ground truth.

For a hypothesis of the vergence, the frames focused there are sharp, and the lens determines the blur of every other
frame. The sharp image is blurred accordingly and compared with each frame; they differ where the hypothesis is wrong.
Each of the evenly spaced hypotheses is tested for all pixels at once, as in plane-sweep stereo (Collins, "A Space-Sweep
Approach to True Multi-Image Matching", CVPR 1996). Depth is assumed constant within the blur, so the misfit at a depth
edge mixes both sides.

Reconstructing the frames from depth and an all-in-focus image is the principle of Si et al., "Fully Self-Supervised
Depth Estimation from Defocus Clue" (CVPR 2023), whose networks predict both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.synthesis.defocus import BlurLevels

HYPOTHESES = torch.linspace(-0.04, 1.04, 28)
"""Of u, the vergence scaled to 0..1 over the swept range."""

_EXPONENT = 8.0  # of the PSF: between a Gaussian and a disc, like real lenses
_IN_FOCUS = 1.0  # px; a Gaussian of the CoC weights the frames in the sharp image
_MIN_SHARE = 0.02  # minimum weight of a frame in the sharp image
_STRUCTURE = 4  # px; structure is the difference to the mean within this radius
_NOISE = 0.01  # of contrast, where 1 is from black to white
_MAX_MISFIT = 1.5  # maximum misfit of a frame, in units of local contrast: limits outliers by motion and occlusion


def misfits(images: torch.Tensor, focus: torch.Tensor, blur: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The misfit of each hypothesis, and the all-in-focus image.

    Args:
        images: (T, 3, H, W) sRGB in 0..1, registered; focus: (T,) v; blur: (T,) CoC in px per unit of u off the focus.

    Returns:
        (J, H, W) mean difference in structure over the frames, in units of local contrast; (H, W) grey all-in-focus
        image, from the best hypotheses.
    """
    linear = srgb_decode(images.float()).mean(1)
    level = linear.mean((1, 2), keepdim=True)  # changes with exposure but not with blur
    linear = linear * (level.mean() / level.clamp_min(1e-6))
    frames = srgb_encode(linear.clamp(0, 1))
    structure = frames - _box(frames, _STRUCTURE)
    contrast = _box(structure.square(), 2).amax(0).sqrt() + _NOISE

    hypotheses = HYPOTHESES.to(focus.device)
    squared = (blur * (hypotheses[:, None] - focus)).square()  # (J, T) CoC^2
    shares = torch.softmax(-squared / (2 * _IN_FOCUS**2), 1)
    shares = torch.where(shares < _MIN_SHARE, 0.0, shares)
    shares = shares / shares.sum(1, keepdim=True)
    largest = squared.max().sqrt().item()
    blurred = [BlurLevels(frame[None, None], _EXPONENT, largest) for frame in linear]
    fits, sharp = [], []
    for cocs, mixed in zip(squared.tolist(), shares.tolist()):
        used = [s for s, share in enumerate(mixed) if share]
        misfit = torch.zeros_like(contrast)
        for t, coc in enumerate(cocs):
            # A slightly blurred frame needs only the remaining blur: variances add up.
            again = sum(mixed[s] * blurred[s].at(max(coc - cocs[s], 0.0))[0] for s in used)
            difference = srgb_encode(again.clamp(0, 1))[0] - frames[t]
            difference = difference - _box(difference[None], _STRUCTURE)[0]
            misfit += (2 * difference.abs() / contrast).clamp_max(_MAX_MISFIT)
        fits.append(misfit / len(cocs))
        sharp.append(sum(mixed[s] * frames[s] for s in used))
    misfit = _box(torch.stack(fits), 1)
    best = _box(misfit, 2).argmin(0, keepdim=True)
    return misfit, torch.stack(sharp).gather(0, best)[0]


def _box(maps: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of the (2 radius + 1)^2 pixels around each of (N, H, W)."""
    padded = F.pad(maps[None], (radius,) * 4, mode='replicate')
    return F.avg_pool2d(padded, 2 * radius + 1, 1)[0]
