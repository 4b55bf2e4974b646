"""Accuracy of the estimator on stacks with ground truth, frame by frame, as users get it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.core.sample import Sample
from dfd_ros.evaluation.evaluation_stacks import counted
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.training import metrics
from dfd_ros.training.losses import edge_sides

EDGE = 3  # px
CONFIDENT = 0.5
WRONG = 0.1
"""Error of u above which a depth is wrong."""
STILL = 0.01
"""Change of the true u between sweeps below which a pixel is still."""


@dataclass
class FrameFigures:
    """Figures after a frame of each stack; see `dfd_ros.training.metrics`. Depth is divided by the largest of the set.

    `confident` is the mean error of u of the most confident 70 % of all pixels, divided by that of all. `known` is the
    share of pixels with an estimate; only these enter the other figures. `inner` is the share of these more than `EDGE`
    px from every depth edge; they have separate figures, because blurred images hardly show on which side of an edge a
    pixel is.

    `sure` is the share of all pixels with a confidence over `CONFIDENT`, `sure_wrong` the share of these whose u is off
    by more than `WRONG`, and `shown_wrong` the share of all pixels that are both.

    `calibration_error` is the expected calibration error of the confidence, the probability that u is off by less than
    `CONFIDENT_ERROR`; `stated` and `right` are the mean confidence and the share of correct pixels in ten bins of it.

    `sparsified_by_confidence` and `sparsified_by_error` are the curves of `metrics.Sparsification`.

    `still` is the share of pixels whose true u is within `STILL` of that one sweep earlier. `flicker_rms` and
    `flicker_median` describe how much their estimated u has changed since. `changed_mae` is the mean error of u of the
    other pixels. These are NaN in the first sweep, if only the last frame has ground truth, and without such pixels.
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
    sure: float
    sure_wrong: float
    shown_wrong: float
    calibration_error: float
    stated: tuple[float, ...]
    right: tuple[float, ...]
    sparsified_by_confidence: tuple[float, ...]
    sparsified_by_error: tuple[float, ...]
    still: float
    flicker_rms: float
    flicker_median: float
    changed_mae: float


class _Pixels(NamedTuple):
    """Values of N pixels: arrays or tensors (N,)."""

    u: Any
    estimated_u: Any
    depth: Any
    estimated_depth: Any
    log_scale: Any
    confidence: Any
    coc: Any
    estimated_coc: Any
    edge: Any
    before: Any
    """Estimated u one sweep earlier."""
    true_change: Any
    """Of u since then."""


def evaluate(
    estimator: DepthEstimator,
    stacks: Iterable[Sample],
    frames: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 15),
    sweep: int = 5,
) -> list[FrameFigures]:
    """Figures after the given frames (counted from 1), over all pixels of all stacks; after the last frame if only that
    has ground truth. A frame has no figures if no depth is known yet or no pixel counts.

    Args:
        sweep: frames per sweep; flicker compares each frame with the one a sweep earlier.

    Raises:
        InputError: the network cannot read one of the stacks.
    """
    pixels: dict[int, list[np.ndarray]] = {}
    for stack in stacks:
        known = [index for index, depth in enumerate(stack.depth) if np.isfinite(depth).any()]
        earlier: deque[np.ndarray] = deque(maxlen=sweep)  # u of the previous sweep
        for index, estimate in enumerate(estimator.estimate_frames(stack.to_focal_stack())):
            before = earlier[0] if len(earlier) == sweep else np.full_like(estimate.vergence, np.nan)
            earlier.append(estimate.vergence)
            if index not in known or (len(known) > 1 and index + 1 not in frames):
                continue
            where, range_ = counted(stack, index), estimate.range
            assert range_ is not None  # known from the start for a stack
            true_depth = stack.depth[index].astype(np.float64)
            depth = true_depth[where]
            coc = np.full(depth.shape, np.nan) if stack.coc is None else stack.coc[index][where]
            # Pixels without ground truth get the far end of the range, which matters only for edges.
            true_u = torch.from_numpy(range_.normalise(true_depth)).float().nan_to_num(0)
            edge = torch.logical_or(*edge_sides(true_u[None, None], EDGE))[0, 0].numpy()
            if index >= sweep:
                depth_before = stack.depth[index - sweep].astype(np.float64)
                true_change = true_u.numpy() - range_.normalise(depth_before)
            else:
                true_change = np.full(true_depth.shape, np.nan)
            maps = _Pixels(
                u=range_.normalise(depth),
                estimated_u=estimate.vergence[where],
                depth=np.minimum(depth, metrics.farthest(range_)),
                estimated_depth=metrics.counted_depth(estimate.vergence[where], range_),
                log_scale=estimate.log_scale[where],
                confidence=estimate.confidence[where],
                coc=coc,
                estimated_coc=estimate.coc[where],
                edge=edge[where],
                before=before[where],
                true_change=true_change[where],
            )
            pixels.setdefault(index + 1 if len(known) > 1 else 0, []).append(np.stack(maps).astype(np.float32))
    joined = {frame: _Pixels(*torch.from_numpy(np.concatenate(parts, 1))) for frame, parts in pixels.items()}
    largest = max((pixels.depth.max().item() for pixels in joined.values() if len(pixels.depth)), default=math.nan)
    return [
        _figures(frame, pixels, largest) for frame, pixels in joined.items() if torch.isfinite(pixels.estimated_u).any()
    ]


def _figures(frame: int, pixels: _Pixels, largest: float) -> FrameFigures:
    known = torch.isfinite(pixels.estimated_u)
    p = _Pixels(*(values[known] for values in pixels))
    inner = p.edge == 0
    error = (p.estimated_u - p.u).abs()
    sure = p.confidence > CONFIDENT
    wrong = sure & (error > WRONG)
    calibration = metrics.reliability(p.confidence, error < CONFIDENT_ERROR)
    sparsification = metrics.sparsification(error, -p.log_scale)
    change = (p.estimated_u - p.before).abs()
    compared = torch.isfinite(change) & torch.isfinite(p.true_change)
    still = p.true_change.abs() < STILL
    flicker = change[compared & still]
    return FrameFigures(
        frame,
        error.mean().item(),
        **asdict(metrics.depth_errors(p.estimated_depth, p.depth, largest)),
        confident=metrics.most_confident(error, -p.log_scale, 0.7) / (error.mean().item() or math.nan),
        ause=sparsification.ause,
        coc_px=metrics.mae(*(map_[torch.isfinite(p.estimated_coc)] for map_ in (p.estimated_coc, p.coc))),
        known=known.float().mean().item(),
        inner=inner.float().mean().item(),
        inner_rms=metrics.rms(p.estimated_depth[inner], p.depth[inner], largest),
        inner_accuracy=metrics.accuracy(p.estimated_depth[inner], p.depth[inner]),
        sure=sure.sum().item() / len(known),
        sure_wrong=(wrong.sum() / sure.sum()).item(),
        shown_wrong=wrong.sum().item() / len(known),
        calibration_error=calibration.calibration_error,
        stated=tuple(calibration.stated.tolist()),
        right=tuple(calibration.right.tolist()),
        sparsified_by_confidence=sparsification.by_confidence,
        sparsified_by_error=sparsification.by_error,
        still=still[compared].float().mean().item(),
        flicker_rms=flicker.square().mean().sqrt().item(),
        flicker_median=np.median(flicker).item() if len(flicker) else math.nan,
        changed_mae=error[compared & ~still].mean().item(),
    )
