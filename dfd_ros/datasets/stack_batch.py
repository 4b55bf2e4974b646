"""Converts samples to the tensors that training reads, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.synthesis.procedural import StackBatch

TRUTH_READ = ('depth', 'background')
"""The parts of a sample's ground truth that `to_stack_batch` reads."""


def to_stack_batch(sample: Sample) -> StackBatch:
    """A sample as a `StackBatch` (B = 1) for training, over the swept range. Pixels without ground truth do not count,
    nor those whose blur is unknown because the lens is.

    Frames and truth are scaled to the largest magnification, as the estimator scales its state, so that no frame has an
    empty border.

    Raises:
        InputError: every frame has the same focus.
    """
    range_, first = sample.range, sample.lens_states[0]

    def row(values: Iterable[float]) -> torch.Tensor:
        return torch.tensor([list(values)], dtype=torch.float32)

    blur_scale = first.lens.blur_scale(range_)
    vergence = torch.from_numpy(range_.normalise(sample.depth.astype(np.float64))).float()
    foreground = torch.from_numpy(np.isfinite(sample.depth) if sample.background is None else ~sample.background)
    images = torch.from_numpy(sample.images).permute(0, 3, 1, 2).contiguous()
    growth = torch.tensor(
        [1.0 if math.isnan(state.magnification) else state.magnification for state in sample.lens_states]
    )
    zoom = growth.max() / growth
    if (zoom != 1).any():
        grid = F.affine_grid(torch.eye(2, 3) / zoom[:, None, None], list(images.shape), align_corners=False)

        def zoomed(maps: torch.Tensor, mode: str = 'nearest') -> torch.Tensor:
            return F.grid_sample(maps.float(), grid, mode, padding_mode='border', align_corners=False)

        images = zoomed(images, 'bilinear').round().to(torch.uint8)
        vergence, foreground = zoomed(vergence[:, None])[:, 0], zoomed(foreground[:, None])[:, 0] > 0.5
    return StackBatch(
        images=images[None],
        focus=row(range_.normalise(state.focus_distance) for state in sample.lens_states),
        blur_scale=torch.tensor([blur_scale], dtype=torch.float32),
        vergence=vergence[None, :, None],
        blur=zoom
        * row(
            state.lens.blur_scale(range_) / (1 - state.focal_length / state.focus_distance)
            for state in sample.lens_states
        ),
        foreground=foreground[None, :, None],
        near=torch.tensor([range_.near], dtype=torch.float32),
        far=torch.tensor([range_.far], dtype=torch.float32),
        focal_length=torch.tensor([first.focal_length], dtype=torch.float32),
        f_number=torch.tensor([first.f_number], dtype=torch.float32),
        pixel_pitch=torch.tensor([first.pixel_pitch], dtype=torch.float32),
        magnification=(growth * zoom)[None],
    )


def to_sample(
    batch: StackBatch, name: str, *, with_magnification: bool = False, frame_rate: float = math.nan, **about
) -> Sample:
    """The first stack of a batch (on the CPU) as a sample with ground truth for each frame; depth is float64.

    Render the batch with the full focus breathing (`breathing_residual=None`): the lens states state its magnification.

    Args:
        with_magnification: include it even if the aperture is unknown, for training, which scales frames to one size.
        frame_rate: for the stamps (1/s); NaN = no stamps.
        about: `seed` and `about` of the sample.
    """
    range_ = batch.ranges()[0]
    known = math.isfinite(batch.blur_scale[0])
    focal_length, f_number, pixel_pitch = (x[0].item() for x in (batch.focal_length, batch.f_number, batch.pixel_pitch))
    states = [
        LensState(
            range_.denormalise(v),
            focal_length,
            f_number if known else math.nan,
            pixel_pitch,
            magnification=magnification if known or with_magnification else math.nan,
            near=range_.near,
            far=range_.far,
            stamp=t / frame_rate,
        )
        for t, (v, magnification) in enumerate(zip(batch.focus[0].tolist(), batch.magnification[0].tolist()))
    ]
    return Sample(
        batch.images[0].permute(0, 2, 3, 1).contiguous().numpy(),
        states,
        range_.denormalise(batch.vergence[0, :, 0].double()).numpy(),
        background=~batch.foreground[0, :, 0].numpy(),
        coc=batch.coc[0, :, 0].abs().numpy(),
        source='procedural',
        name=name,
        **about,
    )
