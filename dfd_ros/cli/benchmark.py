"""dfd benchmark: speed, memory and accuracy on this machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HELP = 'measure speed, memory and accuracy on this machine (needs a checkout)'
EXAMPLE = 'dfd benchmark speed stability'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'names',
        metavar='NAME',
        nargs='*',
        help='benchmarks to run (default: all); python benchmarks/NAME.py --help shows the options of one',
    )
    parser.add_argument('--weights', metavar='FILE', type=Path, help='weights file (default: the shipped weights)')
    parser.add_argument('--stack', metavar='DIR', type=Path, help='real focal stack, for the benchmark real_stack')


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError

    scripts = _scripts()
    unknown = [name for name in args.names if name not in scripts]
    if unknown:
        raise InputError(f'no benchmark "{unknown[0]}": choose from {", ".join(scripts)}')
    if 'real_stack' in args.names and args.stack is None:
        raise InputError('benchmark real_stack: give the folder of a real focal stack with --stack')
    if args.weights is not None and not args.weights.is_file():
        raise InputError(f'weights {args.weights}: no such file')
    status = 0
    for name in args.names or scripts:
        reason = _cannot_run(name, args) if not args.names else None
        print(f'\n## {name}\n' if reason is None else f'\n## {name}: skipped, {reason}', flush=True)
        if reason is None:
            # One process each, so that threads and memory of one do not affect the next.
            status = max(status, subprocess.run([sys.executable, scripts[name], *_arguments(name, args)]).returncode)
    return status


def _scripts() -> dict[str, Path]:
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.resources import PACKAGE

    folder = PACKAGE.parent / 'benchmarks'
    if not folder.is_dir():
        raise InputError(f'dfd benchmark: this installation ({PACKAGE}) has no benchmarks; run it in a checkout')
    return {path.stem: path for path in sorted(folder.glob('[!_]*.py'))}


def _cannot_run(name: str, args: argparse.Namespace) -> str | None:
    import importlib.util

    if name == 'real_stack' and args.stack is None:
        return 'needs a real focal stack (--stack)'
    if name == 'ros_latency' and importlib.util.find_spec('rclpy') is None:
        return 'ROS 2 is not installed'
    return None


def _arguments(name: str, args: argparse.Namespace) -> list[str]:
    weights = [] if args.weights is None or name in ('throughput', 'calibration') else ['--weights', str(args.weights)]
    return weights + ([str(args.stack)] if name == 'real_stack' else [])
