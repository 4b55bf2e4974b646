"""Moves the focus through the frames of a stack, as the sweep node moves that of a camera."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from dfd_ros.core import sweeps
from dfd_ros.core.optics import VergenceRange, vergence
from dfd_ros.viewing.controls import Settings
from dfd_ros.viewing.recorded_scenes import Shot

SLACK = 1e-3  # share of the range by which a frame may lie outside


def order(shots: list[Shot], settings: Settings) -> Iterator[Shot]:
    """An endless sequence: `steps` of the frames in the range, evenly by their order, since the foci of stacks are
    seldom even in vergence; where the focus rests, it is always the nearest frame."""
    within = _within(shots, settings.range)
    for cycle in itertools.count():
        if not settings.sweeping:
            yield nearest_shot(shots, settings.focus)
            continue
        for distance in _pattern(settings, cycle):
            yield within[round(settings.range.normalise(distance) * (len(within) - 1))]


def nearest_shot(shots: list[Shot], distance: float) -> Shot:
    """The frame whose focus is nearest in vergence to a distance (m)."""
    return min(shots, key=lambda shot: abs(_vergence(shot) - vergence(distance)))


def _pattern(settings: Settings, cycle: int) -> list[float]:
    range_, steps = settings.range, settings.steps
    if settings.pattern == 'ping_pong':
        return sweeps.ping_pong(range_, steps)[:-1]
    if settings.pattern == 'jumps':
        return sweeps.jumps(range_, steps, seed=cycle)
    return sweeps.uneven(range_, steps, seed=cycle) if settings.pattern == 'uneven' else sweeps.ramp(range_, steps)


def _within(shots: list[Shot], range_: VergenceRange) -> list[Shot]:
    """The frames whose focus lies in a range, from far to near; the nearest one to its middle where there is none."""
    slack = SLACK * range_.width
    found = [shot for shot in shots if 1 / range_.far - slack <= _vergence(shot) <= 1 / range_.near + slack]
    return sorted(found, key=_vergence) or [nearest_shot(shots, range_.denormalise(0.5))]


def _vergence(shot: Shot) -> float:
    return vergence(shot.lens_state.focus_distance)
