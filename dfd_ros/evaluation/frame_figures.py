"""Accuracy of the estimator on stacks with truth: what a user gets, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from dfd_ros.core.sample import Sample
from dfd_ros.evaluation.evaluation_stacks import counted
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.training import metrics
from dfd_ros.training.losses import edge_sides

EDGE = 3   # px


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


def evaluate(make_estimator: Callable[[], DepthEstimator], stacks: Iterator[Sample],
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
        states = stack.lens_states
        estimator.check_stack([state.focus_distance for state in states], states[0].range)
        known = [index for index, depth in enumerate(stack.depth) if np.isfinite(depth).any()]
        for index, (image, state) in enumerate(zip(stack.images, states)):
            # Without its time: a stack is one stream, however far apart its frames were taken.
            estimate = estimator.push(image, replace(state, stamp=math.nan))
            if index not in known or (len(known) > 1 and index + 1 not in frames):
                continue
            where, range_ = counted(stack, index), estimate.range
            true_depth = stack.depth[index].astype(np.float64)
            depth = true_depth[where]
            coc = np.full(depth.shape, np.nan) if stack.coc is None else stack.coc[index][where]
            # An infinite depth is a far one: the largest that this range tells from infinity.
            true_u = torch.from_numpy(range_.normalise(true_depth)).float().nan_to_num(0)
            edge = torch.logical_or(*edge_sides(true_u[None, None], EDGE))[0, 0].numpy()
            far = range_.far if math.isfinite(range_.far) else 50 * range_.near
            pixels.setdefault(index + 1 if len(known) > 1 else 0, []).append(np.stack([
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
