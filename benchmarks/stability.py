"""Does a stream that never ends cost more and more? Memory, time a frame and size of the state over many frames.

    .venv/bin/python benchmarks/stability.py

Two streams: a small one with many frames, and one of 640x480 with as many as take some minutes.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

import numpy as np
from _common import check, exit_with, frames, machine, milliseconds, network
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.cli._options import size_within
from dfd_ros.core.machine import resident_memory
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.estimator import DepthEstimator

CHECKPOINTS = 10


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=10_000, help='of the small stream')
    parser.add_argument('--small', type=size_within(16, 4096), default=(96, 64), help='size of the small stream')
    parser.add_argument('--large-frames', type=int, default=1_000, help='of the stream of 640x480')
    parser.add_argument('--weights', type=Path, help='default: those that ship, or random ones')
    options = parser.parse_args(arguments)
    check(options, frames=0, large_frames=0)
    width, height = options.small
    print(machine())
    for count, rows, columns in ((options.frames, height, width), (options.large_frames, 480, 640)):
        if count:
            print(report(*measure(network(options.weights), count, rows, columns), count, f'{columns}x{rows}'))
    return 0


class Watched(networks.Network):
    """A network, and the largest number that its state has held since the last look."""

    def __init__(self, network: networks.Network) -> None:
        super().__init__()
        self.network = network
        self.largest = 0.0

    def forward(self, *inputs):
        prediction, *state = self.network(*inputs)
        self.largest = max([self.largest, *(float(s.abs().max()) for s in state)])
        return prediction, *state

    def look(self) -> float:
        largest, self.largest = self.largest, 0.0
        return largest


def measure(network: networks.Network, count: int, height: int, width: int) -> tuple[list, list, list]:
    """Memory (MB), median time a frame (ms) and largest number in the state at each checkpoint."""
    watched = Watched(network)
    estimator, stream = DepthEstimator(network=watched), frames(height, width)
    memory, times, state = [], [], []
    each = max(count // CHECKPOINTS, 1)
    with tqdm(total=CHECKPOINTS * each, desc=f'stability, {width}x{height}', unit='frame') as progress:
        for _ in range(CHECKPOINTS):
            window = []
            for _ in range(each):
                image, lens_state = next(stream)
                window.append(milliseconds(lambda: estimator.push(image, lens_state)))
                progress.update()
            gc.collect()
            memory.append(resident_memory())
            times.append(float(np.median(window)))
            state.append(watched.look())
    return memory, times, state


def report(memory: list[float], times: list[float], state: list[float], count: int, name: str) -> str:
    each = max(count // CHECKPOINTS, 1)
    rows = [
        [each * (i + 1), f'{m:.1f}', f'{t:.1f}', f'{s:.2f}'] for i, (m, t, s) in enumerate(zip(memory, times, state))
    ]

    def slope(values):  # a frame; the first checkpoint still fills caches
        return np.polyfit(each * np.arange(1, len(values)), values[1:], 1)[0]

    return (
        f'\nstream of {name}\n\n'
        + table(['frames', 'resident memory MB', 'median ms a frame', 'largest in the state'], rows)
        + f'\n\nslope after the first checkpoint: memory {1e3 * slope(memory):+.3f} MB, time '
        f'{1e3 * slope(times):+.3f} ms a frame, per 1000 frames'
    )


if __name__ == '__main__':
    exit_with(main)
