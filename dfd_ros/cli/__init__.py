"""The command `dfd`: one module per subcommand. Exits with 0 on success, and with 2 and one clear line on bad input.

A command module has `HELP` (one line), `EXAMPLE` (a command line to copy), `add_arguments(parser)` and
`run(args) -> int`, which returns the exit status. Heavy imports belong in `run`, so that `dfd --help` stays quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import dfd_ros
from dfd_ros.cli import _boundary
from dfd_ros.cli._shell import complete, versions
from dfd_ros.core.errors import shortened
from dfd_ros.core.machine import let_waiting_threads_sleep

let_waiting_threads_sleep()

GROUPS = {
    'Depth of photographs, videos and focal stacks': ('estimate', 'view', 'stack', 'refocus'),
    'On a robot': ('demo', 'run', 'calibrate'),
    'Your own data and networks': ('convert', 'index', 'train', 'evaluate', 'export', 'inspect'),
    'Synthetic data and research': ('render', 'assets', 'study', 'benchmark', 'submit'),
    'The shell': ('completion',),
}
"""The commands, in the order in which people need them."""
VERBOSE = '--verbose'
UNTIL_STOPPED = ('run', 'view')
"""Commands that run until a signal comes, which is no failure: status 0."""


class _Parser(argparse.ArgumentParser):
    """Prints one line for a wrong argument; argparse would print the usage as well."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'dfd: error: {shortened(message, 400)} (see {self.prog} --help)\n')


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of the example."""

    def _get_help_string(self, action):
        is_known = action.default not in (None, '', []) and action.default == action.default  # NaN stands for unknown
        is_written = '(default: ' in (action.help or '')
        is_shown = is_known and not is_written and not isinstance(action.default, bool)
        return super()._get_help_string(action) if is_shown else action.help


def _names() -> list[str]:
    """All commands, in the order of `GROUPS`."""
    found = sorted(
        module.name.removesuffix('_') for module in pkgutil.iter_modules(__path__) if not module.name.startswith('_')
    )
    order = [name for names in GROUPS.values() for name in names]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _cheat_sheet() -> str:
    lines = [f'dfd {dfd_ros.__version__}: metric depth from one camera whose focus moves']
    for title, names in GROUPS.items():
        lines += ['', title]
        for name in names:
            command = _load(name)
            lines += [f'  {command.EXAMPLE}', f'      {command.HELP}']
    lines += ['', 'dfd COMMAND --help shows all arguments of a command.']
    return '\n'.join(lines)


def _load(name: str) -> ModuleType:
    # A module with the name of one of the standard library has an underscore.
    module = f'{name}_' if name in sys.stdlib_module_names else name
    return importlib.import_module(f'{__name__}.{module}')


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for this command line. Imports only the command in use; all of them for the overview."""
    parser = _Parser(
        prog='dfd',
        formatter_class=_Help,
        description='Metric depth from a focus sweep.',
        epilog='dfd COMMAND --help shows the arguments of a command. dfd alone shows an example of each.',
    )
    parser.add_argument('--version', action='version', version=f'dfd {dfd_ros.__version__}')
    parser.add_argument(
        VERBOSE,
        action='store_true',
        help='anywhere in the line: print versions and machine first, and the traceback of an error '
        f'(as {_boundary.TRACEBACK}=1 in the environment)',
    )
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
    argv = sys.argv[1:] if argv is None else list(argv)
    if '_ARGCOMPLETE' in os.environ:
        complete(_parser([]))
    if VERBOSE in argv:
        argv = [argument for argument in argv if argument != VERBOSE]
        os.environ[_boundary.TRACEBACK] = '1'
        print(versions(), file=sys.stderr)
    is_usual_end = bool(argv) and argv[0] in UNTIL_STOPPED
    try:
        with _boundary.signals(is_usual_end):
            if not argv:
                print(_cheat_sheet())
                return 0
            parser = _parser(argv)
            for before, argument in zip(['', *argv], argv):
                if not argument or re.fullmatch('--[a-z-]+=', argument):
                    # As the value of a variable that is not set: the folder to write into would be this one.
                    if before and not before.startswith('-'):
                        before = f'after {before}'
                    name = argument.removesuffix('=') or before or 'COMMAND'
                    parser.error(f'argument {name}: is empty; leave it out')
                if argument.startswith('--') and argument.endswith('=--'):  # argparse makes an empty list of it
                    parser.error(f'argument {argument.removesuffix("=--")}: expected one argument')
            args, rest = parser.parse_known_args(argv)
            behind = [word for word in rest if not word.startswith('-')]  # argparse takes none behind an option
            if hasattr(args, 'settings') and all('=' in word for word in behind):
                args.settings += behind
                rest = [word for word in rest if word not in behind]
            if rest:
                parser.error(f'unrecognized arguments: {" ".join(rest)}')
            status = args.run(args)
            sys.stdout.flush()
            return status
    except (Exception, KeyboardInterrupt, _boundary.Terminated) as error:
        if is_usual_end and isinstance(error, KeyboardInterrupt | _boundary.Terminated):
            return 0
        return _boundary.exit_status(error)
