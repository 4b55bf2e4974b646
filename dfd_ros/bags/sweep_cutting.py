"""Cuts a stream of frames into sweeps of the focus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from dfd_ros.bags.association import Frame
from dfd_ros.core.optics import vergence

MAX_PAUSE = 2.0  # s between two frames of one sweep
STILL = 1e-3  # dioptres; smaller steps are not a movement of the focus


def sweeps(frames: Iterable[Frame], *, length: int = 0, largest: int = 30) -> Iterator[list[Frame]]:
    """One list of frames for each sweep. Images with another frame_id are of another camera, or scene.

    length: number of consecutive frames of a sweep. 0: a sweep ends where the focus turns or jumps back; in sweeps of
    more than `largest` frames, every second frame is left out until they fit. A shuffled order of focus distances,
    which turns at each step, needs a length.
    """
    current: list[Frame] = []
    direction, stride, seen = 0, 1, 0
    last = None
    for frame in frames:
        v = vergence(frame.state.focus_distance)
        step = 0.0 if last is None else v - vergence(last.state.focus_distance)
        heading = 0 if abs(step) < STILL else int(math.copysign(1, step))
        paused = last is not None and not 0 <= frame.stamp - last.stamp <= MAX_PAUSE
        turned = not length and heading and direction and heading != direction
        is_other = last is not None and frame.image.frame_id != last.image.frame_id
        if current and (paused or turned or is_other or len(current) == length):
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
