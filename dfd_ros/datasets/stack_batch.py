"""Converts samples to the tensors that training reads, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.focal_stack import swept_range
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stored_sample import Area, StoredSample
from dfd_ros.synthesis.procedural import StackBatch

TRUTH_READ = ('depth', 'background')
"""The parts of a sample's ground truth that a `StackBatch` has."""


class _Optics:
    """What the lens states of a sample say of its frames.

    Attributes:
        zoom: (T,) by which frames and truth are scaled to the largest magnification, as the estimator scales its
            state, so that no frame has an empty border.
        rows: what else a `StackBatch` has, (1,) and (1, T).

    Raises:
        InputError: every frame has the same focus.
    """

    def __init__(self, states: Sequence[LensState], name: str):
        self.range, first = swept_range(states, name), states[0]

        def row(values: Iterable[float]) -> torch.Tensor:
            return torch.tensor([list(values)], dtype=torch.float32)

        growth = torch.tensor([1.0 if math.isnan(state.magnification) else state.magnification for state in states])
        self.zoom = growth.max() / growth
        self.rows = {
            'focus': row(self.range.normalise(state.focus_distance) for state in states),
            'blur_scale': torch.tensor([first.lens.blur_scale(self.range)], dtype=torch.float32),
            'blur': self.zoom
            * row(
                state.lens.blur_scale(self.range) / (1 - state.focal_length / state.focus_distance) for state in states
            ),
            'near': torch.tensor([self.range.near], dtype=torch.float32),
            'far': torch.tensor([self.range.far], dtype=torch.float32),
            'focal_length': torch.tensor([first.focal_length], dtype=torch.float32),
            'f_number': torch.tensor([first.f_number], dtype=torch.float32),
            'pixel_pitch': torch.tensor([first.pixel_pitch], dtype=torch.float32),
            'magnification': (growth * self.zoom)[None],
        }

    def of(self, frames: Sequence[int]) -> dict[str, torch.Tensor]:
        """`rows` of some frames."""
        return {name: row[:, frames] if row.ndim == 2 else row for name, row in self.rows.items()}


def to_stack_batch(sample: Sample) -> StackBatch:
    """A sample as a `StackBatch` (B = 1) for training, over the swept range. Pixels without ground truth do not count,
    nor those whose blur is unknown because the lens is.

    Raises:
        InputError: every frame has the same focus.
    """
    optics, whole = _Optics(sample.lens_states, sample.name), Area(0, 0, *sample.images.shape[1:3])
    return StackBatch(**_maps(sample, optics.range, optics.zoom, whole, whole, whole), **optics.rows)


def part_of(stored: StoredSample, frames: Sequence[int], area: Area) -> StackBatch:
    """Frames and an area of `to_stack_batch` of a stored sample, of which only that is decoded.

    Args:
        frames: in any order, also repeated.

    Raises:
        InputError: the sample cannot be read, or every frame has the same focus.
    """
    optics = _Optics(stored.lens_states, stored.name)
    different = sorted(set(frames))
    zoom, whole = optics.zoom[different], Area(0, 0, *stored.size)
    source = _source(area, zoom, whole)
    maps = _maps(stored.part(different, source, TRUTH_READ), optics.range, zoom, area, source, whole)
    places = [different.index(t) for t in frames]
    return StackBatch(**{name: value[:, places] for name, value in maps.items()}, **optics.of(frames))


def _source(area: Area, zoom: torch.Tensor, whole: Area) -> Area:
    """The area of the stored images from which an area of the zoomed ones comes."""
    if (zoom == 1).all():
        return area
    ends = []
    for start, length, size in ((area.top, area.height, whole.height), (area.left, area.width, whole.width)):
        # Pixel p of the zoomed image is at c + (p - c) / zoom; two more pixels for the interpolation.
        centre = (size - 1) / 2
        first = (centre + (start - centre) / zoom).min().item()
        last = (centre + (start + length - 1 - centre) / zoom).max().item()
        ends.append((max(math.floor(first) - 2, 0), min(math.ceil(last) + 3, size)))
    (top, bottom), (left, right) = ends
    return Area(top, left, bottom - top, right - left)


def _maps(
    sample: Sample, range_: VergenceRange, zoom: torch.Tensor, area: Area, source: Area, whole: Area
) -> dict[str, torch.Tensor]:
    """Images and truth (1, T, C, H, W) of an area of the zoomed images. source: that the sample is of; whole: all of
    the image."""
    vergence = torch.from_numpy(range_.normalise(sample.depth.astype(np.float64))).float()[:, None]
    foreground = torch.from_numpy(np.isfinite(sample.depth) if sample.background is None else ~sample.background)[
        :, None
    ]
    images = torch.from_numpy(sample.images).permute(0, 3, 1, 2).contiguous()
    if (zoom != 1).any():
        # In coordinates of `grid_sample`, -1 to 1 over the area, or over the source.
        scale = torch.stack([area.width / source.width / zoom, area.height / source.height / zoom], -1)
        middle, centre, start, size = (
            torch.tensor(pair)
            for pair in (
                (area.left + area.width / 2, area.top + area.height / 2),
                (whole.width / 2, whole.height / 2),
                (float(source.left), float(source.top)),
                (float(source.width), float(source.height)),
            )
        )
        shift = 2 * (centre + (middle - centre) / zoom[:, None] - start) / size - 1
        affine = torch.cat([torch.diag_embed(scale), shift[..., None]], -1)
        grid = F.affine_grid(affine, [len(zoom), 1, area.height, area.width], align_corners=False)

        def zoomed(maps: torch.Tensor, mode: str = 'nearest') -> torch.Tensor:
            return F.grid_sample(maps.float(), grid, mode, padding_mode='border', align_corners=False)

        images = zoomed(images, 'bilinear').round().to(torch.uint8)
        vergence, foreground = zoomed(vergence), zoomed(foreground) > 0.5
    return {'images': images[None], 'vergence': vergence[None], 'foreground': foreground[None]}


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
