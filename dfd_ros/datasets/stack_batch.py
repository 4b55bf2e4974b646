"""Samples as what training reads."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.sample import Sample
from dfd_ros.synthesis.procedural import StackBatch


def to_stack_batch(sample: Sample) -> StackBatch:
    """A sample as a `StackBatch` (B = 1) to train on, over the range that the focus sweeps. Where the truth is NaN, and
    where the blur is because the lens is not known, a pixel does not count.

    Frames of several magnifications are brought to the scale of the largest, truth and all, as the estimator
    brings its state: so that none has a border with nothing in it.

    Raises:
        InputError: every frame has the same focus.
    """
    range_, first = sample.to_focal_stack().range, sample.lens_states[0]

    def row(values: Iterable[float]) -> torch.Tensor:
        return torch.tensor([list(values)], dtype=torch.float32)

    blur_scale = first.lens.blur_scale(range_)
    vergence = torch.from_numpy(range_.normalise(sample.depth.astype(np.float64))).float()
    foreground = torch.from_numpy(np.isfinite(sample.depth) if sample.background is None else ~sample.background)
    images = torch.from_numpy(sample.images).permute(0, 3, 1, 2).contiguous()
    growth = torch.tensor([1.0 if math.isnan(state.magnification) else state.magnification
                           for state in sample.lens_states])
    zoom = growth.max() / growth
    if (zoom != 1).any():
        grid = F.affine_grid(torch.eye(2, 3) / zoom[:, None, None], images.shape, align_corners=False)

        def zoomed(maps: torch.Tensor, mode: str = 'nearest') -> torch.Tensor:
            return F.grid_sample(maps.float(), grid, mode, padding_mode='border', align_corners=False)
        images = zoomed(images, 'bilinear').round().to(torch.uint8)
        vergence, foreground = zoomed(vergence[:, None])[:, 0], zoomed(foreground[:, None])[:, 0] > 0.5
    return StackBatch(
        images=images[None],
        focus=row(range_.normalise(state.focus_distance) for state in sample.lens_states),
        blur_scale=torch.tensor([blur_scale], dtype=torch.float32),
        vergence=vergence[None, :, None],
        blur=zoom * row(state.lens.blur_scale(range_) / (1 - state.focal_length / state.focus_distance)
                        for state in sample.lens_states),
        foreground=foreground[None, :, None],
        near=torch.tensor([range_.near], dtype=torch.float32), far=torch.tensor([range_.far], dtype=torch.float32),
        focal_length=torch.tensor([first.focal_length], dtype=torch.float32),
        f_number=torch.tensor([first.f_number], dtype=torch.float32),
        pixel_pitch=torch.tensor([first.pixel_pitch], dtype=torch.float32),
        magnification=(growth * zoom)[None])
