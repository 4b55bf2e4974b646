"""Sweeps: the focus distances of a lens, and their order.

Every function returns focus distances (m) for a `VergenceRange`, spaced in vergence, because blur is linear in
vergence. A ramp runs from far to near unless `near_to_far`. Both ends of the range are focused exactly, infinity
included. All are deterministic; the random ones take a seed.
"""

from __future__ import annotations

import random

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange

PATTERNS = ('ramp', 'ping_pong', 'jumps', 'uneven')
"""The functions below, by name."""


def _distances(range_: VergenceRange, positions: list[float]) -> list[float]:
    """Positions u in 0..1 to metres, clamped to the range against rounding errors."""
    return [
        range_.far if u == 0 else range_.near if u == 1 else min(max(range_.denormalise(u), range_.near), range_.far)
        for u in positions
    ]


def _positions(frames: int, near_to_far: bool) -> list[float]:
    if frames < 2:
        raise InputError(f'sweep: {frames} frames in a ramp cannot cover a range, give at least 2')
    even = [i / (frames - 1) for i in range(frames)]
    return even[::-1] if near_to_far else even


def ramp(range_: VergenceRange, frames: int = 5, *, near_to_far: bool = False) -> list[float]:
    """One ramp in even steps of vergence."""
    return _distances(range_, _positions(frames, near_to_far))


def ping_pong(range_: VergenceRange, frames: int = 5, ramps: int = 2, *, near_to_far: bool = False) -> list[float]:
    """Ramps in alternating directions. A turning point is focused once: ramps * (frames - 1) + 1 frames.

    With an even number of ramps the last frame equals the first: drop it to repeat the pattern.
    """
    there = _positions(frames, near_to_far)
    positions = there[:1]
    for i in range(ramps):
        positions += there[1:] if i % 2 == 0 else there[-2::-1]
    return _distances(range_, positions)


def jumps(range_: VergenceRange, frames: int = 5, ramps: int = 1, *, seed: int = 0) -> list[float]:
    """The even steps of a ramp in random order, in a new order for each of `ramps`."""
    draw = random.Random(seed)
    positions: list[float] = []
    for _ in range(ramps):
        positions += draw.sample(_positions(frames, False), frames)
    return _distances(range_, positions)


def uneven(range_: VergenceRange, frames: int = 5, *, near_to_far: bool = False, seed: int = 0) -> list[float]:
    """One ramp in random steps, none more than four times as large as another."""
    draw = random.Random(seed)
    positions = _positions(frames, near_to_far=False)
    steps = [draw.uniform(1, 4) for _ in positions[1:]]
    for i, step in enumerate(steps[:-1]):
        positions[i + 1] = positions[i] + step / sum(steps)
    return _distances(range_, positions[::-1] if near_to_far else positions)
