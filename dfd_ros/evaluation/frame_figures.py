"""Accuracy of the estimator on stacks with truth: what a user gets, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from dfd_ros.core.sample import Sample
from dfd_ros.evaluation.evaluation_stacks import counted
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.training import metrics
from dfd_ros.training.losses import edge_sides

EDGE = 3  # px


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


def evaluate(
    estimator: DepthEstimator, stacks: Iterable[Sample], frames: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 15)
) -> list[FrameFigures]:
    """Figures after the given frames (counted from 1), over all pixels of all stacks; the stacks' last frame
    where only it has truth. A frame after which no depth is known yet has no figures, nor has one of which no pixel
    counts.

    Raises:
        InputError: the network cannot read one of the stacks.
    """
    pixels: dict[int, list[np.ndarray]] = {}
    for stack in stacks:
        known = [index for index, depth in enumerate(stack.depth) if np.isfinite(depth).any()]
        for index, estimate in enumerate(estimator.estimate_frames(stack.to_focal_stack())):
            if index not in known or (len(known) > 1 and index + 1 not in frames):
                continue
            where, range_ = counted(stack, index), estimate.range
            assert range_ is not None  # of a stack it is known from the start
            true_depth = stack.depth[index].astype(np.float64)
            depth = true_depth[where]
            coc = np.full(depth.shape, np.nan) if stack.coc is None else stack.coc[index][where]
            # An infinite depth is a far one: the largest that this range tells from infinity.
            true_u = torch.from_numpy(range_.normalise(true_depth)).float().nan_to_num(0)
            edge = torch.logical_or(*edge_sides(true_u[None, None], EDGE))[0, 0].numpy()
            pixels.setdefault(index + 1 if len(known) > 1 else 0, []).append(
                np.stack(
                    [
                        range_.normalise(depth),
                        estimate.vergence[where],
                        np.minimum(depth, metrics.farthest(range_)),
                        metrics.counted_depth(estimate.vergence[where], range_),
                        estimate.log_scale[where],
                        coc,
                        estimate.coc[where],
                        edge[where],
                    ]
                ).astype(np.float32)
            )
    largest = max((float(p[2].max()) for parts in pixels.values() for p in parts if p.size), default=math.nan)
    joined = {frame: torch.from_numpy(np.concatenate(parts, 1)) for frame, parts in pixels.items()}
    return [_figures(frame, p, largest) for frame, p in joined.items() if torch.isfinite(p[1]).any()]


def _figures(frame: int, p: torch.Tensor, largest: float) -> FrameFigures:
    known = torch.isfinite(p[1])
    u, estimated_u, depth, estimated_depth, log_scale, coc, estimated_coc, edge = p[:, known]
    inner = edge == 0
    error = (estimated_u - u).abs()
    return FrameFigures(
        frame,
        error.mean().item(),
        **asdict(metrics.depth_errors(estimated_depth, depth, largest)),
        confident=metrics.most_confident(error, -log_scale, 0.7) / error.mean().item(),
        ause=metrics.ause(error, -log_scale),
        coc_px=metrics.mae(estimated_coc, coc),
        known=known.float().mean().item(),
        inner=inner.float().mean().item(),
        inner_rms=metrics.rms(estimated_depth, depth, largest, inner),
        inner_accuracy=metrics.accuracy(estimated_depth, depth, mask=inner),
    )
