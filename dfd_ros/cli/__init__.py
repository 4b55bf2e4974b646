"""The command `dfd`: one module per subcommand. Exits with 0 on success, and with 2 and one clear line on bad input.

A command module has `HELP` (one line), `EXAMPLE` (a command line to copy), `add_arguments(parser)` and
`run(args) -> int`, which returns the exit status. Heavy imports belong in `run`, so that `dfd --help` stays quick.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import dfd_ros
from dfd_ros.cli import _boundary
from dfd_ros.core.errors import shortened

UNTIL_STOPPED = ('run', 'view')
"""Commands that run until a signal comes, which is no failure: status 0."""
_FIRST = ('demo', 'estimate', 'view', 'run', 'calibrate')


class _Parser(argparse.ArgumentParser):
    """Prints one line for a wrong argument; argparse would print the usage as well."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'dfd: error: {shortened(message, 400)} (see {self.prog} --help)\n')


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of the example."""

    def _get_help_string(self, action):
        is_known = action.default not in (None, '') and action.default == action.default  # NaN stands for unknown
        is_shown = is_known and not isinstance(action.default, bool)
        return super()._get_help_string(action) if is_shown else action.help


def _names() -> list[str]:
    """The commands, those for a first look first."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith('_'))
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def _load(name: str) -> ModuleType:
    return importlib.import_module(f'{__name__}.{name}')


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for this command line. Imports only the command in use; all of them for the overview."""
    parser = _Parser(
        prog='dfd',
        formatter_class=_Help,
        description='Metric depth from a focus sweep.',
        epilog='dfd COMMAND --help shows the arguments of a command, and an example. '
        f'With {_boundary.TRACEBACK}=1 in the environment an error comes with its traceback.',
    )
    parser.add_argument('--version', action='version', version=f'dfd {dfd_ros.__version__}')
    subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True, parser_class=_Parser)
    wanted = [name for name in _names() if name in argv[:1]] or _names()
    for name in wanted:
        module = _load(name)
        command = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f'example:\n  {module.EXAMPLE}',
            formatter_class=_Help,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `dfd` with these arguments (default: those of the process) and return the exit status."""
    _boundary.tolerant_output()
    argv = (sys.argv[1:] if argv is None else list(argv)) or ['--help']
    is_usual_end = bool(argv) and argv[0] in UNTIL_STOPPED
    try:
        with _boundary.signals(is_usual_end):
            parser = _parser(argv)
            for argument in argv:
                if argument.startswith('--') and argument.endswith('=--'):  # argparse makes an empty list of it
                    parser.error(f'argument {argument.removesuffix("=--")}: expected one argument')
            args = parser.parse_args(argv)
            status = args.run(args)
            sys.stdout.flush()
            return status
    except (Exception, KeyboardInterrupt, _boundary.Terminated) as error:
        if is_usual_end and isinstance(error, KeyboardInterrupt | _boundary.Terminated):
            return 0
        return _boundary.exit_status(error)
