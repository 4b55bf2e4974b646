"""What `dfd view` opens: focal stacks, samples of shards, bags, and results of `dfd estimate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfd_ros.core.array_files import read_array
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_json
from dfd_ros.core.focal_stack import swept_range
from dfd_ros.core.image_io import read_image
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.photographs import read_focal_stack
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

RESULT, RELATIVE_RESULT, SUMMARY = 'depth.npy', 'relative_depth.npy', 'summary.json'
KINDS = (
    'a focal stack (stack.yaml, photographs, a video, a TIFF file), a shard (.tar), a bag (.mcap, .db3), or results of '
    'dfd estimate (depth.npy)'
)


@dataclass(frozen=True)
class Shot:
    """A frame as a camera takes it."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    lens_state: LensState
    camera: Pinhole


@dataclass(frozen=True)
class FocalScene:
    """A scene that can be focused anywhere: the frames of a stack."""

    shots: list[Shot]
    range: VergenceRange
    """What the frames cover."""


@dataclass(frozen=True)
class StreamScene:
    """A recorded stream, which can only be played."""

    shots: Callable[[], Iterator[Shot]]
    """From the start."""


@dataclass(frozen=True)
class ResultScene:
    """Results, with nothing left to estimate."""

    frame: ViewedFrame


Scene = FocalScene | StreamScene | ResultScene


@dataclass(frozen=True)
class Recorded:
    """A file or folder that has been opened."""

    title: str
    scenes: list[str]
    """Names, one at least."""
    open: Callable[[int], Scene]
    """Reads a scene. Raises InputError."""


def recorded(path: Path, topics: dict[str, str] | None = None) -> Recorded:
    """Opens a focal stack, a shard, a folder of either, a bag, or results of `dfd estimate`.

    topics: names of topics of a bag, by `image` and `lens_state`; empty = found by their types.

    Raises:
        InputError: there is nothing of that kind, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f'{path}: no such file or folder; give {KINDS}')
    if path.suffix == '.tar':
        return _samples(path)
    if path.name == 'stack.yaml':
        path = path.parent
    if path.is_dir():
        if (path / 'stack.yaml').exists():
            return Recorded(_name(path), [_name(path)], lambda _: _scene_of_stack(path))
        if (path / RESULT).exists():
            return Recorded(_name(path), [_name(path)], lambda _: ResultScene(_result(path)))
        if (path / RELATIVE_RESULT).exists():
            raise InputError(f'{path / RELATIVE_RESULT}: relative depth, there are no distances to view')
        stacks = sorted(found.parent for found in path.glob('*/stack.yaml'))
        if stacks:
            return Recorded(_name(path), [stack.name for stack in stacks], lambda i: _scene_of_stack(stacks[i]))
        if any(path.glob('**/*.tar')):
            return _samples(path)
        if (path / 'demo.mp4').exists():
            raise InputError(f'{path}: nothing to view but pictures and a video, demo.mp4; give {KINDS}')
    from dfd_ros.bags import bag_reader

    files = path.iterdir() if path.is_dir() else [path]
    if any(file.name.endswith(bag_reader.SUFFIXES) for file in files):
        from dfd_ros.viewing.bag_frames import BagFrames

        frames = BagFrames(path, **(topics or {}))
        return Recorded(_name(path), [_name(path)], lambda _: StreamScene(frames.shots))
    return Recorded(_name(path), [_name(path)], lambda _: _scene_of_stack(path))


def _name(path: Path) -> str:
    return path.resolve().name


def _samples(path: Path) -> Recorded:
    from dfd_ros.datasets.shards import Samples

    samples = Samples(path, truth=())
    if not len(samples):
        raise InputError(f'{path}: there is no sample in it')

    def scene(index: int) -> Scene:
        sample = samples[index]
        return focal_scene(list(sample.images), sample.lens_states, sample.intrinsics, sample.name)

    return Recorded(_name(path), samples.names, scene)


def _scene_of_stack(path: Path) -> FocalScene:
    stack = read_focal_stack(path)
    if not stack.is_metric:
        raise InputError(
            f'{path}: no focus distances, so there are no distances to view: give them in a stack.yaml '
            '(dfd stack init), or use dfd estimate, which gives relative depth'
        )
    return focal_scene(stack.images, stack.lens_states, None, stack.name)


def focal_scene(
    images: list[np.ndarray],
    lens_states: list[LensState],
    intrinsics: tuple[float, float, float, float] | None,
    name: str,
) -> FocalScene:
    """The scene of a stack. intrinsics: fx, fy, cx, cy (px) at magnification 1; None = those of the lens, if known.

    Raises:
        InputError: all frames are at one focus.
    """
    range_ = swept_range(lens_states, name)
    shots = [
        # Frames of a stack are one stream, however far apart they were taken.
        Shot(image, replace(state, stamp=math.nan), _pinhole(image, state, intrinsics))
        for image, state in zip(images, lens_states)
    ]
    return FocalScene(shots, range_)


def _pinhole(image: np.ndarray, state: LensState, intrinsics: tuple[float, float, float, float] | None) -> Pinhole:
    if intrinsics is None:
        return Pinhole.of_lens(image.shape[0], image.shape[1], state)
    fx, fy, cx, cy = intrinsics
    zoom = 1.0 if math.isnan(state.magnification) else state.magnification
    return Pinhole(fx * zoom, fy * zoom, cx, cy)


def _result(folder: Path) -> ViewedFrame:
    """The results of dfd estimate."""
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else {}
    depth = _map(folder / RESULT)
    confidence = _map(folder / 'confidence.npy', depth.shape) if (folder / 'confidence.npy').exists() else None
    image = (
        read_image(folder / 'all_in_focus.png')
        if (folder / 'all_in_focus.png').exists()
        else np.full((*depth.shape, 3), 128, np.uint8)
    )
    if image.shape[:2] != depth.shape:
        raise InputError(
            f'{folder / "all_in_focus.png"}: {image.shape[1]}x{image.shape[0]} pixels, but {RESULT} has '
            f'{depth.shape[1]}x{depth.shape[0]}'
        )
    known = depth[np.isfinite(depth) & (depth > 0)]
    if not known.size:
        raise InputError(f'{folder / RESULT}: no depth is known in it')
    return ViewedFrame(
        image,
        _camera_of(summary, (depth.shape[0], depth.shape[1])),
        range=_range_of(summary, known),
        depth=depth,
        coc=_last_map(folder / 'coc.npy', depth.shape),
        confidence=confidence,
        all_in_focus=image,
    )


def _map(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind != 'f' or (shape is not None and array.shape != shape):
        wanted = 'float32 (height, width)' if shape is None else f'float32 {shape} as {RESULT} is'
        raise InputError(f'{path}: {array.dtype} {array.shape}, must be {wanted}')
    return array.astype(np.float32)


def _last_map(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The last of (frames, H, W); None if there is no such file."""
    if not path.exists():
        return None
    array = read_array(path)
    if array.ndim != 3 or not len(array) or array.shape[1:] != shape or array.dtype.kind != 'f':
        raise InputError(f'{path}: {array.dtype} {array.shape}, must be float32 (frames, {shape[0]}, {shape[1]})')
    return array[-1].astype(np.float32)


def _range_of(summary: Any, depth: np.ndarray) -> VergenceRange:
    """The range in the summary; otherwise that of the depth, without a hundredth of the pixels at either end."""
    try:
        return VergenceRange(float(summary['range_m']['near']), float(summary['range_m']['far']))
    except (KeyError, TypeError, ValueError):
        near, far = (float(value) for value in np.quantile(depth, (0.01, 0.99)))
        return VergenceRange(near, max(far, 1.05 * near))


def _camera_of(summary: Any, shape: tuple[int, int]) -> Pinhole:
    try:
        lens = summary['lens']
        state = LensState(
            math.inf, float(lens['focal_length_mm']) * 1e-3, pixel_pitch=float(lens['pixel_pitch_um']) * 1e-6
        ).checked(SUMMARY)
    except (KeyError, TypeError, ValueError):
        return Pinhole.assumed(*shape)
    return Pinhole.of_lens(*shape, state)
