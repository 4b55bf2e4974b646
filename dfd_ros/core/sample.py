"""The type of focal stacks with ground truth: from renderers and recordings, for training and evaluation.

`dfd_ros.datasets.shards` reads and writes it. This module does not need torch, which rendering processes do not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack, swept_range
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange

TRUTH = {
    'depth': (np.float32, ()),
    'background': (np.bool_, ()),
    'coc': (np.float32, ()),
    'flow': (np.float16, (2,)),
    'all_in_focus': (np.uint8, (3,)),
}
"""Type and last axes of the ground truth."""


@dataclass
class Sample:
    """One focal stack of T frames with truth for each of them. None = not known.

    Attributes:
        images: (T, H, W, 3) uint8 RGB.
        lens_states: of each frame.
        depth: (T, H, W) float32 or float64 m along the optical axis, in the view of each frame; NaN = none, infinity
            allowed.
        background: (T, H, W) bool, the wall or anything else that is not an object.
        coc: (T, H, W) float32 px, diameter of the circle of confusion, without sign.
        flow: (T - 1, H, W, 2) float16 px, (x, y) from where a point is in frame t to where it is in frame t + 1.
        all_in_focus: (T, H, W, 3) uint8 RGB, as with a pinhole.
        intrinsics: (fx, fy, cx, cy) in px at magnification 1, pixel centres at whole numbers.
        poses: (T, 4, 4) camera to world, x right, y down, z forward, m.
        source: its origin.
        seed: of random data.
        about: other information, as JSON values.
    """

    images: np.ndarray
    lens_states: list[LensState]
    depth: np.ndarray
    background: np.ndarray | None = None
    coc: np.ndarray | None = None
    flow: np.ndarray | None = None
    all_in_focus: np.ndarray | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    poses: np.ndarray | None = None
    source: str = ''
    seed: int | None = None
    about: dict = field(default_factory=dict)
    name: str = 'sample'
    """For messages: the shard and the key it was read from."""

    def __post_init__(self):
        """Raises `InputError` where the parts do not fit together."""
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8 or not len(self):
            raise InputError(
                f'{self.name}: images of {self.images.dtype} {self.images.shape}, must be uint8 '
                '(frames, height, width, 3)'
            )
        if len(self.lens_states) != len(self):
            raise InputError(f'{self.name}: {len(self)} images, but {len(self.lens_states)} lens states')
        for name, (_, last) in TRUTH.items():
            value = getattr(self, name)
            expected = (len(self) - (name == 'flow'), *self.images.shape[1:3], *last)
            if value is not None and value.shape != expected:
                raise InputError(f'{self.name}: {name} of {value.shape}, must be {expected} as the images are')
        if self.poses is not None and self.poses.shape != (len(self), 4, 4):
            raise InputError(f'{self.name}: poses of {self.poses.shape}, must be {(len(self), 4, 4)}')
        if self.intrinsics is not None and len(self.intrinsics) != 4:
            raise InputError(f'{self.name}: intrinsics must be fx, fy, cx and cy')

    def __len__(self) -> int:
        return len(self.images)

    @property
    def range(self) -> VergenceRange:
        """From the nearest to the farthest focus distance. Raises `InputError` if all are equal."""
        return swept_range(self.lens_states, self.name)

    @classmethod
    def from_focal_stack(cls, stack: FocalStack, source: str = 'focal stack', **rest) -> Sample:
        """A focal stack as it is; its true depth is that of the last frame, the others have none."""
        images = np.stack(stack.images)
        depth = np.full(images.shape[:3], np.nan, np.float32)
        if stack.depth is not None:
            depth[-1] = stack.depth
        return cls(images, list(stack.lens_states), depth, source=source, name=stack.name, **rest)

    def to_focal_stack(self) -> FocalStack:
        """As a focal stack, with the true depth of the last frame."""
        return FocalStack(list(self.images), list(self.lens_states), self.depth[-1], self.name)
