"""Runs the commands of docs/results.md again, in its order: its figures on this machine and this commit.

.venv/bin/dfd benchmark results                      # hours
.venv/bin/python benchmarks/results.py --list
.venv/bin/python benchmarks/results.py speed study   # those with one of these words

Commands that need data of yours, in capital letters or in data/, are named and left out.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

from _common import exit_with, machine

from dfd_ros.core.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
COMMAND = re.compile(r'`((?:python benchmarks/|dfd (?:benchmark|evaluate) |make demo)[^`]*)`')
NEEDS_DATA = re.compile(r'\b[A-Z]{4,}\b|data/')


def commands() -> dict[str, str]:
    """Every command of the page, once, with what the first row that has it measures."""
    found: dict[str, str] = {}
    for line in (ROOT / 'docs' / 'results.md').read_text().splitlines():
        what = line.split('|')[1].strip() if line.startswith('|') else ''
        for command in COMMAND.findall(line):
            found.setdefault(command, what)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('words', metavar='WORD', nargs='*', help='part of the commands to run (default: all)')
    parser.add_argument('--list', action='store_true', help='print the commands alone')
    options = parser.parse_args(arguments)
    chosen = {
        command: what
        for command, what in commands().items()
        if not options.words or any(word in command for word in options.words)
    }
    if not chosen:
        raise InputError(f'{" ".join(options.words)}: in no command of docs/results.md')
    if not options.list:
        print(f'{datetime.date.today()}, {machine()}', flush=True)
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
    status = 0
    for command, what in chosen.items():
        needs_data = NEEDS_DATA.search(command)
        print(f'\n## {what or command}\n\n{command}{": left out, it needs data" if needs_data else ""}\n', flush=True)
        if not options.list and not needs_data:
            status = max(status, subprocess.run(command, shell=True, cwd=ROOT, env=environment).returncode)
    return status


if __name__ == '__main__':
    exit_with(main)
