"""Public test sets: readers, counted pixels and measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.datasets.public.ddff12 import DISPARITY_TIMES_DEPTH, Ddff12
from dfd_ros.datasets.public.fod500 import Fod500
from dfd_ros.datasets.public.nyuv2_stacks import NyuV2Stacks
from dfd_ros.datasets.public.zedd import Zedd
from dfd_ros.evaluation.public_measures import NAMES, measures
from dfd_ros.inference.estimator import DepthEstimator

_USUAL = ('mse', 'rms', 'log_rms', 'abs_rel', 'sq_rel', 'd1.25', 'd1.25^2', 'd1.25^3')


class Stacks(Protocol):
    """The stacks of a set, which are read on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FocalStack: ...


@dataclass(frozen=True)
class PublicSet:
    """A set and its protocol.

    Attributes:
        open: opens the stacks, from a path and a number of slices (None = as published).
        title: data and unit, for users.
        measures: names, see `public_measures.measures`.
        limits: minimum and maximum (m) to which estimates are clipped.
        truth_limited: whether the ground truth is clipped too.
        disparity: px m; divided by depth it gives the disparity to measure. None = measure depth in m.
    """

    open: Callable[[Path, int | None], Stacks]
    title: str
    measures: tuple[str, ...]
    limits: tuple[float, float]
    truth_limited: bool = False
    disparity: float | None = None


PUBLIC_SETS = {
    'ddff12': PublicSet(
        Ddff12,
        'DDFF-12, validation stacks, disparity in px',
        (*_USUAL, 'bumpiness'),
        (DISPARITY_TIMES_DEPTH / 0.28, DISPARITY_TIMES_DEPTH / 0.02),
        disparity=DISPARITY_TIMES_DEPTH,
    ),
    'fod500': PublicSet(
        Fod500,
        'FoD500, test stacks, depth in m, up to 1.5 m',
        ('mae', *_USUAL, 'bumpiness'),
        (1e-4, 1.5),
        truth_limited=True,
    ),
    'zedd': PublicSet(
        Zedd, 'ZEDD, validation scenes, depth in m', ('d1.05', 'd1.15', 'd1.25', 'abs_rel'), (0.01, 100.0)
    ),
    'nyuv2': PublicSet(
        NyuV2Stacks,
        'NYUv2, refocused (50 mm, f/8), depth in m',
        ('rms', 'abs_rel', 'log_rms', 'd1.25', 'd1.25^2', 'd1.25^3'),
        (1e-3, 10.0),
    ),
}


def find_public_set(data: str) -> tuple[PublicSet, Path] | None:
    """Parse a text such as `ddff12:FILE` to a set and a path; None for other texts.

    Raises:
        InputError: the path does not exist.
    """
    name, colon, place = data.partition(':')
    if not colon or name not in PUBLIC_SETS:
        return None
    if not Path(place).exists():
        raise InputError(f'{place}: no such file or folder (--data {data})')
    return PUBLIC_SETS[name], Path(place)


def evaluate_public(estimator: DepthEstimator, public: PublicSet, stacks: Iterable[FocalStack]) -> dict[str, float]:
    """The set's measures after the last slice of each stack, averaged over the stacks, and `known`, the share of pixels
    with ground truth that have an estimate.

    Raises:
        InputError: the network cannot read one of the stacks, or no pixel counts.
    """
    rows = []
    for stack in stacks:
        range_ = stack.range
        states = [replace(state, near=range_.near, far=range_.far) for state in stack.lens_states]
        estimate = estimator.estimate_stack(replace(stack, lens_states=states))
        assert stack.depth is not None, stack.name
        truth, depth = stack.depth, np.clip(estimate.depth, *public.limits)
        if public.truth_limited:
            truth = np.clip(truth, *public.limits)
        counts = np.isfinite(truth)
        known = np.isfinite(depth[counts]).mean() if counts.any() else math.nan
        if public.disparity is not None:
            truth, depth = public.disparity / truth, public.disparity / depth
        rows.append({**measures(depth, truth), 'known': known})
    figures = {name: [row[name] for row in rows if not math.isnan(row[name])] for name in (*public.measures, 'known')}
    if not figures[public.measures[0]]:
        raise InputError('nothing to measure: no pixel has a true depth and an estimate')
    return {name: float(np.mean(values)) for name, values in figures.items()}


def printed(name: str, value: float | None) -> str:
    """A figure as text; '-' for None."""
    if value is None:
        return '-'
    if name == 'mse':
        return f'{value:.3g}'
    return f'{value:.2f}' if name == 'bumpiness' or NAMES[name].endswith('%') else f'{value:.4f}'
