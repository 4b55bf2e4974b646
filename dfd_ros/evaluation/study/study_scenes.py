"""What the study trains on and is measured on: stacks of a few frames whose focus rises.

As in the study: 20 to 30 textured objects before a wall that does not count, one lens, nothing moves. Sizes of objects
are shares of the image's side:

* `small`: small objects alone;
* `large`: small and large ones; training draws from these;
* `moving`: as `large`, but camera and objects move between the frames. No network is trained on motion;
* `seen`: as `large`, but with the families of textures and shapes that training has. All other sets have families of
  their own, and all have seeds of their own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack, stacks_with_depth
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import Samples
from dfd_ros.synthesis.procedural import StackBatch, StackSettings, render_stack

SETS = ('small', 'large', 'moving', 'seen')
FRAMES = 4
"""Of a stack, where a study is not told otherwise."""
OBJECTS = (20, 30)
SMALL, SMALL_AND_LARGE = (0.03, 0.10), (0.03, 0.35)
_FIRST_SEED = 3_000_000_000


def stack_settings(name: str, size: int, frames: int = FRAMES) -> StackSettings:
    """Of the set `small`, `large`, `moving` or `seen`, or of `training`. size: side of the images (px)."""
    settings = StackSettings.study(split='train' if name in ('training', 'seen') else 'test', frames=frames,
                                   ramp=(frames, frames), height=size, width=size)
    scene = replace(settings.scene, objects=OBJECTS, radius=SMALL if name == 'small' else SMALL_AND_LARGE)
    if name == 'moving':
        settings = replace(settings, static=0.0, travel=2.0)
        scene = replace(scene, moving=0.7, speed=3.0)
    if name == 'training':
        # Real lenses are not always known: a network that reads the blur scale has to manage without.
        settings = replace(settings, unknown_aperture=0.3)
    return replace(settings, scene=scene)


def stack_size(crop: int) -> int:
    """Side (px) of the images that crops are taken from: a quarter more."""
    return crop + crop // 4


@dataclass
class TestScene:
    """One stack, with the truth for the view of its last frame.

    Attributes:
        images: (1, T, 3, H, W) uint8; focus: (1, T) v, rising; blur_scale: (1,) px, NaN = unknown.
        vergence: (H, W) u, truth; NaN where there is none.
        counted: (H, W) bool, pixels that count.
        range: of u.
        name: for messages.
    """

    images: torch.Tensor
    focus: torch.Tensor
    blur_scale: torch.Tensor
    vergence: torch.Tensor
    counted: torch.Tensor
    range: VergenceRange
    name: str = 'procedural scene'

    __test__ = False  # not a test case, whatever its name says to pytest

    def frame(self, index: int, device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(image (1, 3, H, W) in 0..1, focus (1,), blur scale (1,)), as networks read it."""
        return (self.images[:, index].to(device).float() / 255, self.focus[:, index].to(device),
                self.blur_scale.to(device))


def procedural_scenes(name: str, count: int, crop: int, device='cpu', frames: int = FRAMES) -> Iterator[TestScene]:
    """The first scenes of a set, each of so many frames of crop x crop px."""
    size = stack_size(crop)
    settings, first = stack_settings(name, size, frames), (size - crop) // 2
    area = (..., slice(first, first + crop), slice(first, first + crop))
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        batch = render_stack(seed, settings, device).to('cpu')
        u = batch.vergence[0, -1, 0][area]
        yield TestScene(batch.images[area], batch.focus, batch.blur_scale, u,
                        (u >= 0) & (u <= 1) & batch.foreground[0, -1, 0][area], batch.ranges()[0])


def folder_scene(folder: Path, size: int | None = None, frames: int = FRAMES) -> TestScene:
    """The focal stack in a folder, see `stack_scene`.

    Raises:
        InputError: it cannot be read, has too few frames or is smaller than that; its true depth, that of its last
            frame, is not of the frame that is read last.
    """
    stack = FocalStack.read(folder)
    if stack.depth is not None and frames_read(stack, frames)[-1] != len(stack) - 1:
        raise InputError(f'{folder}: its true depth is that of its last frame, but of all frames the study reads that '
                         'of the nearest focus last; give stacks whose focus rises, or shards, which have the truth of '
                         'every frame')
    return stack_scene(stack, size, frames)


def sample_scene(sample: Sample, size: int | None = None, frames: int = FRAMES) -> TestScene:
    """A sample, see `stack_scene`, with the truth of the frame that is read last; what is known to be background does
    not count.

    Raises:
        InputError: it has too few frames or is smaller than that; it has no truth of that frame.
    """
    stack = sample.to_focal_stack()
    last = frames_read(stack, frames)[-1]
    if not np.isfinite(sample.depth[last]).any() and np.isfinite(sample.depth).any():
        raise InputError(f'{sample.name}: no true depth of frame {last}, which the study reads last as it has the '
                         'nearest focus')
    stack.depth = sample.depth[last]
    if sample.background is not None:
        stack.depth = np.where(sample.background[last], np.nan, stack.depth)
    return stack_scene(stack, size, frames)


def frames_read(stack: FocalStack, frames: int = FRAMES) -> list[int]:
    """So many frames, those whose focus is nearest to even steps of vergence from the stack's farthest to its nearest
    one; of several ramps those of the last.

    Raises:
        InputError: it has too few.
    """
    if len(stack) < frames:
        raise InputError(f'{stack.name}: has {len(stack)} frames, the study reads {frames}')
    range_ = stack.range
    v = [range_.normalise(state.focus_distance) for state in stack.lens_states]
    chosen = [min(reversed(range(len(v))), key=lambda i, at=at: abs(v[i] - at / (frames - 1))) for at in range(frames)]
    if len(set(chosen)) < frames:
        raise InputError(f'{stack.name}: its focus distances are too uneven to choose {frames} frames from')
    return chosen


def stack_scene(stack: FocalStack, size: int | None = None, frames: int = FRAMES) -> TestScene:
    """A real or rendered focal stack, whose true depth is that of the frame that is read last. Of its frames those
    of `frames_read` are taken: networks that read a fixed number of frames get no other choice, and all networks the
    same frames.

    Args:
        size: what is read is the square in the middle, reduced to this side (px), as some networks are built for one
            size; None = all of it, as it is.

    Raises:
        InputError: it has too few frames or is smaller than that.
    """
    chosen, range_ = frames_read(stack, frames), stack.range
    v = [range_.normalise(state.focus_distance) for state in stack.lens_states]
    images = torch.stack([torch.tensor(stack.images[i]).permute(2, 0, 1) for i in chosen])[None]
    height, width = images.shape[-2:]
    u = (torch.full((height, width), math.nan) if stack.depth is None
         else torch.from_numpy(range_.normalise(stack.depth.astype('float64'))).float())
    blur_scale = torch.tensor([stack.lens_states[0].lens.blur_scale(range_)], dtype=torch.float32)
    scene = TestScene(images, torch.tensor([[v[i] for i in chosen]], dtype=torch.float32), blur_scale, u,
                      (u >= 0) & (u <= 1), range_, stack.name)
    return scene if size is None else _reduced(scene, size)


def _reduced(scene: TestScene, size: int) -> TestScene:
    """The square in the middle, with sides of `size` px.

    Raises:
        InputError: it is smaller than that.
    """
    height, width = scene.images.shape[-2:]
    side = min(height, width)
    if side < size:
        raise InputError(f'{scene.name}: images of {width}x{height}, smaller than the {size}x{size} of this study')
    top, left = (height - side) // 2, (width - side) // 2
    area = (..., slice(top, top + side), slice(left, left + side))
    images = F.interpolate(scene.images[area][0].float(), (size, size), mode='bilinear', antialias=True)
    images = images.round().clamp(0, 255).to(torch.uint8)[None]
    u = F.interpolate(scene.vergence[area][None, None], (size, size), mode='nearest-exact')[0, 0]
    return replace(scene, images=images, blur_scale=scene.blur_scale * (size / side), vergence=u,
                   counted=(u >= 0) & (u <= 1))


class StoredStack(NamedTuple):
    """A stack in a folder: its name there, and what reads it at a size and a number of frames, see `stack_scene`."""

    name: str
    read: Callable[..., TestScene]


def stacks_in(folder: str | Path) -> list[StoredStack]:
    """All samples in the shards below a folder, or, where there are no shards, all focal-stack folders with true depth.

    Raises:
        InputError: there are none.
    """
    folder = Path(folder)
    if any(folder.glob('**/*.tar')):
        samples = Samples(folder)
        return [StoredStack(name, lambda size=None, frames=FRAMES, i=i: sample_scene(samples[i], size, frames))
                for i, name in enumerate(samples.names)]
    paths = stacks_with_depth(folder)
    if not paths:
        raise InputError(f'{folder}: no shard (*.tar) and no focal stack (a stack.yaml that names depth) in it')
    return [StoredStack(str(path.relative_to(folder)), partial(folder_scene, path)) for path in paths]


def fingerprint(stacks: Iterable[StoredStack]) -> str:
    """Which stacks these are: how many, and a hash of their names."""
    names = [stack.name for stack in stacks]
    digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()
    return f'{len(names)} ({digest[:12]})'


def training_stack(scene: TestScene, crop: int) -> StackBatch:
    """One of `stacks_in` as a stack to train on; nothing in it moves, and pixels without depth do not count. What is
    larger than procedural images of the same crops is reduced to their size: scenes of a test are reduced too, and
    blur is to measure about as many pixels in both.

    Raises:
        InputError: it is smaller than the crops, or says too little of its lens.
    """
    height, width = scene.images.shape[-2:]
    if min(height, width) < crop:
        raise InputError(f'{scene.name}: images of {width}x{height}, smaller than the crops of {crop}x{crop}')
    if scene.blur_scale.isnan().any():
        raise InputError(f'{scene.name}: training needs the focal length, f-number and sensor width of the lens in '
                         'its stack.yaml')
    if min(height, width) > stack_size(crop):
        scene = _reduced(scene, stack_size(crop))
    frames = scene.images.shape[1]
    counted = scene.counted.expand(1, frames, 1, -1, -1)
    vergence = scene.vergence.nan_to_num(0).expand(1, frames, 1, -1, -1)
    unknown = {name: torch.full((1,), math.nan) for name in ('focal_length', 'f_number', 'pixel_pitch')}
    return StackBatch(
        images=scene.images, focus=scene.focus, blur_scale=scene.blur_scale, vergence=vergence,
        blur=scene.blur_scale[:, None].expand(1, frames), foreground=counted, near=torch.tensor([scene.range.near]),
        far=torch.tensor([scene.range.far]), magnification=torch.ones(1, frames), **unknown)
