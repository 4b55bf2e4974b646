"""Pools of stacks rendered by the test itself: a process that renders them takes seconds to start."""

from pathlib import Path

from dfd_ros.datasets.stack_cache import StackPool, save_stack, stack_path
from dfd_ros.synthesis.procedural import StackSettings, render_stack


def render_pool(run: Path, settings: StackSettings, count: int) -> None:
    """Write the first stacks of the pool in the folder of a run, for `pool.workers` 0."""
    folder = StackPool(run / '0', settings, workers=0).folder
    for index in range(count):
        save_stack(stack_path(folder, index), render_stack(index, settings))
