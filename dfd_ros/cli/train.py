"""`dfd train`: train a network."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfd_ros.training.config import TrainingConfig

HELP = 'train a network from a configuration'
EXAMPLE = 'dfd train stream steps=1000 data.jpeg=0.5'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'config', type=Path, nargs='?', help='YAML file of a run, or the name of one that ships with the package'
    )
    parser.add_argument(
        'settings',
        metavar='SETTING=VALUE',
        nargs='*',
        help='settings that replace those of the configuration, such as steps=1000 or data.jpeg=0.5',
    )
    parser.add_argument('--list', action='store_true', help='print the configurations that ship with the package')
    parser.add_argument('--out', type=Path, default=Path('runs'), help='folder of the runs')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--data',
        metavar='FOLDER',
        help='samples to train on (shards), instead of those in the configuration; also the URL of a folder with an '
        'index (dfd index), https:// or of an object store',
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
    parser.add_argument(
        '--fork',
        metavar='NAME',
        help='start another run of this name from the newest weights of this one, also with other settings',
    )
    parser.add_argument('--steps', type=int, help='optimiser steps, instead of those in the configuration')
    parser.add_argument(
        '--stop-after',
        type=int,
        metavar='STEP',
        help='stop with a checkpoint after this step; run the command without this option to resume',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError, quoted
    from dfd_ros.core.yaml_loader import load
    from dfd_ros.training.config import included_configs, load_config

    if args.list:
        for name, path in included_configs().items():
            comments = itertools.takewhile(lambda line: line.startswith('#'), path.read_text().splitlines())
            text = ' '.join(line.lstrip('# ') for line in comments)
            print(f'{name:16} {re.split("[.:] ?(?= |$)", text)[0]}')
        return 0
    if args.config is None:
        raise InputError('which configuration? dfd train --list prints those that ship with the package')
    from dfd_ros.training.loop import train

    given = {'shards': args.data, 'stacks': args.stacks, 'initial_weights': args.weights, 'steps': args.steps}
    changes: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in given.items() if value is not None
    }
    for setting in args.settings:
        name, equals, value = setting.partition('=')
        if not (name and equals):
            raise InputError(f'{quoted(setting)}: is not SETTING=VALUE, such as steps=1000')
        if name in changes:
            raise InputError(f'{quoted(setting)}: {name} is given twice')
        try:
            changes[name] = load(value)
        except ValueError:
            raise InputError(f'{quoted(setting)}: {quoted(value)} is not a value in YAML') from None
    if args.stop_after is not None and args.stop_after < 1:
        raise InputError(f'--stop-after {args.stop_after}: must be at least 1')
    config = load_config(args.config, **changes)
    if args.fork is not None:
        config = _forked(config, args, changes)
    trained = train(config, args.out / config.name, args.device, args.stop_after)
    if trained.rank:  # the first of the processes of torchrun says it
        return 0
    if not trained.finished:
        print(
            f'stopped after step {trained.step} of {config.steps}; to resume, run the same command without --stop-after'
        )
    print(f'best weights{"" if trained.finished else " so far"}: {trained.best}')
    return 0


def _forked(config: TrainingConfig, args: argparse.Namespace, changes: dict[str, Any]) -> TrainingConfig:
    """The configuration of another run, which starts from a copy of the newest weights of this one."""
    from dfd_ros.core.errors import InputError
    from dfd_ros.training.config import load_config
    from dfd_ros.training.newest_weights import write_newest_weights

    if args.fork == config.name:
        raise InputError(f'--fork {args.fork}: is the name of the run itself, give another')
    if 'initial_weights' in changes:
        raise InputError(f'--fork {args.fork}: starts from the weights of {config.name}, leave out those given')
    copy = args.out / args.fork / 'initial.safetensors'
    forked = load_config(args.config, **{**changes, 'name': args.fork, 'initial_weights': str(copy)})
    if not copy.exists():  # later it is resumed
        write_newest_weights(args.out / config.name, config, copy)
    return forked
