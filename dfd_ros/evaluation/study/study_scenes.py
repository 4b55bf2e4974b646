"""Training and test scenes of the study: stacks of a few frames with rising focus.

As in the study: 20 to 30 textured objects in front of a wall that does not count, one lens, no motion. The sets:

* `small`: only small objects;
* `large`: small and large objects, as in training;
* `moving`: as `large`, but camera and objects move between frames. No network is trained on motion;
* `seen`: as `large`, but with the families of textures and shapes of training. The other sets have different families,
  and all sets have different seeds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stored_stacks import StoredStack
from dfd_ros.synthesis.procedural import StackBatch, StackSettings, render_stack

SETS = ('small', 'large', 'moving', 'seen')
FRAMES = 4
"""Frames of a stack, by default."""
OBJECTS = (20, 30)
SMALL, SMALL_AND_LARGE = (0.03, 0.10), (0.03, 0.35)
_FIRST_SEED = 3_000_000_000


def stack_settings(name: str, size: int, frames: int = FRAMES) -> StackSettings:
    """Settings of the set `small`, `large`, `moving` or `seen`, or of `training`. size: side of the images (px)."""
    settings = StackSettings.study(
        split='train' if name in ('training', 'seen') else 'test',
        frames=frames,
        ramp=(frames, frames),
        height=size,
        width=size,
    )
    scene = replace(settings.scene, objects=OBJECTS, radius=SMALL if name == 'small' else SMALL_AND_LARGE)
    if name == 'moving':
        settings = replace(settings, static=0.0, travel=2.0)
        scene = replace(scene, moving=0.7, speed=3.0)
    if name == 'training':
        # Some real lenses are unknown: networks that read the blur scale must work without it.
        settings = replace(settings, unknown_aperture=0.3)
    return replace(settings, scene=scene)


def stack_size(crop: int) -> int:
    """Side (px) of the images from which crops are taken: a quarter more."""
    return crop + crop // 4


def procedural_scenes(name: str, count: int, crop: int, device='cpu', frames: int = FRAMES) -> Iterator[StackBatch]:
    """The first scenes of a set, with `frames` frames of crop x crop px. Only the foreground counts."""
    size = stack_size(crop)
    settings, first = stack_settings(name, size, frames), (size - crop) // 2
    area = (..., slice(first, first + crop), slice(first, first + crop))
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        batch = render_stack(seed, settings, device).to('cpu')
        u = batch.vergence[area]
        yield replace(
            batch, images=batch.images[area], vergence=u, foreground=(u >= 0) & (u <= 1) & batch.foreground[area]
        )


def frames_read(sample: Sample, frames: int = FRAMES) -> list[int]:
    """Indices of the `frames` frames whose focus is nearest to even steps of vergence, from the farthest to the nearest
    focus of the stack. If there are several ramps, the last one is used.

    Raises:
        InputError: the stack has too few frames.
    """
    if len(sample) < frames:
        raise InputError(f'{sample.name}: has {len(sample)} frames, the study reads {frames}')
    range_ = sample.range
    v = [range_.normalise(state.focus_distance) for state in sample.lens_states]
    chosen = [min(reversed(range(len(v))), key=lambda i: abs(v[i] - at / (frames - 1))) for at in range(frames)]
    if len(set(chosen)) < frames:
        raise InputError(f'{sample.name}: its focus distances are too uneven to choose {frames} frames from')
    return chosen


def sample_scene(sample: Sample, size: int | None = None, frames: int = FRAMES) -> StackBatch:
    """A real or rendered stack as a scene (B = 1). All networks read the frames of `frames_read`, because some read a
    fixed number. All frames get the ground truth of the last one read. Known background does not count.

    Args:
        size: side (px) to which the central square is reduced, because some networks are built for one size; None = do
            not crop or resize.

    Raises:
        InputError: the stack has too few frames, is smaller than `size`, or has ground truth, but not for the last
            frame read.
    """
    chosen, range_ = frames_read(sample, frames), sample.range
    depth = sample.depth[chosen[-1]].astype(np.float64)
    if not np.isfinite(depth).any() and np.isfinite(sample.depth).any():
        raise InputError(
            f'{sample.name}: no true depth of frame {chosen[-1]}, which the study reads last as it has '
            'the nearest focus; a folder has that of its last frame: give a rising one, or shards'
        )
    if sample.background is not None:
        depth = np.where(sample.background[chosen[-1]], np.nan, depth)
    u = torch.from_numpy(range_.normalise(depth)).float().expand(1, frames, 1, -1, -1)
    focus = torch.tensor(
        [[range_.normalise(sample.lens_states[i].focus_distance) for i in chosen]], dtype=torch.float32
    )
    blur_scale = torch.tensor([sample.lens_states[0].lens.blur_scale(range_)], dtype=torch.float32)
    unknown = {name: torch.full((1,), math.nan) for name in ('focal_length', 'f_number', 'pixel_pitch')}
    scene = StackBatch(
        images=torch.from_numpy(sample.images[chosen]).permute(0, 3, 1, 2).contiguous()[None],
        focus=focus,
        blur_scale=blur_scale,
        vergence=u,
        blur=blur_scale[:, None].expand(1, frames),
        foreground=(u >= 0) & (u <= 1),
        near=torch.tensor([range_.near], dtype=torch.float64),
        far=torch.tensor([range_.far], dtype=torch.float64),
        magnification=torch.ones(1, frames),
        **unknown,
    )
    return scene if size is None else _reduced(scene, size, sample.name)


def _reduced(scene: StackBatch, size: int, name: str) -> StackBatch:
    """The central square, reduced to sides of `size` px.

    Raises:
        InputError: the scene is smaller than that.
    """
    height, width = scene.images.shape[-2:]
    side = min(height, width)
    if side < size:
        raise InputError(f'{name}: images of {width}x{height}, smaller than the {size}x{size} of this study')
    top, left = (height - side) // 2, (width - side) // 2
    area = (..., slice(top, top + side), slice(left, left + side))
    images = F.interpolate(scene.images[area][0].float(), (size, size), mode='bilinear', antialias=True)
    images = images.round().clamp(0, 255).to(torch.uint8)[None]
    u = F.interpolate(scene.vergence[area][0], (size, size), mode='nearest-exact')[None]
    scale = size / side
    return replace(
        scene,
        images=images,
        blur_scale=scene.blur_scale * scale,
        blur=scene.blur * scale,
        vergence=u,
        foreground=(u >= 0) & (u <= 1),
    )


def fingerprint(stacks: Iterable[StoredStack]) -> str:
    """An identifier of stacks: their number and a hash of their names."""
    names = [stack.name for stack in stacks]
    digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()
    return f'{len(names)} ({digest[:12]})'


def training_stack(sample: Sample, crop: int, frames: int = FRAMES) -> StackBatch:
    """A sample as a training stack without motion; pixels without depth do not count. Samples larger than procedural
    images for the same crop are reduced to their size, as test scenes are, so that blur has a similar size in pixels.

    Raises:
        InputError: the sample is smaller than the crops, or its lens is unknown.
    """
    scene = sample_scene(sample, frames=frames)
    height, width = scene.images.shape[-2:]
    if min(height, width) < crop:
        raise InputError(f'{sample.name}: images of {width}x{height}, smaller than the crops of {crop}x{crop}')
    if scene.blur_scale.isnan().any():
        raise InputError(
            f'{sample.name}: training needs the focal length, f-number and sensor width of the lens in its stack.yaml'
        )
    if min(height, width) > stack_size(crop):
        scene = _reduced(scene, stack_size(crop), sample.name)
    return replace(scene, vergence=scene.vergence.nan_to_num(0), near=scene.near.float(), far=scene.far.float())
