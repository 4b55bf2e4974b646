"""Training sequences from stored samples. Each depends only on its number, so that any process can read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch

from dfd_ros import networks
from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.datasets.stack_batch import part_of
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.synthesis.sensor import expose
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.cut import Cut

Item = TypeVar('Item')
# Of sequences and of orders, far from those of procedural steps. A generator takes the lower 32 bits of its seed.
_FIRST_SEED, _FIRST_ORDER = 1_500_000_000, 3_000_000_000


class SampleSequences:
    """Sequences from the samples in a folder of shards, in another random order each time that all have been shown.

    Only the frames and the area that a sequence shows are decoded. Images rendered by Blender have no noise: random
    sensor noise is added each time. If a sample has too few frames, sequences go back and forth in it, as in procedural
    stacks.

    Args:
        rank, ranks: of the processes that train together: each reads other sequences.

    Raises:
        InputError: there are no samples; when they are read: they are damaged, too small, or have too few frames for a
            network that reads a fixed number of different ones.
    """

    def __init__(self, config: TrainingConfig, rank: int = 0, ranks: int = 1):
        self.config, self.held_out = config, held_out(config)
        self._rank, self._ranks = rank, ranks
        self._reads_stacks = networks.find(config.network).reads_stacks
        self._order: tuple[int, list[int]] = (-1, [])

    def of_step(self, step: int) -> tuple[list[int], StackBatch | None]:
        """Which of the sequences of a step are from samples, and these sequences (on the CPU)."""
        stage = self.config.stage(step)
        first = self.config.sequences(step) * self._ranks + self._rank * stage.batch
        places, sequences = [], []
        for place in range(stage.batch):
            rng = self._rng(_FIRST_SEED + first + place)
            if torch.rand((), generator=rng).item() < self.config.shards_share:
                places.append(place)
                sequences.append(self._sequence(self._index(first + place), stage, rng))
        return places, StackBatch.stack(sequences) if sequences else None

    def _rng(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)

    def _index(self, number: int) -> int:
        """The sample of a sequence."""
        count = self.held_out.start
        if self._order[0] != number // count:
            rng = self._rng(_FIRST_ORDER + number // count)
            self._order = number // count, torch.randperm(count, generator=rng).tolist()
        return self._order[1][number % count]

    def _sequence(self, index: int, stage: Stage, rng: torch.Generator) -> StackBatch:
        settings = self.config.data
        with self.config.samples.opened(index) as sample:
            frames, (height, width) = len(sample.lens_states), sample.size
            if frames < stage.frames and self._reads_stacks:
                raise InputError(
                    f'{sample.name}: {frames} frames, but training needs {stage.frames} (stages, frames), '
                    f'and {self.config.network} reads as many different ones'
                )
            if min(height, width) < stage.crop:
                raise InputError(
                    f'{sample.name}: images of {width}x{height}, smaller than the crops of {stage.crop} (stages, crop)'
                )
            cut = Cut.draw(frames, height, width, stage, self.config, rng)
            part = part_of(sample, cut.frames, cut.area)
            if sample.source == 'blender':
                part.images = _noisy(part.images, _between(rng, *settings.shot), _between(rng, *settings.read), rng)
        if torch.rand((), generator=rng).item() < settings.unknown_aperture:
            part.blur_scale = torch.full_like(part.blur_scale, torch.nan)
        return cut.arranged(part, self.config)


def held_out(config: TrainingConfig) -> range:
    """The samples held out from training: the last ones.

    Raises:
        InputError: no sample is left for training.
    """
    total = len(config.samples)
    count = math.ceil(config.held_out * total)
    if count == total:
        raise InputError(
            f'{config.shards}: {total} samples are too few to hold {config.held_out:.0%} of them out (held_out)'
        )
    return range(total - count, total)


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
