"""Accuracy of the estimator on test sets: what a user gets, frame by frame.

Two procedural sets, of seeds and of families of textures and shapes that training never sees:

* `study`: the conditions of the study: static, known lens, blur scale over 15 px, textured objects before a wall.
  As in the study, the wall is not counted.
* `field`: all moves, focus breathing as the camera delivers it, noise, half of it with unknown aperture (and with
  unknown magnification), blur scale from 6 px, falling, shuffled and uneven sweeps, untextured parts.

Only pixels whose truth lies in the swept range count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dfd_ros.data.samples import Sample, read_samples
from dfd_ros.errors import InputError
from dfd_ros.estimator import DepthEstimator
from dfd_ros.focal_stack import FocalStack, stacks_with_depth
from dfd_ros.lens_state import LensState
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.training import metrics
from dfd_ros.training.losses import edge_sides

EDGE = 3   # px
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


@dataclass
class FrameFigures:
    """Figures after a frame of each stack; see `dfd_ros.training.metrics`. Depth is divided by the largest of the set.

    `confident` is the mean error of u of the most confident 70 % of all pixels, over that of all. `known` is the
    share of the pixels that have an estimate; the others enter none of the figures. `inner` is the share of these that
    lie more than `EDGE` px from every depth edge, with figures of their own: blurred images say little of which side
    of an edge a pixel belongs to.
    """

    frame: int
    mae_u: float
    mse: float
    rms: float
    accuracy: float
    abs_rel: float
    confident: float
    ause: float
    coc_px: float
    known: float
    inner: float
    inner_rms: float
    inner_accuracy: float


def evaluate(make_estimator: Callable[[], DepthEstimator], stacks: Iterator[TestStack],
             frames: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 15)) -> list[FrameFigures]:
    """Figures after the given frames (counted from 1), over all pixels of all stacks; the stacks' last frame
    where only it has truth. A frame after which no depth is known yet has no figures, nor has one of which no pixel
    counts.

    Args:
        make_estimator: called once; the estimator is reset before each stack.

    Raises:
        InputError: the network cannot read one of the stacks.
    """
    estimator = make_estimator()
    pixels: dict[int, list[np.ndarray]] = {}
    for stack in stacks:
        estimator.reset()
        estimator.check_stack([state.focus_distance for state in stack.states], stack.states[0].range)
        for index, (image, state) in enumerate(zip(stack.images, stack.states)):
            # Without its time: a stack is one stream, however far apart its frames were taken.
            estimate = estimator.push(image, replace(state, stamp=math.nan))
            if index not in stack.depth or (len(stack.depth) > 1 and index + 1 not in frames):
                continue
            where = stack.counted[index]
            depth, range_ = stack.depth[index][where], estimate.range
            coc = stack.coc[index][where] if stack.coc else np.full(depth.shape, np.nan)
            # An infinite depth is a far one: the largest that this range tells from infinity.
            true_u = torch.from_numpy(range_.normalise(stack.depth[index])).float().nan_to_num(0)
            edge = torch.logical_or(*edge_sides(true_u[None, None], EDGE))[0, 0].numpy()
            far = range_.far if math.isfinite(range_.far) else 50 * range_.near
            pixels.setdefault(index + 1 if len(stack.depth) > 1 else 0, []).append(np.stack([
                range_.normalise(depth), estimate.vergence[where], np.minimum(depth, far),
                range_.denormalise(np.clip(estimate.vergence[where], range_.normalise(far), None)),
                estimate.log_scale[where], coc, estimate.coc[where], edge[where]]).astype(np.float32))
    largest = max((float(p[2].max()) for parts in pixels.values() for p in parts if p.size), default=math.nan)
    joined = {frame: torch.from_numpy(np.concatenate(parts, 1)) for frame, parts in pixels.items()}
    return [_figures(frame, p, largest) for frame, p in joined.items() if torch.isfinite(p[1]).any()]


def _figures(frame: int, p: torch.Tensor, largest: float) -> FrameFigures:
    known = torch.isfinite(p[1])
    u, estimated_u, depth, estimated_depth, log_scale, coc, estimated_coc, edge = p[:, known]
    inner = edge == 0
    error = (estimated_u - u).abs()
    return FrameFigures(
        frame, error.mean().item(), metrics.mse(estimated_depth, depth, largest),
        metrics.rms(estimated_depth, depth, largest), metrics.accuracy(estimated_depth, depth),
        metrics.abs_rel(estimated_depth, depth),
        metrics.most_confident(error, -log_scale, 0.7) / error.mean().item(),
        metrics.ause(error, -log_scale), metrics.mae(estimated_coc, coc),
        known.float().mean().item(), inner.float().mean().item(),
        metrics.rms(estimated_depth, depth, largest, inner), metrics.accuracy(estimated_depth, depth, mask=inner))
