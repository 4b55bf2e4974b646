"""The random part of a stack that a training sequence shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from dfd_ros.datasets.stored_sample import Area
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training.config import Stage, TrainingConfig


def integer(rng: torch.Generator, below: int) -> int:
    """A random integer from 0 to `below` - 1; 0 if there is none."""
    return int(torch.randint(max(below, 1), (), generator=rng))


@dataclass(frozen=True)
class Cut:
    """Consecutive frames, in either direction, of a crop that may be halved, and is flipped and rotated.

    Attributes:
        frames: of the stack, in the order of reading; back and forth if the stack has fewer than the sequence.
        area: of the stack's images.
        halved: whether that is twice as wide as the crop.
        backwards: whether the frames are then reversed.
        flips: axes that are mirrored.
        turned: whether rows and columns are swapped.
        channels: order of the colours.
    """

    frames: list[int]
    area: Area
    halved: bool
    backwards: bool
    flips: list[int]
    turned: bool
    channels: list[int]

    @staticmethod
    def draw(frames: int, height: int, width: int, stage: Stage, config: TrainingConfig, rng: torch.Generator) -> Cut:
        """A random cut of stacks of this size."""
        shown = _frames(frames, stage.frames, rng)
        halved = torch.rand((), generator=rng).item() < config.half_size and min(height, width) >= 2 * stage.crop
        wide = 2 * stage.crop if halved else stage.crop
        top, left = (integer(rng, n - wide + 1) for n in (height, width))
        return Cut(
            shown.tolist(),
            Area(top, left, wide, wide),
            halved,
            bool(integer(rng, 2)) and config.reverse,
            [axis for axis in (-1, -2) if integer(rng, 2)],
            bool(integer(rng, 2)),
            torch.randperm(3, generator=rng).tolist(),
        )

    def of(self, stack: StackBatch, config: TrainingConfig) -> StackBatch:
        """This cut of a stack (B = 1)."""
        area = (..., *self.area.slices)
        return self.arranged(
            replace(
                stack,
                images=stack.images[area][:, self.frames],
                vergence=stack.vergence[area][:, self.frames],
                foreground=stack.foreground[area][:, self.frames],
                focus=stack.focus[:, self.frames],
                blur=stack.blur[:, self.frames],
                magnification=stack.magnification[:, self.frames],
            ),
            config,
        )

    def arranged(self, part: StackBatch, config: TrainingConfig) -> StackBatch:
        """This cut of a stack of which only `frames` and `area` were read."""
        images, foreground = part.images.float() / 255, part.foreground
        vergence = counted(part.vergence.float(), foreground, config)
        blur, blur_scale = part.blur, part.blur_scale
        if self.halved:
            images = F.avg_pool2d(images[0], 2)[None]
            vergence, foreground = vergence[..., ::2, ::2], foreground[..., ::2, ::2]
            blur, blur_scale = blur / 2, blur_scale / 2
        rows = [part.focus, blur, part.magnification]
        maps = [images, vergence, foreground]
        if self.backwards:
            rows, maps = ([a.flip(1) for a in parts] for parts in (rows, maps))
        maps = [a.flip(self.flips) for a in maps]
        if self.turned:
            maps = [a.transpose(-1, -2) for a in maps]
        (focus, blur, magnification), (images, vergence, foreground) = rows, maps
        return replace(
            part,
            images=images[:, :, self.channels],
            focus=focus,
            blur_scale=blur_scale,
            vergence=vergence,
            blur=blur,
            foreground=foreground,
            magnification=magnification,
        )


def counted(vergence: torch.Tensor, foreground: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """The true vergence, NaN for pixels that do not count: the wall, if it is masked out. All of one shape."""
    return torch.where(foreground, vergence, torch.nan) if config.mask_wall else vergence


def _frames(available: int, wanted: int, rng: torch.Generator) -> torch.Tensor:
    """Indices of random consecutive frames of a stack, going back and forth if more are wanted than available."""
    if wanted <= available:
        return integer(rng, available - wanted + 1) + torch.arange(wanted)
    period = max(2 * available - 2, 1)
    position = (integer(rng, period) + torch.arange(wanted)) % period
    return torch.minimum(position, period - position)
