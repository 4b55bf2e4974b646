"""Many jobs into one folder: killed at random, two on one bag, and what a small bag costs beside its conversion.

    .venv/bin/python benchmarks/many_jobs.py

Jobs are `dfd render --shard I/8` and `dfd convert --shard I/8` of tiny stacks and bags, in processes that are killed
with SIGKILL at random times and started again. Their samples are then compared with those of one undisturbed process,
byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
from _common import check, exit_with, machine
from conversion import write_bag
from processes import cpu_time_of_children

from dfd_ros import cli
from dfd_ros.bags import convert_recordings  # noqa: F401
from dfd_ros.core.files import read_json
from dfd_ros.core.markdown_table import table
from dfd_ros.datasets.rendering import procedural_dataset  # noqa: F401

JOBS = 8
SMALL = (48, 64)
FRAMES = 5  # of a bag: one sweep, one sample


def started(arguments: Sequence[str], said: Path | None = None) -> int:
    """The id of a process that runs a dfd command: a copy of this one, which has imported the modules above, so that
    kills come amid the work."""
    process = os.fork()
    if process:
        return process
    try:
        out = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os._exit(cli.main(arguments))
    finally:
        os._exit(99)


def status_of(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob('*.tar')}


def killed(kind: str, arguments: list[str], folder: Path, options: argparse.Namespace) -> list[str]:
    """A row of the table: kills, and how many shards are equal to those of an undisturbed process."""
    alone, out = folder / f'{kind}-alone', folder / f'{kind}-killed'
    if status_of(started([kind, *arguments, '--out', str(alone)], folder / 'said')):
        print((folder / 'said').read_text(), file=sys.stderr)
        raise RuntimeError(f'dfd {kind} failed undisturbed')
    draw = random.Random(options.seed)
    commands = [[kind, *arguments, '--out', str(out), '--shard', f'{i}/{JOBS}'] for i in range(1, JOBS + 1)]
    running = {started(command, _log(folder, command)): command for command in commands}
    kills, failed = 0, 0
    while running:
        time.sleep(draw.uniform(0, options.interval))
        process = draw.choice(sorted(running))
        ended, status = os.waitpid(process, os.WNOHANG)
        command = running[process]
        if ended:
            del running[process]
            if status:
                failed += 1
                print(f'{command[-1]}: {_log(folder, command).read_text()[-300:]}', file=sys.stderr)
        elif kills < options.kills:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
            del running[process]
            running[started(command, _log(folder, command))] = command
    there, wanted = shards(out), shards(alone)
    equal = sum(there.get(name) == content for name, content in wanted.items())
    left = list(out.rglob('.*'))
    return [
        f'{JOBS} jobs, dfd {kind}',
        str(kills),
        str(failed),
        f'{equal} of {len(wanted)}',
        str(len(there) - equal),
        str(len(left)),
    ]


def _log(folder: Path, command: list[str]) -> Path:
    return folder / f'said-{command[-1].replace("/", "-")}'


def together(bag: Path, folder: Path, rounds: int) -> str:
    """Two processes convert one bag at the same time."""
    alone = folder / 'bag-alone'
    status_of(started(['convert', str(bag), '--out', str(alone)]))
    wanted, wrong, failed = shards(alone), 0, 0
    for number in range(rounds):
        out = folder / f'together-{number}'
        processes = [started(['convert', str(bag), '--out', str(out)], folder / 'said') for _ in range(2)]
        failed += sum(status_of(process) != 0 for process in processes)
        left = [path for path in out.iterdir() if path.name.startswith('.')]
        wrong += shards(out) != wanted or bool(left) or not read_json(out / f'{bag.name}.json')
    return f'two processes on one bag, {rounds} rounds: {wrong} with wrong or missing files, {failed} other failures'


def overhead(bags: Path, count: int, folder: Path) -> list[tuple[float, float]]:
    """(s, CPU s) of all bags in one process, and of one bag of as many frames."""
    write_bag(folder / 'long' / 'one', FRAMES * count, SMALL)
    times = []
    for place, name in ((bags, 'many'), (folder / 'long', 'one')):
        before, began = cpu_time_of_children(), time.monotonic()
        if status_of(started(['convert', str(place), '--out', str(folder / f'out-{name}')], folder / 'said')):
            raise RuntimeError((folder / 'said').read_text()[-500:])
        times.append((time.monotonic() - began, cpu_time_of_children() - before))
    return times


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=100, help='of each command')
    parser.add_argument('--interval', type=float, default=0.6, help='longest time between two kills, s')
    parser.add_argument('--stacks', type=int, default=300, help='to render')
    parser.add_argument('--bags', type=int, default=200, help='that are converted while jobs are killed')
    parser.add_argument('--rounds', type=int, default=100, help='of two processes on one bag')
    parser.add_argument('--many', type=int, default=1000, help='bags of the folder whose overhead is measured')
    parser.add_argument('--seed', type=int, default=0, help='of the kills')
    options = parser.parse_args(arguments)
    check(options, kills=0, stacks=1, bags=1, rounds=0, many=0)
    torch.set_num_threads(1)
    print(f'{machine()}, {date.today()}', flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, count in (('bags', options.bags), ('many', options.many)):
            for number in range(count):
                write_bag(folder / place / f'{number:04d}', FRAMES, SMALL)
        height, width = map(str, SMALL)
        render = ['--height', height, '--width', width, '--frames', '2', '--preset', 'study', '--device', 'cpu']
        render += ['--format', 'shards', '--stacks', str(options.stacks)]
        head = ['', 'kills', 'jobs that failed', 'shards equal byte for byte', 'others', 'files left over']
        rows = [
            killed(kind, arguments, folder, options)
            for kind, arguments in (('render', render), ('convert', [str(folder / 'bags')]))
        ]
        print(table(head, rows), flush=True)
        if options.rounds:
            print(together(folder / 'bags' / '0000', folder, options.rounds), flush=True)
        if options.many:
            (many, many_cpu), (one, one_cpu) = overhead(folder / 'many', options.many, folder)
            print(
                f'{options.many} bags of {FRAMES} frames: {many:.1f} s; one bag of as many frames: {one:.1f} s; '
                f'overhead {1e3 * (many - one) / options.many:.1f} ms a bag, of the processor '
                f'{1e3 * (many_cpu - one_cpu) / options.many:.1f} ms'
            )
    return 0


if __name__ == '__main__':
    exit_with(main)
