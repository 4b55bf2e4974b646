"""A video of a focus pull: which of its frames make a focal stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.core.errors import InputError, warn
from dfd_ros.core.image_io import reduced, reduction, stack_factor
from dfd_ros.core.video_files import open_video
from dfd_ros.photographs import focus_order
from dfd_ros.photographs.alignment import align, small
from dfd_ros.photographs.focus_order import FocusOrder

VIDEO_SUFFIXES = ('.mp4', '.mov', '.m4v', '.avi', '.mkv', '.webm', '.3gp')
FRAMES = 10
"""Of the stack."""
LOOKED_AT = 60
"""Frames, evenly spaced in time, among which they are chosen."""
MAX_DURATION = 120.0  # s
NEIGHBOURS = 4
"""Of a frame, by sharpness: the way along the focus is made of steps between neighbours."""


@dataclass
class FocusPull:
    """Frames of a video, evenly spaced along the change of sharpness, in the order of time."""

    images: list[np.ndarray]
    """(H, W, 3) uint8 RGB each."""
    times: list[float]
    """s."""
    order: FocusOrder
    focus_source: str


def read_focus_pull(path: Path, order: str | None = None) -> FocusPull:
    """Choose `FRAMES` frames. order: as in `stack_input.read_focal_stack`.

    Raises:
        InputError: it cannot be read, shows several scenes, or its focus does not move.
    """
    with_times = list(_looked_at(path))
    if len(with_times) < 2:
        raise InputError(f'{path}: cannot be read as a video of at least two frames')
    indices, times, images = (list(column) for column in zip(*with_times))
    aligned = align(images)
    if aligned.stranger is not None:
        raise InputError(
            f'{path}: no focus pull: at {times[aligned.stranger]:.1f} s it shows another scene than before; '
            'cut the video to one scene, and hold the camera still'
        )
    profiles = focus_order.sharpness(images, aligned)
    if focus_order.change_of_focus(profiles) < focus_order.MIN_CHANGE:
        raise InputError(f'{path}: no focus pull: the same places are sharp all the time, so the focus does not move')
    chosen = choose(positions(profiles))
    if order is None:
        directed, direction = focus_order.directed(chosen, aligned)
        found = FocusOrder(tuple(chosen.index(i) for i in directed), True, direction)
    else:
        found = focus_order.order_as_given(len(chosen), order)
    stretch = f'frames from {times[chosen[0]]:.1f} s to {times[chosen[-1]]:.1f} s'
    return FocusPull(
        _frames(path, [indices[i] for i in chosen]),
        [times[i] for i in chosen],
        found,
        found.source(stretch, 'videos have no focus distances'),
    )


def positions(profiles: np.ndarray) -> np.ndarray:
    """(frames,) 0..1: where each frame is on the way between the two that are farthest apart, by sharpness.

    Lengths are counted along neighbours (as Tenenbaum et al., "A global geometric framework for nonlinear
    dimensionality reduction", Science 2000), since frames far apart in focus all differ alike.
    """
    distances = focus_order.differences(profiles)
    count = len(distances)
    nearest = np.sort(distances, 1)[:, min(NEIGHBOURS, count - 1)]
    is_near = (distances <= np.maximum(nearest[:, None], nearest[None])) | np.eye(count, dtype=bool)
    # Neighbours in time are neighbours in focus: the way is never interrupted.
    for i in range(count - 1):
        is_near[i, i + 1] = is_near[i + 1, i] = True
    ways = np.where(is_near, distances, np.inf)
    for k in range(count):  # Floyd and Warshall
        ways = np.minimum(ways, ways[:, k : k + 1] + ways[k : k + 1])
    a, b = np.unravel_index(np.argmax(ways), ways.shape)
    length = ways[a, b]
    return np.clip((ways[a] ** 2 - ways[b] ** 2 + length**2) / (2 * length**2), 0, 1)


def choose(position: np.ndarray) -> list[int]:
    """Frames, in the order of time, evenly spaced along the longest way that the focus goes without turning round."""
    start, end = _longest_pull(position)
    step = 1 if start < end else -1
    along = np.maximum.accumulate(position[start : end + step if end + step >= 0 else None : step])
    wanted = np.linspace(along[0], along[-1], min(FRAMES, len(along)))
    chosen = sorted({start + step * int(np.argmin(np.abs(along - value))) for value in wanted})
    return chosen


def _longest_pull(position: np.ndarray) -> tuple[int, int]:
    """Frames at which a pull starts and ends, the position rising from start to end; the shortest such stretch of
    those that cover most."""
    low, high = position.min(), position.max()
    at_low = np.flatnonzero(position <= low + 0.1 * (high - low))
    at_high = np.flatnonzero(position >= high - 0.1 * (high - low))
    gaps = np.abs(at_low[:, None] - at_high[None])
    i, j = np.unravel_index(np.argmin(gaps), gaps.shape)
    start, end = int(at_low[i]), int(at_high[j])
    # To the very ends, if the focus continues in the same direction.
    step = 1 if end > start else -1
    while 0 <= end + step < len(position) and position[end + step] > position[end]:
        end += step
    while 0 <= start - step < len(position) and position[start - step] < position[start]:
        start -= step
    return start, end


def _looked_at(path: Path) -> Iterator[tuple[int, float, np.ndarray]]:
    """(index, time in s, small image) of up to twice `LOOKED_AT` frames."""
    video = open_video(path)
    try:
        count, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
        rate = rate if rate > 0 else 30.0
        if count / rate > MAX_DURATION:
            raise InputError(
                f'{path}: {count / rate:.0f} s long, more than {MAX_DURATION:.0f} s; cut it to the focus pull'
            )
        step = max(1, round(count / LOOKED_AT))
        index = 0
        while video.grab():
            if index / rate > 2 * MAX_DURATION:  # the count was wrong
                raise InputError(f'{path}: longer than {MAX_DURATION:.0f} s; cut it to the focus pull')
            if index % step == 0:
                decoded, image = video.retrieve()
                if not decoded:
                    break
                yield index, index / rate, small(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index += 1
    finally:
        video.release()


def _frames(path: Path, indices: list[int]) -> list[np.ndarray]:
    """Frames, by their indices, which rise; reduced as the images of a stack are."""
    video, index = open_video(path), 0
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    factor = stack_factor([size] * len(indices))
    if line := reduction([size] * len(indices), factor):
        warn(f'{path}: {line}')
    found: list[np.ndarray] = []
    try:
        while len(found) < len(indices) and video.grab():
            if index == indices[len(found)]:
                decoded, image = video.retrieve()
                if not decoded:
                    break
                image = reduced(image, image.shape[1] // factor, image.shape[0] // factor)
                found.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            index += 1
    finally:
        video.release()
    if len(found) < len(indices):
        raise InputError(f'{path}: cannot be read as a video twice in the same way; convert it to MP4 with H.264')
    return found
