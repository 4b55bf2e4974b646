"""Stacks with truth to test on: two procedural sets, and folders.

The two procedural sets are of seeds and of families of textures and shapes that training never sees:

* `study`: the conditions of the study: static, known lens, blur scale over 15 px, textured objects before a wall.
  As in the study, the wall is not counted.
* `field`: all moves, focus breathing as the camera delivers it, noise, half of it with unknown aperture (and with
  unknown magnification), blur scale from 6 px, falling, shuffled and uneven sweeps, untextured parts.

Only pixels whose truth lies in the swept range count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack, stacks_with_depth
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import read_samples
from dfd_ros.synthesis.procedural import StackSettings, render_stack

_FIRST_SEED = 2_000_000_000
SETS = {'study': StackSettings.study, 'field': StackSettings.field}


@dataclass
class TestStack:
    """One stack with truth for some of its frames.

    Attributes:
        images: (H, W, 3) uint8 each; states: of the lens, each.
        depth: true depth (H, W) in m, by the index of the frame.
        counted: (H, W) bool, by the index of the frame: pixels that count.
        coc: true circle of confusion (H, W) in px, by the index of the frame; empty where it is not known.
    """

    images: list[np.ndarray]
    states: list[LensState]
    depth: dict[int, np.ndarray]
    counted: dict[int, np.ndarray]
    coc: dict[int, np.ndarray]

    __test__ = False  # not a test case, whatever its name says to pytest


def procedural_stacks(name: str, stacks: int, frames: int = 15, size: int = 256, sweep: int = 5
                      ) -> Iterator[TestStack]:
    """The first stacks of a procedural test set.

    Args:
        frames: of a stack; sweep: of a sweep across the range.

    Raises:
        InputError: no set of that name.
    """
    if name not in SETS:
        raise InputError(f'no test set "{name}": choose one of {", ".join(SETS)}, or a folder of focal stacks')
    settings = SETS[name](split='test', frames=frames, ramp=(sweep, sweep), height=size, width=size,
                          breathing_residual=None)
    for seed in range(_FIRST_SEED, _FIRST_SEED + stacks):
        batch = render_stack(seed, settings)
        range_ = batch.ranges()[0]
        known = bool(torch.isfinite(batch.blur_scale[0]))
        states = [LensState(
            focus_distance=range_.denormalise(v), focal_length=batch.focal_length.item(),
            f_number=batch.f_number.item() if known else math.nan, pixel_pitch=batch.pixel_pitch.item(),
            magnification=batch.magnification[0, t].item() if known else math.nan,
            near=range_.near, far=range_.far, stamp=t / 30) for t, v in enumerate(batch.focus[0].tolist())]
        u = batch.vergence[0, :, 0]
        counted = (u >= 0) & (u <= 1)
        if name == 'study':
            counted &= batch.foreground[0, :, 0]
        depth = range_.denormalise(u.double()).numpy()
        yield TestStack([i.permute(1, 2, 0).numpy() for i in batch.images[0]], states, dict(enumerate(depth)),
                        dict(enumerate(counted.numpy())), dict(enumerate(batch.coc[0, :, 0].abs().numpy())))


def folder_stacks(folder: Path) -> Iterator[TestStack]:
    """All samples in the shards below a folder, with the truth of each frame; where there are no shards, all
    focal-stack folders with ground truth, which is that of the last frame. What is known to be background does not
    count.

    Raises:
        InputError: there are none.
    """
    if any(folder.glob('**/*.tar')):
        yield from map(sample_stack, read_samples(folder))
        return
    paths = stacks_with_depth(folder)
    if not paths:
        raise InputError(f'{folder}: no shard (*.tar) and no focal stack (a stack.yaml that names depth) in it; '
                         f'name a test set ({", ".join(SETS)}) or a folder of focal stacks')
    for path in paths:
        stack = FocalStack.read(path)
        range_ = stack.range
        states = [replace(state, near=range_.near, far=range_.far) for state in stack.lens_states]
        last = len(states) - 1
        depth = stack.depth.astype(np.float64)
        counted = np.isfinite(depth) & (depth >= range_.near) & (depth <= range_.far)
        yield TestStack(list(stack.images), states, {last: depth}, {last: counted}, {})


def sample_stack(sample: Sample) -> TestStack:
    """A sample as a stack to test on. Raises `InputError` where every frame has the same focus."""
    range_ = sample.to_focal_stack().range
    states = [replace(state, near=range_.near, far=range_.far) for state in sample.lens_states]
    depth = sample.depth.astype(np.float64)
    with np.errstate(invalid='ignore'):
        counted = np.isfinite(depth) & (depth >= range_.near) & (depth <= range_.far)
    if sample.background is not None:
        counted &= ~sample.background
    known = [t for t in range(len(sample)) if np.isfinite(depth[t]).any()]
    coc = {} if sample.coc is None else {t: sample.coc[t] for t in known}
    return TestStack(list(sample.images), states, {t: depth[t] for t in known}, {t: counted[t] for t in known}, coc)
