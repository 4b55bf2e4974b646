"""How well each vergence explains the frames of a focal stack whose lens is known, without any truth.

If a place has a certain vergence, the frames that are focused there show it sharp, and the lens says how much every
other frame blurs it. The sharp image is blurred by that much again and compared with the frame; where the vergence is
wrong, they differ. This is done for evenly spaced hypotheses of the vergence, each for the whole image at once, as in
plane-sweep stereo (Collins, "A Space-Sweep Approach to True Multi-Image Matching", CVPR 1996): the depth counts as
constant within the blur, so that the misfit at a depth edge is that of either side.

That depth and an all-in-focus image have to give the frames back is the principle of Si et al., "Fully Self-Supervised
Depth Estimation from Defocus Clue" (CVPR 2023), whose networks predict both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.synthesis.defocus import BlurLevels

HYPOTHESES = torch.linspace(-0.04, 1.04, 28)
"""Of u, the vergence scaled to 0..1 over the swept range."""

_EXPONENT = 8.0  # of the PSF: between a Gaussian and a disc, as lenses are
_IN_FOCUS = 1.0  # px: frames are mixed into the sharp image by a Gaussian of their CoC
_LEAST_SHARE = 0.02  # of a frame in the sharp image
_STRUCTURE = 4  # radius (px) of what counts as structure
_NOISE = 0.01  # of contrast, on a scale from black to white
_MOST = 1.5  # misfit of a frame in units of the local contrast: what moves or is covered has no more say


def misfits(images: torch.Tensor, focus: torch.Tensor, blur: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The misfit of each hypothesis, and the image that is sharp everywhere.

    Args:
        images: (T, 3, H, W) sRGB in 0..1, in one view; focus: (T,) v; blur: (T,) CoC in px for a unit of u off the
            focus.

    Returns:
        (J, H, W) mean over the frames of the difference in structure, in units of the local contrast; (H, W) grey,
        by the hypotheses that fit best.
    """
    linear = srgb_decode(images.float()).mean(1)
    level = linear.mean((1, 2), keepdim=True)  # blur keeps it; exposure changes it
    linear = linear * (level.mean() / level.clamp_min(1e-6))
    frames = srgb_encode(linear.clamp(0, 1))
    structure = frames - _box(frames, _STRUCTURE)
    contrast = _box(structure.square(), 2).amax(0).sqrt() + _NOISE

    hypotheses = HYPOTHESES.to(focus.device)
    squared = (blur * (hypotheses[:, None] - focus)).square()  # (J, T) CoC^2
    shares = torch.softmax(-squared / (2 * _IN_FOCUS**2), 1)
    shares = torch.where(shares < _LEAST_SHARE, 0.0, shares)
    shares = shares / shares.sum(1, keepdim=True)
    largest = squared.max().sqrt().item()
    blurred = [BlurLevels(frame[None, None], _EXPONENT, largest) for frame in linear]
    fits, sharp = [], []
    for cocs, mixed in zip(squared.tolist(), shares.tolist()):
        used = [s for s, share in enumerate(mixed) if share]
        misfit = torch.zeros_like(contrast)
        for t, coc in enumerate(cocs):
            # A frame that is not quite in focus lacks only the rest of the blur: variances add up.
            again = sum(mixed[s] * blurred[s].at(max(coc - cocs[s], 0.0))[0] for s in used)
            difference = srgb_encode(again.clamp(0, 1))[0] - frames[t]
            difference = difference - _box(difference[None], _STRUCTURE)[0]
            misfit += (2 * difference.abs() / contrast).clamp_max(_MOST)
        fits.append(misfit / len(cocs))
        sharp.append(sum(mixed[s] * frames[s] for s in used))
    misfit = _box(torch.stack(fits), 1)
    best = _box(misfit, 2).argmin(0, keepdim=True)
    return misfit, torch.stack(sharp).gather(0, best)[0]


def _box(maps: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of the (2 radius + 1)^2 pixels around each of (N, H, W)."""
    padded = F.pad(maps[None], (radius,) * 4, mode='replicate')
    return F.avg_pool2d(padded, 2 * radius + 1, 1)[0]
