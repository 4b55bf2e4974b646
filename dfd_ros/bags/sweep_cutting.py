"""Where a stream of frames is cut into sweeps of the focus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from dfd_ros.core.optics import vergence

LONGEST_PAUSE = 2.0  # s between two frames of one sweep
STILL = 1e-3  # dioptres; less is no movement of the focus


def sweeps(frames: Iterable[Any], *, length: int = 0, largest: int = 30) -> Iterator[list[Any]]:
    """Lists of frames, which have a `stamp` and a `state`: one for each sweep.

    length: so many frames that follow each other. 0: as the focus goes, from where it turns or jumps back to where
    it does so again; of sweeps of more than `largest` frames every second is left out, again and again until they fit.
    Orders of the focus that turn at each step, such as shuffled ones, need a length.
    """
    current: list[Any] = []
    direction, stride, seen = 0, 1, 0
    last = None
    for frame in frames:
        v = vergence(frame.state.focus_distance)
        step = 0.0 if last is None else v - vergence(last.state.focus_distance)
        heading = 0 if abs(step) < STILL else int(math.copysign(1, step))
        paused = last is not None and not 0 <= frame.stamp - last.stamp <= LONGEST_PAUSE
        turned = not length and heading and direction and heading != direction
        if current and (paused or turned or len(current) == length):
            yield current
            current, direction, stride, seen = [], 0, 1, 0
        elif heading:
            direction = heading
        if seen % stride == 0:
            current.append(frame)
        seen += 1
        if not length and len(current) > largest:
            current, stride = current[::2], 2 * stride
        last = frame
    if current:
        yield current
