"""Test stacks with ground truth: procedural sets, and folders.

The procedural sets have seeds and families of textures, shapes and print layouts that training never sees:

* `study`: the conditions of the study: no motion, a known lens, a blur scale over 15 px, textured objects in front of
  a wall. As in the study, the wall does not count.
* `field`: camera and objects move; uncorrected focus breathing; noise; aperture and magnification are unknown in half
  of the stacks; blur scale from 6 px; falling, shuffled and uneven sweeps; untextured parts.
* `real`: print, pictures, plain paint and materials on planes, boxes and other things, taken by realistic cameras. The
  camera and some of the things move. `real:DIR` shows photographs of a folder instead of illustrations.
* `still`: the same scenes without motion, so every sweep shows the same. `still:DIR` as above.
* `walls`: plain walls, tables and corners, some with plain sheets, without motion. Only pixels whose depth no blur
  reveals count.
* `rooms:DIR`: photographs of a folder of views (`dfd render --world`) of worlds that training never saw, through wide
  and phone lenses, without motion.

Only pixels count whose ground truth is in the swept range, and that are not known to be background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.datasets.stored_stacks import StoredStack
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.processing import CameraSettings
from dfd_ros.synthesis.surface_materials import SurfaceSettings

_FIRST_SEED = 2_000_000_000
_PLAIN = SurfaceSettings(share=1.0, grain=0.0).bared()
SETS: dict[str, Callable[..., StackSettings]] = {
    'study': StackSettings.study,
    'field': StackSettings.field,
    'real': partial(StackSettings.real, static=0.0),
    'still': partial(StackSettings.real, static=1.0),
    'walls': partial(StackSettings.real, static=1.0, breathing=0.0, surfaces=_PLAIN),
    'rooms': partial(StackSettings.field, static=1.0, breathing=0.0, blur_scale=(3.0, 40.0), views_share=1.0),
}
# The setting for the image folder of a set.
_FOLDERS = {'real': 'photographs', 'still': 'photographs', 'rooms': 'views'}
_NEED_FOLDER = ('rooms',)
_REACH = 16  # px, minimum distance of counted plain pixels to visible blur


def find_procedural_set(data: str) -> tuple[str, str] | None:
    """Parse `real` or `real:DIR` to the name and image folder ('' = none) of a set; None for other texts."""
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
        frames: frames of a stack; sweep: frames of a sweep across the range.
        folder: of photographs for surfaces, or of views, for the sets that take one.

    Raises:
        InputError: the set does not exist, or the folder has no usable images.
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
            visible = np.broadcast_to(_visible_blur(seed, settings), sample.depth.shape)
            sample = replace(sample, background=visible)
        yield sample if name in ('study', 'walls') else replace(sample, background=None)


def _visible_blur(seed: int, settings: StackSettings) -> np.ndarray:
    """(H, W) bool: pixels within `_REACH` of those where the frames of a noiseless sweep differ. All other pixels look
    the same at every focus. For stacks without motion."""
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
    differ = (images.amax(0) - images.amin(0)).amax(0) > 1  # more than rounding
    side = 2 * _REACH + 1
    return cv2.dilate(differ.numpy().astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def folder_stacks(stored: list[StoredStack]) -> Iterator[Sample]:
    """The stacks, with the swept range as the range of the lens.

    Raises:
        InputError: one cannot be read, or all its frames have the same focus.
    """
    for stack in stored:
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
