"""Procedural focal stacks rendered a second, by processes of one thread each.

    .venv/bin/python benchmarks/throughput.py

CPU time is given beside the clock's: on a busy machine it shows what an idle one would reach.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.multiprocessing as multiprocessing
from _common import check, exit_with, machine

from dfd_ros.core.machine import cores
from dfd_ros.core.markdown_table import table
from dfd_ros.synthesis.procedural import StackSettings, render_stack

PRESETS: dict[str, Callable[..., StackSettings]] = {
    'default': StackSettings,
    'study': StackSettings.study,
    'field': StackSettings.field,
    'real': StackSettings.real,
}
# As many as it takes until most prints are drawn, which others of the process then share.
WARM_UP = {'real': 60}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--stacks', type=int, default=40, help='stacks that each process renders, of each kind')
    parser.add_argument('--frames', type=int, default=5)
    parser.add_argument('--size', type=int, default=256, help='image side, px')
    options = parser.parse_args(arguments)
    check(options, processes=1, stacks=1, frames=1, size=32)
    rows = [row(preset, options) for preset in PRESETS]
    if torch.cuda.is_available():
        rows.append(row('default', options, 'cuda'))
    print(
        f'\n{machine()}\n\n'
        + table(
            [
                f'stacks of {options.frames} frames, {options.size}x{options.size}',
                'processes',
                'stacks a second',
                'CPU ms a stack',
                'stacks a second of idle cores',
            ],
            rows,
        )
    )
    return 0


def row(preset: str, options: argparse.Namespace, device: str = 'cpu') -> list[str]:
    processes = options.processes if device == 'cpu' else 1
    context = multiprocessing.get_context('spawn')
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_work, args=(i, preset, options, device, barrier, results), daemon=True)
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    figures = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    rate = sum(options.stacks / wall for wall, _ in figures)
    cpu = sum(cpu for _, cpu in figures) / (processes * options.stacks)
    idle = f'{min(processes, cores()) / cpu:.1f}' if device == 'cpu' else ''
    return [f'{preset}, {device}', str(processes), f'{rate:.1f}', f'{1e3 * cpu:.0f}', idle]


def _work(number: int, preset: str, options: argparse.Namespace, device: str, barrier, results) -> None:
    torch.set_num_threads(1)
    settings = PRESETS[preset](frames=options.frames, height=options.size, width=options.size)
    first = 3_000_000_000 + number * 1_000_000
    for seed in range(WARM_UP.get(preset, 2)):
        render_stack(first + options.stacks + seed, settings, device)
    barrier.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(options.stacks):
        render_stack(first + seed, settings, device)
    if device == 'cuda':
        torch.cuda.synchronize()
    results.put((time.perf_counter() - wall, time.process_time() - cpu))


if __name__ == '__main__':
    exit_with(main)
