"""`dfd train`: train a network."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = 'train a network from a configuration'
EXAMPLE = 'dfd train stream'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'config', type=Path, help='YAML file of a run, or the name of one in config/training: stream, fine_tune, ...'
    )
    parser.add_argument('--out', type=Path, default=Path('runs'), help='folder of the runs')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--data',
        type=Path,
        metavar='FOLDER',
        help='samples to train on (shards), instead of those in the configuration',
    )
    parser.add_argument(
        '--stacks',
        type=Path,
        metavar='FOLDER',
        help='focal stacks without true depth to tune on, with the configuration self_supervised',
    )
    parser.add_argument(
        '--weights', type=Path, metavar='FILE', help='weights to start from, instead of those in the configuration'
    )
    parser.add_argument('--steps', type=int, help='optimiser steps, instead of those in the configuration')
    parser.add_argument(
        '--stop-after',
        type=int,
        metavar='STEP',
        help='stop with a checkpoint after this step; run the command without this option to resume',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError
    from dfd_ros.training.config import load_config
    from dfd_ros.training.loop import train

    changes = {'shards': args.data, 'stacks': args.stacks, 'initial_weights': args.weights, 'steps': args.steps}
    changes = {
        name: str(value) if isinstance(value, Path) else value for name, value in changes.items() if value is not None
    }
    if args.stop_after is not None and args.stop_after < 1:
        raise InputError(f'--stop-after {args.stop_after}: must be at least 1')
    config = load_config(args.config, **changes)
    trained = train(config, args.out / config.name, args.device, args.stop_after)
    if not trained.finished:
        print(
            f'stopped after step {trained.step} of {config.steps}; to resume, run the same command without --stop-after'
        )
    print(f'best weights{"" if trained.finished else " so far"}: {trained.best}')
    return 0
