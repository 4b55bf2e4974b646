"""Training sequences: the data of a step, which depends only on the step.

A torch DataLoader would not make this shorter: rendering is the cost, its workers would still need the pool to share
stacks across steps and runs, and progress and interruption would have to wait for its queue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F

from dfd_ros import networks
from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stack_batch import TRUTH_READ, to_stack_batch
from dfd_ros.datasets.stack_cache import StackPool
from dfd_ros.synthesis.procedural import StackBatch, render_batch
from dfd_ros.synthesis.sensor import expose
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.unlabelled_stacks import UnlabelledStacks

Item = TypeVar('Item')


class SampleStacks:
    """The samples in a folder of shards, as stacks to train on.

    Images rendered by Blender have no noise: random sensor noise is added each time. If a sample has too few frames,
    sequences go back and forth in it, as in procedural stacks.

    Raises:
        InputError: there are no samples, they are too small, or have too few frames for a network that reads a fixed
            number of different ones.
    """

    def __init__(self, config: TrainingConfig):
        self.samples, self.config = Samples(config.shards, TRUTH_READ), config
        self.reads_stacks = networks.find(config.network).reads_stacks
        self.held_out = held_out(self.samples, config)

    def draw(self, stage: Stage, rng: torch.Generator) -> StackBatch:
        """A random one of them (B = 1)."""
        sample = self.samples[_integer(rng, self.held_out.start)]
        frames, height, width, _ = sample.images.shape
        if frames < stage.frames and self.reads_stacks:
            raise InputError(
                f'{sample.name}: {frames} frames, but training needs {stage.frames} (stages, frames), '
                f'and {self.config.network} reads as many different ones'
            )
        if min(height, width) < stage.crop:
            raise InputError(
                f'{sample.name}: images of {width}x{height}, smaller than the crops of {stage.crop} (stages, crop)'
            )
        stack, settings = to_stack_batch(sample), self.config.data
        if sample.source == 'blender':
            stack.images = _noisy(stack.images, _between(rng, *settings.shot), _between(rng, *settings.read), rng)
        if torch.rand((), generator=rng).item() < settings.unknown_aperture:
            stack.blur_scale = torch.full_like(stack.blur_scale, torch.nan)
        return stack


def held_out(samples: Samples, config: TrainingConfig) -> range:
    """The samples held out from training: the last ones.

    Raises:
        InputError: no sample is left for training.
    """
    count = math.ceil(config.held_out * len(samples))
    if count == len(samples):
        raise InputError(
            f'{config.shards}: {len(samples)} samples are too few to hold {config.held_out:.0%} of them out (held_out)'
        )
    return range(len(samples) - count, len(samples))


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, from the first on."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _between(rng: torch.Generator, low: float, high: float) -> float:
    """A random number, uniform in its logarithm."""
    return low * (high / low) ** torch.rand((), generator=rng).item()


def _noisy(images: torch.Tensor, shot: float, read: float, rng: torch.Generator) -> torch.Tensor:
    """A stack's images (1, T, 3, H, W) uint8 with sensor noise."""
    linear = srgb_decode(images[0].float() / 255)
    exposed = expose(linear, torch.ones(len(linear)), shot, read, torch.randn(linear.shape, generator=rng))
    return (srgb_encode(exposed) * 255).round().to(torch.uint8)[None]


class TrainingData:
    """Random sequences from procedural stacks, and from samples if the configuration names shards.

    On the CPU, stacks come from a pool that separate processes fill. A GPU renders them itself for every step, unless
    `pool.on_gpu` is set.
    """

    def __init__(self, config: TrainingConfig, run: Path, device: torch.device, rank: int = 0, ranks: int = 1):
        self.config, self.device, self.rank, self.ranks = config, device, rank, ranks
        self.pool = None
        self.samples: SampleStacks | UnlabelledStacks | None = None
        if config.stacks:
            self.samples = UnlabelledStacks(config)
        elif config.shards:
            self.samples = SampleStacks(config)
        procedural = self.samples is None or config.shards_share < 1
        if procedural and (device.type == 'cpu' or config.pool.on_gpu):
            pool = config.pool
            # Each process has its own pool, so that no two of them see the same scene.
            self.pool = StackPool(
                Path(pool.folder or run / 'pool') / str(rank),
                config.data,
                pool.workers,
                pool.first_seed + rank * 10_000_000,
            )

    def batch(self, step: int, wait: Callable[[int, int], None] = lambda rendered, wanted: None) -> StackBatch:
        """The sequences of a step; their vergence is NaN for pixels that do not count.

        Args:
            wait: called several times a second while a stack is being rendered, with the number of rendered stacks and
                of all stacks that this step may draw.
        """
        config, stage = self.config, self.config.stage(step)
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + step * self.ranks + self.rank)
        stacks = [self._stack(step, i, rng, wait) for i in range(stage.batch)]
        return StackBatch.stack([_cut(stack, stage, config, rng) for stack in stacks]).to(self.device)

    def _stack(self, step: int, index: int, rng: torch.Generator, wait: Callable[[int, int], None]) -> StackBatch:
        """The stack for sequence `index` of a step."""
        config, stage = self.config, self.config.stage(step)
        if self.samples and (config.shards_share == 1 or torch.rand((), generator=rng).item() < config.shards_share):
            return self.samples.draw(stage, rng).to(self.device)
        if self.pool is None:
            first = config.pool.first_seed + config.sequences(step) * self.ranks + self.rank * stage.batch
            return render_batch([first + index], config.data, self.device)
        newest = config.pool.start + int(config.sequences(step) / config.pool.reuse)
        oldest = max(0, newest - config.pool.size)
        pool = self.pool
        pool.want(newest + min(200, config.pool.start))
        return pool.get(
            oldest + _integer(rng, newest - oldest), lambda: wait(pool.count(oldest, newest), newest - oldest)
        )

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()


def _integer(rng: torch.Generator, below: int) -> int:
    return int(torch.randint(max(below, 1), (), generator=rng))


def counted(vergence: torch.Tensor, foreground: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """The true vergence, NaN for pixels that do not count: the wall, if it is masked out. All of one shape."""
    return torch.where(foreground, vergence, torch.nan) if config.mask_wall else vergence


def _frames(available: int, wanted: int, rng: torch.Generator) -> torch.Tensor:
    """Indices of random consecutive frames of a stack, going back and forth if more are wanted than available."""
    if wanted <= available:
        return _integer(rng, available - wanted + 1) + torch.arange(wanted)
    period = max(2 * available - 2, 1)
    position = (_integer(rng, period) + torch.arange(wanted)) % period
    return torch.minimum(position, period - position)


def _cut(stack: StackBatch, stage: Stage, config: TrainingConfig, rng: torch.Generator) -> StackBatch:
    """A random part of a stack: consecutive frames, in either direction, of a crop that is flipped and rotated."""
    frames = _frames(stack.images.shape[1], stage.frames, rng)
    size = stage.crop
    halve = torch.rand((), generator=rng).item() < config.half_size and min(stack.images.shape[-2:]) >= 2 * size
    wide = 2 * size if halve else size
    y, x = (_integer(rng, n - wide + 1) for n in stack.images.shape[-2:])
    area = (..., slice(y, y + wide), slice(x, x + wide))
    images = stack.images[area][:, frames].float() / 255
    foreground = stack.foreground[area][:, frames]
    vergence = counted(stack.vergence[area][:, frames].float(), foreground, config)
    blur, blur_scale = stack.blur[:, frames], stack.blur_scale
    if halve:
        images = F.avg_pool2d(images[0], 2)[None]
        vergence, foreground = vergence[..., ::2, ::2], foreground[..., ::2, ::2]
        blur, blur_scale = blur / 2, blur_scale / 2
    rows = [stack.focus[:, frames], blur, stack.magnification[:, frames]]
    maps = [images, vergence, foreground]
    if _integer(rng, 2) and config.reverse:  # backwards in time
        rows, maps = ([a.flip(1) for a in parts] for parts in (rows, maps))
    flips = [axis for axis in (-1, -2) if _integer(rng, 2)]
    maps = [a.flip(flips) for a in maps]
    if _integer(rng, 2):
        maps = [a.transpose(-1, -2) for a in maps]
    (focus, blur, magnification), (images, vergence, foreground) = rows, maps
    images = images[:, :, torch.randperm(3, generator=rng)]
    return replace(
        stack,
        images=images,
        focus=focus,
        blur_scale=blur_scale,
        vergence=vergence,
        blur=blur,
        foreground=foreground,
        magnification=magnification,
    )
