"""Memory and time that images of 12 megapixels take beside the network, which sees them reduced to 640 px.

    .venv/bin/python benchmarks/large_images.py

Processor time of one thread: that of an image of this size less that of the same image reduced to 640 px beforehand,
and less the reduction. Memory: how much the highest resident memory of a process grows while it estimates, less the
same with the small images. For each map of the result that is read, for what publishing depth with a threshold of the
confidence takes, for all, and for all with what `output_resolution:=640` of the depth node does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
from itertools import islice

import cv2
import numpy as np
import torch
from _common import check, exit_with, frames, machine, network, timed

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.estimator_arguments import network_size
from dfd_ros.inference.result_maps import FIELDS


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=4000)
    parser.add_argument('--height', type=int, default=3000)
    parser.add_argument('--frames', type=int, default=9)
    options = parser.parse_args(arguments)
    check(options, width=641, height=641, frames=3)
    small = network_size(options.height, options.width)
    maps: dict[str, tuple[str, ...]] = {'none': ()} | {name: (name,) for name in FIELDS}
    maps |= {'depth, confidence': ('depth', 'confidence'), 'all': FIELDS}
    rows = []
    reduced, reduction, less = in_process(*small, options.frames, False, FIELDS)
    for name, read in (*maps.items(), ('all, of 640 px', FIELDS)):
        whole, reduction, memory = in_process(options.height, options.width, options.frames, 'px' in name, read)
        rows.append(
            [
                name,
                *(f'{value:.0f}' for value in (whole, reduced, reduction)),
                f'**{whole - reduced - reduction:.0f}**',
                *(f'{value:.0f}' for value in (memory, less)),
                f'**{memory - less:.0f}**',
            ]
        )
    print(f'{machine()}\n')
    header = ['a frame', 'of the small image', 'the reduction', 'beside them']
    print(
        table(
            [
                f'{options.width}x{options.height}: maps',
                *(f'ms: {name}' for name in header),
                'MB',
                'small image',
                'beside it',
            ],
            rows,
        )
    )
    return 0


def in_process(height: int, width: int, count: int, reduces: bool, maps: tuple[str, ...]) -> tuple[float, float, float]:
    """The result of `measure` in a process of its own."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(measure, (height, width, count, reduces, maps))


def measure(height: int, width: int, count: int, reduces: bool, maps: tuple[str, ...]) -> tuple[float, float, float]:
    """Medians of the time of a frame and of its reduction, ms; the growth of the highest memory, MB."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    estimator = DepthEstimator(network=network(None), device='cpu')
    stream = list(islice(frames(height // 4, width // 4), 3))
    images = [(image.repeat(4, 0).repeat(4, 1), state) for image, state in stream]
    size = network_size(height, width)

    def reduced(image: np.ndarray) -> np.ndarray:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)

    def push(image: np.ndarray, state: LensState) -> None:
        estimate = estimator.push(reduced(image) if reduces else image, state)
        for name in maps:
            getattr(estimate, name)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [timed(lambda i=i: push(*images[i % 3]))[1] for i in range(count)]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reduction = [timed(lambda i=i: reduced(images[i % 3][0]))[1] for i in range(count)]
    return statistics.median(times[2:]), statistics.median(reduction), (after - before) / 1024


if __name__ == '__main__':
    exit_with(main)
