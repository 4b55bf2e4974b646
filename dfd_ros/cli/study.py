"""`dfd study`: the study's networks, trained and compared on the same data."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

HELP = 'train and compare all networks on the same data and budget: tables, curves, pictures'
EXAMPLE = 'dfd study --out study --budget 2h --networks stream,recurrent_autoencoder'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for table.md, results.json, curves.png, figures.png, grid.jpg and the weights; '
        'rerun the same command to resume',
    )
    parser.add_argument(
        '--budget',
        required=True,
        help='budget of each network: optimiser steps (500), or time spent in them (10m, 2h, 3d)',
    )
    parser.add_argument(
        '--networks',
        metavar='A,B,...',
        help='rows, or networks with all their rows (default: all of the configuration); finished '
        'rows stay in the tables',
    )
    parser.add_argument('--config', metavar='YAML', type=Path, help='the rows (default: config/study.yaml)')
    parser.add_argument(
        '--data',
        metavar='DIR',
        nargs='+',
        default=['procedural'],
        help='train on the samples in these folders, shards or focal stacks with true depth; "procedural" renders them '
        '(default: procedural)',
    )
    parser.add_argument('--scenes', metavar='N', type=int, default=1000, help='procedural stacks to train on')
    parser.add_argument('--tests', metavar='N', type=int, default=50, help='scenes of each test set')
    parser.add_argument('--crop', metavar='PX', type=int, default=256, help='side of the crops and of the test scenes')
    parser.add_argument('--frames', metavar='N', type=int, default=4, help='frames of a stack')
    parser.add_argument('--batch', metavar='N', type=int, default=4, help='stacks per step')
    parser.add_argument('--seed', metavar='N', type=int, default=0, help='seed of weights and order of the scenes')
    parser.add_argument(
        '--blender',
        metavar='DIR',
        type=Path,
        help='also measure on the samples in this folder, shards or focal stacks with true depth',
    )
    parser.add_argument('--real', metavar='DIR', type=Path, help='real focal stack, for the picture grid')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--workers',
        metavar='N',
        type=int,
        help='processes that render the training stacks; 0 = this one, on the device '
        '(default: one for each core, on a GPU 0)',
    )
    parser.add_argument(
        '--shard',
        metavar='I/N',
        default='1/1',
        help='this is job I of N (1..N): train every N-th row; the job that ends last writes tables and pictures',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.cli._options import require_within
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_output_folder
    from dfd_ros.core.resources import resource
    from dfd_ros.core.shares import share_of
    from dfd_ros.datasets.stored_stacks import read_folder, stored_stacks
    from dfd_ros.evaluation.study.study_rows import read_rows
    from dfd_ros.evaluation.study.study_run import Settings, Study
    from dfd_ros.evaluation.study.study_scenes import sample_scene

    require_within(
        args,
        workers=(0, 256),
        scenes=(-math.inf, 10**6),
        tests=(-math.inf, 10**5),
        crop=(-math.inf, 2048),
        frames=(-math.inf, 200),
        batch=(-math.inf, 1024),
        seed=(-math.inf, 2**62),
    )
    share_of((), args.shard)
    require_output_folder(args.out, 'table.md', 'results.json')
    folders = () if args.data == ['procedural'] else tuple(args.data)
    if 'procedural' in folders:
        raise InputError('--data: give procedural, or folders, not both')
    shared, rows = read_rows(args.config or resource('config/study.yaml'))
    settings = Settings(
        args.budget.strip(), args.crop, args.batch, args.scenes, args.tests, args.seed, folders, args.frames
    )
    # Unreadable input is reported before hours are spent.
    real = sample_scene(read_folder(args.real), args.crop, args.frames) if args.real else None
    blender = (
        [sample_scene(stack.read(), args.crop, args.frames) for stack in stored_stacks(args.blender)]
        if args.blender
        else []
    )
    study = Study(args.out, settings, shared, rows, args.networks, args.device)

    earlier = [row for row in study.rows if row not in study.chosen]
    mine = [row for row in (*share_of(study.chosen, args.shard), *earlier) if row.train]
    if any(row in study.untrained() for row in mine):
        study.render(_workers(args.workers, study.device))
    for row in mine:
        study.train(row)
    if others := study.untrained():
        print(f'rows     {len(mine)} trained; other jobs train {", ".join(row.name for row in others)}')
        return 0
    results = study.results(blender, real)
    _print_report(args.out, results)
    _draw(study, results, blender, real)
    return 0


def _workers(wanted: int | None, device) -> int:
    from dfd_ros.core.machine import cores

    if wanted is not None:
        return wanted
    if device.type == 'cuda':
        return 0
    return cores()


def _print_report(folder: Path, results: dict) -> None:
    from dfd_ros.core.files import write_text
    from dfd_ros.evaluation.study.study_report import report

    text = report(results)
    write_text(folder / 'table.md', text)
    print(f'\n{text}')


def _draw(study, results: dict, blender: list, real) -> None:
    """Pictures whose library is missing are skipped; the same command draws them once it is installed."""
    from dfd_ros.core.errors import InputError
    from dfd_ros.evaluation.study import study_pictures

    folder, written = study.folder, ['table.md', 'results.json']
    draws: dict[str, Callable[[Path], None]] = {
        'figures.png': lambda path: study_pictures.write_bars(path, results['rows']),
        'grid.jpg': lambda path: study_pictures.write_grid(path, study.backends(), study.pictured(blender, real)),
    }
    if curves := study.curves():
        draws['curves.png'] = lambda path: study_pictures.write_curves(path, curves)
    if real is not None:

        def draw_real(network: str, path: Path) -> None:
            study_pictures.write_stack(path, study.backends(network), real)

        for network in dict.fromkeys(row.network for row in study.rows):
            draws[f'real/{network}.jpg'] = partial(draw_real, network)
    for name, draw in draws.items():
        try:
            (folder / name).parent.mkdir(exist_ok=True)
            draw(folder / name)
            written.append(name)
        except InputError as error:
            print(f'{name} skipped: {error}')
    print(f'files    {folder}/: {", ".join(written)}')
