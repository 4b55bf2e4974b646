"""What `dfd view` opens: focal stacks, samples of shards, bags, results of `dfd estimate`, and training runs."""

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
from dfd_ros.viewing.training_run import TrainingRun, is_run
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

RESULTS, SUMMARY = ('depth.npy', 'relative_depth.npy'), 'summary.json'
WHOLE = VergenceRange(1.0, math.inf)  # what the stand-ins of `relative_lens_states` cover
KINDS = (
    'a focal stack (stack.yaml, photographs, a video, a TIFF file), a shard (.tar), a bag (.mcap, .db3), results of '
    'dfd estimate (depth.npy), or a training run (log.jsonl)'
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
    is_metric: bool = True
    """See `FocalStack.is_metric`."""


@dataclass(frozen=True)
class StreamScene:
    """A recorded stream, which can only be played."""

    shots: Callable[[], Iterator[Shot]]
    """From the start."""
    is_metric = True


@dataclass(frozen=True)
class ResultScene:
    """Results, with nothing left to estimate."""

    frame: ViewedFrame

    @property
    def is_metric(self) -> bool:
        """See `ViewedFrame.is_metric`."""
        return self.frame.is_metric


Scene = FocalScene | StreamScene | ResultScene


@dataclass(frozen=True)
class Recorded:
    """A file or folder that has been opened."""

    title: str
    scenes: list[str]
    """Names, one at least."""
    open: Callable[[int], Scene]
    """Reads a scene. Raises InputError."""
    run: TrainingRun | None = None
    """The training run that the scenes belong to."""


def recorded(path: Path, topics: dict[str, str] | None = None) -> Recorded:
    """Opens a focal stack, a shard, a folder of either, a bag, results of `dfd estimate`, or a training run.

    topics: names of topics of a bag, by `image` and `lens_state`; empty = found by their types.

    Raises:
        InputError: there is nothing of that kind, or it cannot be read, or topics are named and it is no bag.
    """
    if not path.exists():
        raise InputError(f'{path}: no such file or folder; give {KINDS}')
    if any((topics or {}).values()):
        return _bag(path, topics or {})
    if path.suffix == '.tar':
        return _samples(path)
    if path.name == 'stack.yaml':
        path = path.parent
    if path.is_dir():
        if is_run(path):
            return _run(path)
        if (path / 'stack.yaml').exists():
            return Recorded(_name(path), [_name(path)], lambda _: _scene_of_stack(path))
        if result := next((path / name for name in RESULTS if (path / name).exists()), None):
            return Recorded(_name(path), [_name(path)], lambda _: ResultScene(_result(result)))
        stacks = sorted(found.parent for found in path.glob('*/stack.yaml'))
        if stacks:
            return Recorded(_name(path), [stack.name for stack in stacks], lambda i: _scene_of_stack(stacks[i]))
        if any(path.glob('**/*.tar')):
            return _samples(path)
        if (path / 'demo.mp4').exists():
            raise InputError(f'{path}: nothing to view but pictures and a video, demo.mp4; give {KINDS}')
    from dfd_ros.bags.bag_files import is_bag

    if is_bag(path):
        return _bag(path, {})
    return Recorded(_name(path), [_name(path)], lambda _: _scene_of_stack(path))


def _name(path: Path) -> str:
    return path.resolve().name


def _bag(path: Path, topics: dict[str, str]) -> Recorded:
    from dfd_ros.bags.bag_files import is_bag
    from dfd_ros.viewing.bag_frames import BagFrames

    if not is_bag(path):
        raise InputError(f'{path}: is no bag (.mcap, .db3), and only bags have topics')
    frames = BagFrames(path, **topics)
    return Recorded(_name(path), [_name(path)], lambda _: StreamScene(frames.shots))


def _samples(path: Path) -> Recorded:
    from dfd_ros.datasets.shards import Samples

    samples = Samples(path, truth=())
    if not len(samples):
        raise InputError(f'{path}: there is no sample in it')

    def scene(index: int) -> Scene:
        sample = samples[index]
        return focal_scene(list(sample.images), sample.lens_states, sample.intrinsics, sample.name)

    return Recorded(_name(path), samples.names, scene)


def _run(path: Path) -> Recorded:
    """What the run was trained on, else the stacks that were rendered for its validation."""
    from dfd_ros.datasets.stack_batch import to_sample
    from dfd_ros.datasets.stack_files import number_of_stacks, read_stacks

    run = TrainingRun(path)
    if run.data is not None and run.data.exists():
        return replace(recorded(run.data), title=_name(path), run=run)
    stacks = [(file, i) for file in run.kept for i in range(number_of_stacks(file))]
    if not stacks:
        nothing = ViewedFrame(
            np.full((3, 4, 3), 128, np.uint8),
            Pinhole.assumed(3, 4),
            range=WHOLE,
            note=f'no stack of this run is on this machine; dfd view STACK --weights {run.weights} shows another one',
            is_metric=False,
        )
        return Recorded(_name(path), [_name(path)], lambda _: ResultScene(nothing), run)

    def scene(index: int) -> Scene:
        file, i = stacks[index]
        sample = to_sample(read_stacks(file)[i : i + 1], file.stem)
        return focal_scene(list(sample.images), sample.lens_states, None, sample.name)

    return Recorded(_name(path), [f'{file.stem} {i}' for file, i in stacks], scene, run)


def _scene_of_stack(path: Path) -> FocalScene:
    stack = read_focal_stack(path)
    return replace(focal_scene(stack.images, stack.lens_states, None, stack.name), is_metric=stack.is_metric)


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


def _result(path: Path) -> ViewedFrame:
    """The results of dfd estimate. path: one of `RESULTS`."""
    folder, is_metric = path.parent, path.name == RESULTS[0]
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else {}
    # The file of relative depth has 0 at the farthest focus, 1 at the nearest.
    depth = _map(path) if is_metric else WHOLE.denormalise(_map(path))
    confidence = _map(folder / 'confidence.npy', depth.shape) if (folder / 'confidence.npy').exists() else None
    image = (
        read_image(folder / 'all_in_focus.png')
        if (folder / 'all_in_focus.png').exists()
        else np.full((*depth.shape, 3), 128, np.uint8)
    )
    if image.shape[:2] != depth.shape:
        raise InputError(
            f'{folder / "all_in_focus.png"}: {image.shape[1]}x{image.shape[0]} pixels, but {path.name} has '
            f'{depth.shape[1]}x{depth.shape[0]}'
        )
    known = depth[np.isfinite(depth) & (depth > 0)]
    if not known.size:
        raise InputError(f'{path}: no depth is known in it')
    return ViewedFrame(
        image,
        _camera_of(summary, (depth.shape[0], depth.shape[1])),
        range=_range_of(summary, known) if is_metric else WHOLE,
        depth=depth,
        coc=_last_map(folder / 'coc.npy', depth.shape),
        confidence=confidence,
        all_in_focus=image,
        is_metric=is_metric,
    )


def _map(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind != 'f' or (shape is not None and array.shape != shape):
        wanted = 'float32 (height, width)' if shape is None else f'float32 {shape} as the depth is'
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
