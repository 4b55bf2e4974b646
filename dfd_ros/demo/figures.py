"""How good the published depth is, second by second and over all: rate, latency, error against the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from dfd_ros.optics import VergenceRange
from dfd_ros.training import metrics

HEADER = '    time      rate   latency   valid'
HEADER_OF_ERRORS = '   MAE of u   AbsRel   accuracy'


@dataclass(frozen=True)
class Quality:
    """One depth image against the truth, within the range. NaN: no truth, or nothing to compare."""

    valid: float
    """Share of the pixels of the range (without truth: of all pixels) that have a depth."""
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
    depth, truth = depth[compared], truth[compared]
    u, true_u, depth, truth = map(torch.from_numpy, (range_.normalise(depth), true_u[compared], depth, truth))
    return Quality(float(compared.sum() / inside.sum()), metrics.mae(u, true_u),
                   metrics.abs_rel(depth, truth), metrics.accuracy(depth, truth))


class Figures:
    """Gathers what comes in, and tells it as lines: one for each span of time, one for all."""

    def __init__(self) -> None:
        self._all: list[tuple[float, Quality]] = []
        self._told = 0

    def add(self, latency_s: float, quality: Quality) -> None:
        """A depth image has come, `latency_s` after the exposure of its camera image."""
        self._all.append((latency_s, quality))

    def line(self, time_s: float, span_s: float) -> str:
        """The line of the last `span_s` seconds, `time_s` after the start.

        It goes under `HEADER`, and under `HEADER_OF_ERRORS` behind that where the truth is known.
        """
        frames, self._told = self._all[self._told:], len(self._all)
        line = f'{time_s:6.0f} s  {len(frames) / span_s:5.1f} Hz'
        if not frames:
            return line
        means = _means(frames)
        line += f'  {1e3 * means["latency"]:5.0f} ms  {means["valid"]:6.0%}'
        if math.isnan(means['mae']):
            return line
        return f'{line}  {means["mae"]:9.3f}  {means["abs_rel"]:7.1%}  {means["accuracy"]:7.1f} %'

    def summary(self, span_s: float) -> str:
        """Means over all frames of `span_s` seconds, in one line."""
        if not self._all:
            return 'no depth image came'
        means = _means(self._all)
        latencies = [latency for latency, _ in self._all]
        parts = [f'{len(self._all)} depth images', f'{len(self._all) / span_s:.1f} Hz',
                 f'latency {1e3 * means["latency"]:.0f} ms '
                 f'(95 %: {1e3 * np.percentile(latencies, 95):.0f} ms)']
        if not math.isnan(means['mae']):
            parts += [f'MAE of u {means["mae"]:.3f}', f'AbsRel {means["abs_rel"]:.1%}',
                      f'accuracy {means["accuracy"]:.1f} %']
        return ', '.join([*parts, f'depth for {means["valid"]:.0%} of the pixels'])


def _means(frames: list[tuple[float, Quality]]) -> dict[str, float]:
    """Means over frames; of a figure that no frame has, NaN."""
    columns = {'latency': [latency for latency, _ in frames]}
    columns |= {name: [getattr(quality, name) for _, quality in frames]
                for name in ('valid', 'mae', 'abs_rel', 'accuracy')}
    known = {name: [value for value in values if not math.isnan(value)] for name, values in columns.items()}
    return {name: sum(values) / len(values) if values else math.nan for name, values in known.items()}

