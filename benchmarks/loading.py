"""Stored samples read for training: how many a second, and how much of a training step waits for them.

    .venv/bin/python benchmarks/loading.py

Makes samples of 20 frames of 640x480, as `dfd convert` writes them (JPEG, depth in millimetres) and as `dfd render`
does (PNG, exact depth), and cuts sequences out of them. CPU time is given beside the clock's: on a busy machine it
shows what an idle one would reach.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import check, exit_with, machine

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.markdown_table import table
from dfd_ros.core.run_files import LOG
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import Samples, ShardWriter
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.loop import train
from dfd_ros.training.readers import Readers
from dfd_ros.training.sample_sequences import SampleSequences

HEIGHT, WIDTH, FRAMES = 480, 640, 20


def make_sample(number: int, recorded: bool) -> Sample:
    """Planes before a slanted wall, with as much detail and noise as photographs have."""
    draw = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    depth = 1.2 + 0.8 * x / WIDTH + 0.3 * y / HEIGHT
    texture = np.zeros((HEIGHT, WIDTH, 3))
    for _ in range(12):
        top, left, size = draw.integers(0, HEIGHT), draw.integers(0, WIDTH), draw.integers(40, 160)
        inside = (abs(y - top) < size) & (abs(x - left) < size)
        depth[inside], angle = draw.uniform(0.4, 1.2) + 1e-4 * x[inside], draw.uniform(0, np.pi)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / draw.uniform(1, 6))
        texture[inside] = 50 * wave[inside, None] * draw.uniform(0.3, 1, 3)
    noise = draw.normal(0, 3, (FRAMES, *texture.shape))
    images = np.clip(128 + texture + noise, 0, 255).astype(np.uint8)
    truth = np.repeat(depth[None], FRAMES, 0) * (1 + 1e-3 * np.arange(FRAMES)[:, None, None])
    if recorded:
        truth = np.round(truth + draw.normal(0, 0.001, truth.shape), 3)
    states = [LensState(1 / (0.5 + 2 * t / FRAMES), 0.0043, 1.8, 6e-6) for t in range(FRAMES)]
    background = None if recorded else truth > 1.2
    return Sample(images, states, truth.astype(np.float32), background=background, source='benchmark')


def configuration(folder: Path, options: argparse.Namespace, frames: int) -> TrainingConfig:
    stage = Stage(crop=options.crop, batch=options.batch, frames=frames, decode=min(4, frames))
    return TrainingConfig(
        name='loading', shards=str(folder), stages=(stage,), half_size=0.0, readers=options.readers, steps=10**6
    )


def one_process(sequences: SampleSequences, options: argparse.Namespace) -> float:
    """CPU s of a sequence."""
    sequences.of_step(0)
    began = time.process_time()
    for step in range(options.steps):
        sequences.of_step(1 + step)
    return (time.process_time() - began) / options.steps / options.batch


def whole(folder: Path, options: argparse.Namespace) -> float:
    """CPU s of a sample that is decoded whole."""
    samples = Samples(folder, ('background',))
    began = time.process_time()
    for number in range(options.steps):
        to_stack_batch(samples[number % len(samples)])
    return (time.process_time() - began) / options.steps


def together(sequences: SampleSequences, options: argparse.Namespace) -> float:
    """Sequences a second of all readers."""
    readers = Readers(sequences)
    try:
        for step in range(3 * options.readers):  # until all of them run
            readers.of_step(step)
        began = time.monotonic()
        for step in range(options.steps):
            readers.of_step(3 * options.readers + step)
        return options.steps * options.batch / (time.monotonic() - began)
    finally:
        readers.close()


def waiting(folder: Path, run: Path, options: argparse.Namespace) -> tuple[float, float]:
    """(share of the steps that waits for data, s of a step) of the default network, after the first 20 steps."""
    config = configuration(folder, options, 10)
    config = replace(config, steps=10**6, validation='samples', held_out=0.2, validate_stacks=1, validate_every=10**6)
    train(config, run, 'auto', stop_after=40 if options.steps < 40 else options.steps // 20 * 20)
    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    later = [line for line in lines if line['group'] == 'training'][1:]
    share = sum(line['waiting'] for line in later) / len(later)
    return share, 3600 * later[-1]['hours'] / later[-1]['step']


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--readers', type=int, default=2, help='processes; 0 = measure CPU time alone')
    parser.add_argument('--samples', type=int, default=10, help='of each kind')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--crop', type=int, default=128, help='px')
    parser.add_argument('--steps', type=int, default=20, help='of each measurement')
    parser.add_argument('--no-training', action='store_true', help='measure the reading alone')
    options = parser.parse_args(arguments)
    check(options, readers=0, samples=2, batch=1, crop=16, steps=1)
    torch.set_num_threads(1)
    rows, shares = [], []
    with tempfile.TemporaryDirectory() as name:
        for kind, image_format in (('recorded', 'jpg'), ('rendered', 'png')):
            folder = Path(name) / kind
            with ShardWriter(folder, kind, image_format=image_format) as writer:
                for number in range(options.samples):
                    writer.add(f'{number:06d}', make_sample(number, kind == 'recorded'))
            size = sum(path.stat().st_size for path in folder.iterdir()) / options.samples / 1e6
            rows.append([f'{kind}, all decoded', str(FRAMES), f'{size:.1f}', f'{1e3 * whole(folder, options):.0f}'])
            rows[-1] += [f'{2e3 / float(rows[-1][3]):.1f}', '']
            for frames in (FRAMES, FRAMES // 2):
                sequences = SampleSequences(configuration(folder, options, frames))
                cpu = one_process(sequences, options)
                rate = f'{together(sequences, options):.1f}' if options.readers else ''
                rows.append([kind, str(frames), f'{size:.1f}', f'{1e3 * cpu:.0f}', f'{2 / cpu:.1f}', rate])
            if not options.no_training:
                shares.append((kind, *waiting(folder, Path(name) / f'run-{kind}', options)))
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    head = ['samples', 'frames read', 'MB', 'CPU ms each', 'a second of two idle cores', f'{options.readers} readers']
    print(f'\n{machine()}, crops of {options.crop} px; a reader takes {largest:.0f} MB\n\n{table(head, rows)}')
    for kind, share, seconds in shares:
        print(f'{kind}: {share:.1%} of a training step of {seconds:.2f} s waits for data')
    return 0


if __name__ == '__main__':
    exit_with(main)
