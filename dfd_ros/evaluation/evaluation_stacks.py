"""Stacks with truth to test on: two procedural sets, and folders.

The two procedural sets are of seeds and of families of textures and shapes that training never sees:

* `study`: the conditions of the study: static, known lens, blur scale over 15 px, textured objects before a wall.
  As in the study, the wall is not counted.
* `field`: all moves, focus breathing as the camera delivers it, noise, half of it with unknown aperture (and with
  unknown magnification), blur scale from 6 px, falling, shuffled and uneven sweeps, untextured parts.

Only pixels whose truth lies in the swept range, and is not known to be background, count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.synthesis.procedural import StackSettings, render_stack

_FIRST_SEED = 2_000_000_000
SETS = {'study': StackSettings.study, 'field': StackSettings.field}


def procedural_stacks(name: str, stacks: int, frames: int = 15, size: int = 256, sweep: int = 5) -> Iterator[Sample]:
    """The first stacks of a procedural test set.

    Args:
        frames: of a stack; sweep: of a sweep across the range.

    Raises:
        InputError: no set of that name.
    """
    if name not in SETS:
        raise InputError(f'no test set "{name}": choose one of {", ".join(SETS)}, or a folder of focal stacks')
    settings = SETS[name](
        split='test', frames=frames, ramp=(sweep, sweep), height=size, width=size, breathing_residual=None
    )
    for seed in range(_FIRST_SEED, _FIRST_SEED + stacks):
        sample = to_sample(render_stack(seed, settings), f'{name} {seed}')
        yield sample if name == 'study' else replace(sample, background=None)


def folder_stacks(folder: Path) -> Iterator[Sample]:
    """The stacks of `stored_stacks`, each with the range that its focus sweeps as that of its lens.

    Raises:
        InputError: there are none; every frame of one has the same focus.
    """
    for stack in stored_stacks(folder):
        sample = stack.read()
        range_ = sample.range
        yield replace(
            sample, lens_states=[replace(state, near=range_.near, far=range_.far) for state in sample.lens_states]
        )


def counted(sample: Sample, index: int) -> np.ndarray:
    """(H, W) bool: the pixels of a frame that count."""
    range_, depth = sample.lens_states[0].range or sample.range, sample.depth[index].astype(np.float64)
    with np.errstate(invalid='ignore'):
        inside = np.isfinite(depth) & (depth >= range_.near) & (depth <= range_.far)
    return inside if sample.background is None else inside & ~sample.background[index]
