"""Metrics over valid pixels, with the names and normalisation of the study."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dfd_ros.core.optics import VergenceRange


def _valid(estimate: torch.Tensor, truth: torch.Tensor):
    valid = torch.isfinite(estimate) & torch.isfinite(truth)
    return estimate[valid], truth[valid]


def mae(estimate, truth) -> float:
    """Mean absolute error, in the unit of the inputs. NaN if no pixel is valid."""
    e, t = _valid(estimate, truth)
    return (e - t).abs().mean().item()


def mse(estimate, truth, largest: float = 1.0) -> float:
    """Mean squared error of depth divided by the data set's `largest` depth."""
    e, t = _valid(estimate, truth)
    return ((e - t) / largest).square().mean().item()


def rms(estimate, truth, largest: float = 1.0) -> float:
    """Root of `mse`."""
    return mse(estimate, truth, largest) ** 0.5


def accuracy(estimate, truth, threshold: float = 1.25) -> float:
    """Share of pixels with max(d / d*, d* / d) < threshold, in per cent."""
    e, t = _valid(estimate, truth)
    return (torch.maximum(e / t, t / e) < threshold).double().mean().item() * 100


def abs_rel(estimate, truth) -> float:
    """Mean of |d - d*| / d*."""
    e, t = _valid(estimate, truth)
    return ((e - t).abs() / t).mean().item()


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth (m); see the functions of the same names."""

    mse: float
    rms: float
    accuracy: float
    """Per cent."""
    abs_rel: float


def depth_errors(estimate, truth, largest: float = 1.0) -> DepthErrors:
    """All errors of depth. `largest`: see `mse`."""
    return DepthErrors(
        mse(estimate, truth, largest),
        rms(estimate, truth, largest),
        accuracy(estimate, truth),
        abs_rel(estimate, truth),
    )


def farthest(range_: VergenceRange) -> float:
    """The far end of a range (m), or 50 times the near end if the far end is at infinity."""
    return range_.far if math.isfinite(range_.far) else 50 * range_.near


def counted_depth(u, range_: VergenceRange):
    """Depth (m) of u, an array or a tensor, as metrics use it: clipped to the far end of the range."""
    return range_.denormalise(u.clip(min=range_.normalise(farthest(range_))))


def most_confident(error: torch.Tensor, confidence: torch.Tensor, share: float) -> float:
    """Mean error of the `share` of pixels with the highest confidence. Both are flat tensors."""
    keep = max(int(len(error) * share), 1)
    return error[confidence.topk(keep).indices].mean().item()


@dataclass(frozen=True)
class Reliability:
    """How often estimates are right, by confidence, in ten even bins.

    Attributes:
        share: share of pixels in each bin; stated: their mean confidence; right: the share of them that is right. All
            (10,); the latter two are NaN in empty bins.
    """

    share: torch.Tensor
    stated: torch.Tensor
    right: torch.Tensor

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean difference of `stated` and `right` (Naeini et al., AAAI 2015)."""
        return ((self.stated - self.right).abs() * self.share).nansum().item()


def reliability(confidence: torch.Tensor, right: torch.Tensor) -> Reliability:
    """Args: confidence: (N,) in 0..1. right: (N,) bool."""
    bins = 10
    index = (confidence * bins).long().clamp(0, bins - 1)
    count, stated, hits = (
        torch.zeros(bins, dtype=torch.double).index_add(0, index, value.double())
        for value in (torch.ones_like(confidence), confidence, right)
    )
    return Reliability(count / count.sum(), stated / count, hits / count)


@dataclass(frozen=True)
class Sparsification:
    """Mean error of the pixels that stay when the least confident are removed step by step (Ilg et al., ECCV 2018).

    Attributes:
        by_confidence: their mean error, divided by that of all pixels, after 0, 1/N, ... of the pixels were removed in
            the order of confidence; by_error: the same in the order of the true error. Both are (N,).
    """

    by_confidence: tuple[float, ...]
    by_error: tuple[float, ...]

    @property
    def ause(self) -> float:
        """Area under the sparsification error curve, between the two curves; 0 means a perfect order."""
        return sum(a - b for a, b in zip(self.by_confidence, self.by_error)) / len(self.by_error)


def sparsification(error: torch.Tensor, confidence: torch.Tensor, points: int = 20) -> Sparsification:
    """Both are flat tensors."""

    def curve(ordered: torch.Tensor) -> tuple[float, ...]:
        starts = (len(error) * i // points for i in range(points))
        return tuple((ordered[start:].mean() / ordered.mean()).item() for start in starts)

    return Sparsification(curve(error[confidence.argsort()]), curve(error.sort(descending=True).values))
