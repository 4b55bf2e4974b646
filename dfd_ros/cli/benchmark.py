"""dfd benchmark: speed, memory and accuracy on this machine."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

HELP = 'measure speed, memory and accuracy on this machine (needs a checkout); alone: list the benchmarks'
EXAMPLE = 'dfd benchmark speed stability'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'names',
        metavar='NAME',
        nargs='*',
        help='benchmarks to run (default: list them); python benchmarks/NAME.py --help shows the options of one',
    )
    parser.add_argument('--weights', metavar='FILE', type=Path, help='weights file (default: the shipped weights)')
    parser.add_argument('--stack', metavar='DIR', type=Path, help='real focal stack, for the benchmark real_stack')


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError

    scripts = _scripts()
    if not args.names:
        for name, script in scripts.items():
            print(f'{name:20} {_purpose(script)}')
        return 0
    for name in args.names:
        if name not in scripts:
            raise InputError(f'no benchmark "{name}": choose from {", ".join(scripts)}')
        if name == 'real_stack' and args.stack is None:
            raise InputError('benchmark real_stack: give the folder of a real focal stack with --stack')
        if args.weights is not None and "'--weights'" not in scripts[name].read_text():
            raise InputError(f'benchmark {name}: takes no --weights')
    if args.weights is not None and not args.weights.is_file():
        raise InputError(f'weights {args.weights}: no such file')
    weights = [] if args.weights is None else ['--weights', args.weights]
    status = 0
    for name in args.names:
        print(f'\n## {name}\n', flush=True)
        stack = [args.stack] if name == 'real_stack' else []
        # One process each, so that threads and memory of one do not affect the next.
        status = max(status, subprocess.run([sys.executable, scripts[name], *weights, *stack]).returncode)
    return status


def _scripts() -> dict[str, Path]:
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.resources import PACKAGE

    folder = PACKAGE.parent / 'benchmarks'
    if not folder.is_dir():
        raise InputError(f'dfd benchmark: this installation ({PACKAGE}) has no benchmarks; run it in a checkout')
    return {path.stem: path for path in sorted(folder.glob('[!_]*.py'))}


def _purpose(script: Path) -> str:
    """The first sentence of its docstring."""
    return (ast.get_docstring(ast.parse(script.read_text())) or '').split('\n\n')[0].replace('\n', ' ')
