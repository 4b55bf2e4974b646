"""Stacks with truth to test on: procedural sets, and folders.

The procedural sets are of seeds and of families of textures, shapes and layouts of print that training never sees:

* `study`: the conditions of the study: static, known lens, blur scale over 15 px, textured objects before a wall.
  As in the study, the wall is not counted.
* `field`: all moves, focus breathing as the camera delivers it, noise, half of it with unknown aperture (and with
  unknown magnification), blur scale from 6 px, falling, shuffled and uneven sweeps, untextured parts.
* `real`: print, pictures, plain paint and materials on planes, boxes and other things, by cameras like real ones; the
  camera moves, and so do some of the things. `real:DIR` shows photographs of a folder instead of illustrations.
* `still`: the same scenes, but nothing moves. Sweep after sweep, the same is seen. `still:DIR` as above.
* `walls`: plain walls, tables and corners, on some of them plain sheets; nothing moves. Only pixels count of which no
  blur can tell how far they are.
* `rooms:DIR`: photographs of a folder of views (`dfd render --world`) of worlds that training never saw, through wide
  and phone lenses; nothing moves.

Only pixels whose truth lies in the swept range, and is not known to be background, count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.processing import CameraSettings
from dfd_ros.synthesis.surface_materials import SurfaceSettings

_FIRST_SEED = 2_000_000_000
_PLAIN = SurfaceSettings(
    share=1.0, prints=0.0, photos=0.0, plain=1.0, materials=0.0, grain=0.0, large_planes=1.0, lying=2, objects=(0, 0)
)
SETS: dict[str, Callable[..., StackSettings]] = {
    'study': StackSettings.study,
    'field': StackSettings.field,
    'real': partial(StackSettings.real, static=0.0),
    'still': partial(StackSettings.real, static=1.0),
    'walls': partial(StackSettings.real, static=1.0, breathing=0.0, surfaces=_PLAIN),
    'rooms': partial(StackSettings.field, static=1.0, breathing=0.0, blur_scale=(3.0, 40.0), views_share=1.0),
}
# The setting that names a set's folder of images.
_FOLDERS = {'real': 'photographs', 'still': 'photographs', 'rooms': 'views'}
_NEED_FOLDER = ('rooms',)
_REACH = 16  # px, by which what counts as plain stays away from what blur tells


def find_procedural_set(data: str) -> tuple[str, str] | None:
    """Name and folder of images ('' = none) of a text such as `real` or `real:DIR`; None for other texts."""
    name, colon, folder = data.partition(':')
    if name not in SETS or (folder and name not in _FOLDERS) or bool(colon) != bool(folder):
        return None
    if name in _NEED_FOLDER and not folder:
        raise InputError(f'--data {name}: give the folder of its views, {name}:DIR')
    return name, folder


def procedural_stacks(
    name: str, stacks: int, frames: int = 15, size: int = 256, sweep: int = 5, folder: str = ''
) -> Iterator[Sample]:
    """The first stacks of a procedural test set.

    Args:
        frames: of a stack; sweep: of a sweep across the range.
        folder: of photographs for the surfaces, or of views, for the sets that take some.

    Raises:
        InputError: no set of that name; nothing of use in that folder.
    """
    if name not in SETS:
        raise InputError(f'no test set "{name}": choose one of {", ".join(SETS)}, or a folder of focal stacks')
    settings = SETS[name](
        split='test',
        frames=frames,
        ramp=(sweep, sweep),
        height=size,
        width=size,
        breathing_residual=None,
        **({_FOLDERS[name]: folder} if folder else {}),
    )
    for seed in range(_FIRST_SEED, _FIRST_SEED + stacks):
        sample = to_sample(render_stack(seed, settings), f'{name} {seed}')
        if name == 'walls':
            told = np.broadcast_to(_told_by_blur(seed, settings), sample.depth.shape)
            sample = replace(sample, background=told)
        yield sample if name in ('study', 'walls') else replace(sample, background=None)


def _told_by_blur(seed: int, settings: StackSettings) -> np.ndarray:
    """(H, W) bool: where the frames of a sweep would differ if the camera had no noise, and `_REACH` around. All else
    looks the same at every focus. For stacks in which nothing moves."""
    noiseless = replace(
        settings,
        frames=settings.ramp[1],
        exposure=0.0,
        shot=(1e-12, 1e-12),
        read=(1e-12, 1e-12),
        sharpening=0.0,
        jpeg=0.0,
        camera=CameraSettings(),
    )
    images = render_stack(seed, noiseless).images[0].int()
    differ = (images.amax(0) - images.amin(0)).amax(0) > 1  # more than rounding makes
    side = 2 * _REACH + 1
    return cv2.dilate(differ.numpy().astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def folder_stacks(folder: Path) -> Iterator[Sample]:
    """The stacks of `stored_stacks`, each with the range that its focus sweeps as that of its lens.

    Raises:
        InputError: there are none; every frame of one has the same focus.
    """
    for stack in stored_stacks(folder):
        sample = stack.read()
        range_ = sample.range
        yield replace(
            sample, lens_states=[replace(state, near=range_.near, far=range_.far) for state in sample.lens_states]
        )


def counted(sample: Sample, index: int) -> np.ndarray:
    """(H, W) bool: the pixels of a frame that count."""
    range_, depth = sample.lens_states[0].range or sample.range, sample.depth[index].astype(np.float64)
    with np.errstate(invalid='ignore'):
        inside = np.isfinite(depth) & (depth >= range_.near) & (depth <= range_.far)
    return inside if sample.background is None else inside & ~sample.background[index]
