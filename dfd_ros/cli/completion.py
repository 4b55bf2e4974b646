"""dfd completion: completion of commands and options in the shell."""

from __future__ import annotations

import argparse

HELP = 'print the code by which a shell completes commands and options (needs argcomplete)'
EXAMPLE = 'dfd completion bash >> ~/.bashrc'

SHELLS = ('bash', 'zsh', 'fish', 'tcsh', 'powershell')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('shell', choices=SHELLS, help='shell that reads the code when it starts')


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError

    try:
        import argcomplete
    except ImportError:
        raise InputError('completion needs the package argcomplete: pip install argcomplete') from None
    print(argcomplete.shellcode(['dfd'], shell=args.shell))
    return 0
