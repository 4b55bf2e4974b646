"""Training sequences: the data of a step, which depends only on the step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dfd_ros.datasets.stack_cache import StackPool
from dfd_ros.synthesis.procedural import StackBatch, render_batch
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.cut import Cut, integer
from dfd_ros.training.readers import Readers
from dfd_ros.training.sample_sequences import SampleSequences
from dfd_ros.training.unlabelled_stacks import UnlabelledStacks


class TrainingData:
    """Random sequences: from procedural stacks, from samples if the configuration names shards, or from focal stacks
    without truth.

    On the CPU, procedural stacks come from a pool that separate processes fill. A GPU renders them itself for every
    step, unless `pool.on_gpu` is set. Samples are read ahead by other processes.
    """

    def __init__(self, config: TrainingConfig, run: Path, device: torch.device, rank: int = 0, ranks: int = 1):
        self.config, self.device, self.rank, self.ranks = config, device, rank, ranks
        self.pool = None
        self.unlabelled = UnlabelledStacks(config) if config.stacks else None
        self.samples = Readers(SampleSequences(config, rank, ranks)) if config.shards else None
        procedural = not config.stacks and (not config.shards or config.shards_share < 1)
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
        places, sequences = self.samples.of_step(step) if self.samples else ([], None)
        others = [place for place in range(stage.batch) if place not in places]
        if sequences is not None and not others:
            return sequences.to(self.device)
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + step * self.ranks + self.rank)
        stacks = [self._stack(step, place, rng, wait) for place in others]
        cuts = [Cut.draw(*_size(stack), stage, config, rng).of(stack, config) for stack in stacks]
        if sequences is not None:
            cuts.insert(0, sequences.to(self.device))
        return StackBatch.stack(cuts).to(self.device)

    def _stack(self, step: int, index: int, rng: torch.Generator, wait: Callable[[int, int], None]) -> StackBatch:
        """The stack for sequence `index` of a step that is not from samples."""
        config, stage = self.config, self.config.stage(step)
        if self.unlabelled is not None:
            return self.unlabelled.draw(rng).to(self.device)
        if self.pool is None:
            first = config.pool.first_seed + config.sequences(step) * self.ranks + self.rank * stage.batch
            return render_batch([first + index], config.data, self.device)
        newest = config.pool.start + int(config.sequences(step) / config.pool.reuse)
        oldest = max(0, newest - config.pool.size)
        pool = self.pool
        pool.want(newest + min(200, config.pool.start))
        return pool.get(
            oldest + integer(rng, newest - oldest), lambda: wait(pool.count(oldest, newest), newest - oldest)
        )

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()
        if self.samples is not None:
            self.samples.close()


def _size(stack: StackBatch) -> tuple[int, int, int]:
    """Frames, height and width."""
    return stack.images.shape[1], stack.images.shape[-2], stack.images.shape[-1]
