"""How much faster several processes train one network: two on this machine, and two nodes of one process each.

    .venv/bin/python benchmarks/training_processes.py

Runs `dfd train` by torchrun, each process with one thread, on samples that take no time to read. Steps are counted
between the first and the last line of the log, without the start. On a busy machine compare the processor time, which
shows what idle cores would reach as long as processes need not wait for each other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import yaml
from _common import check, exit_with, machine
from processes import cpu_time_of_children, torchrun

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.markdown_table import table
from dfd_ros.core.run_files import LOG
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import ShardWriter

LOGGED_EVERY = 20  # steps
KINDS = {'one process': (1, 1), 'two processes': (1, 2), 'two nodes of one process': (2, 1)}


def write_samples(folder: Path, side: int, frames: int) -> None:
    draw = np.random.default_rng(0)
    states = [LensState(1 / (0.5 + 2 * t / frames), 0.0043, 1.8, 6e-6) for t in range(frames)]
    with ShardWriter(folder, 'noise') as writer:
        for key in ('0', '1', '2', '3'):
            images = draw.integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
            writer.add(key, Sample(images, states, np.full(images.shape[:3], 0.8, np.float32)))


def train(config: Path, out: Path, nodes: int, processes: int) -> float:
    """CPU s of all processes."""
    before = cpu_time_of_children()
    dfd = ['-m', 'dfd_ros.cli', 'train', config, '--device', 'cpu', '--out', out]
    running = torchrun(nodes, processes, *dfd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = [process.communicate()[1] for process in running]
    for process, text in zip(running, said):
        if process.returncode:
            raise RuntimeError(f'{process.args} failed: {text[-1000:]}')
    return cpu_time_of_children() - before


def seconds_of_a_step(run: Path) -> float:
    lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    first, *_, last = [line for line in lines if line['group'] == 'training']
    return 3600 * (last['hours'] - first['hours']) / (last['step'] - first['step'])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=80, help=f'of each run, a multiple of {LOGGED_EVERY}')
    parser.add_argument('--crop', type=int, default=96, help='px')
    parser.add_argument('--batch', type=int, default=4, help='sequences of a step, per process')
    parser.add_argument('--frames', type=int, default=5)
    options = parser.parse_args(arguments)
    check(options, steps=2 * LOGGED_EVERY, crop=16, batch=1, frames=2)
    rows: list[list[str]] = []
    alone = 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder / 'samples', options.crop, options.frames)
        stage = {'crop': options.crop, 'batch': options.batch, 'frames': options.frames, 'decode': 2}
        settings = {'shards': str(folder / 'samples'), 'readers': 0, 'half_size': 0.0, 'stages': [stage]}
        settings |= {'held_out': 0.25, 'validation': 'samples', 'validate_stacks': 1, 'validate_every': 10**6}
        for kind, (nodes, processes) in KINDS.items():
            config, cpu = folder / 'run.yaml', []
            for steps in (LOGGED_EVERY, options.steps):
                run = f'{nodes}-{processes}-{steps}'
                config.write_text(yaml.safe_dump({'name': run, 'steps': steps, **settings}))
                cpu.append(train(config, folder / 'runs', nodes, processes))
            count = options.batch * nodes * processes
            rates = (
                count / seconds_of_a_step(folder / 'runs' / run),
                count * (options.steps - LOGGED_EVERY) / (cpu[1] - cpu[0]) * nodes * processes,
            )
            alone = rates if not rows else alone
            rows.append([kind, *(f'{rate:.2f} ({rate / one:.2f})' for rate, one in zip(rates, alone))])
    head = ['', 'sequences a second (times one process)', 'by processor time']
    print(f'{machine()}, crops of {options.crop} px, {options.frames} frames\n\n{table(head, rows)}')
    return 0


if __name__ == '__main__':
    exit_with(main)
