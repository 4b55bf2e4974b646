"""Rate, latency and error of the published depth, per second and over the run."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import asdict, dataclass

import numpy as np
import torch

from dfd_ros.core.optics import VergenceRange
from dfd_ros.training import metrics

HEADER = '    time      rate   latency   valid'
HEADER_OF_ERRORS = '   MAE of u   AbsRel   accuracy'
LATENCIES = 100_000  # the last ones, for their percentile: hours of a camera


@dataclass(frozen=True)
class Quality:
    """One depth image against the truth, within the range. NaN: no truth, or nothing to compare."""

    valid: float
    """Share of the pixels in the range (without truth: of all pixels) that have a depth."""
    mae: float = math.nan
    """Mean absolute error of u, the vergence scaled to 0..1 over the range."""
    abs_rel: float = math.nan
    accuracy: float = math.nan
    """Per cent of pixels with max(d/d*, d*/d) < 1.25."""


def quality(depth: np.ndarray, truth: np.ndarray | None, range_: VergenceRange | None) -> Quality:
    """How good `depth` (H, W; m, NaN = unknown, infinity allowed) is.

    Pixels whose `truth` (H, W; m) lies outside the range are left out: the sweep does not reach them.
    """
    known = ~np.isnan(depth)
    if truth is None or range_ is None:
        return Quality(float(known.mean()))
    true_u = range_.normalise(truth)
    inside = (true_u >= 0) & (true_u <= 1)
    if not inside.any():
        return Quality(math.nan)
    compared = inside & known
    if not compared.any():
        return Quality(0.0)
    d, t, u = depth[compared], truth[compared], true_u[compared]
    estimate, true_depth = torch.from_numpy(d), torch.from_numpy(t)
    return Quality(
        float(compared.sum() / inside.sum()),
        metrics.mae(torch.from_numpy(range_.normalise(d)), torch.from_numpy(u)),
        metrics.abs_rel(estimate, true_depth),
        metrics.accuracy(estimate, true_depth),
    )


class Figures:
    """Collects figures and formats them as lines: one for each span of time, one for the run."""

    def __init__(self) -> None:
        self._all, self._span = _Means(), _Means()
        self._latencies: deque[float] = deque(maxlen=LATENCIES)

    def add(self, latency_s: float, quality: Quality) -> None:
        """Adds a depth image that arrived `latency_s` after the exposure of its camera image (NaN: unknown)."""
        for means in (self._all, self._span):
            means.add({'latency': latency_s, **asdict(quality)})
        if not math.isnan(latency_s):
            self._latencies.append(latency_s)

    def line(self, time_s: float, span_s: float) -> str:
        """The line of the last `span_s` seconds, `time_s` after the start.

        Its columns are those of `HEADER`, followed by those of `HEADER_OF_ERRORS` if the truth is known.
        """
        means, self._span = self._span, _Means()
        line = f'{time_s:6.0f} s  {means.frames / span_s:5.1f} Hz'
        if not means.frames:
            return line
        line += f'  {1e3 * means["latency"]:5.0f} ms  {means["valid"]:6.0%}'
        if math.isnan(means['mae']):
            return line
        return f'{line}  {means["mae"]:9.3f}  {means["abs_rel"]:7.1%}  {means["accuracy"]:7.1f} %'

    def summary(self, span_s: float) -> str:
        """Means over all frames of `span_s` seconds, in one line."""
        means = self._all
        if not means.frames:
            return 'no depth image'
        slowest = np.percentile(self._latencies or [math.nan], 95)
        parts = [
            f'{means.frames} depth images',
            f'{means.frames / span_s:.1f} Hz',
            f'latency {1e3 * means["latency"]:.0f} ms (95 %: {1e3 * slowest:.0f} ms)',
        ]
        if not math.isnan(means['mae']):
            parts += [
                f'MAE of u {means["mae"]:.3f}',
                f'AbsRel {means["abs_rel"]:.1%}',
                f'accuracy {means["accuracy"]:.1f} %',
            ]
        return ', '.join([*parts, f'depth for {means["valid"]:.0%} of the pixels'])


class _Means:
    """Running means over frames; NaN for a figure that no frame has."""

    def __init__(self) -> None:
        self.frames = 0
        self._sums: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, figures: dict[str, float]) -> None:
        self.frames += 1
        known = {name: value for name, value in figures.items() if not math.isnan(value)}
        self._sums.update(known)
        self._counts.update(known.keys())

    def __getitem__(self, name: str) -> float:
        return self._sums[name] / self._counts[name] if self._counts[name] else math.nan
