"""Odd messages, frames and files for everything that reads them: is each read, or refused in one line?

    .venv/bin/python benchmarks/fuzz.py --factor 1
    .venv/bin/python benchmarks/fuzz.py --only weights --count 1000 --seed 7

The counts of factor 1 take hours. `--first N --count 1` gives a single input again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from _common import machine
from fuzzing import SUBJECTS, fuzz

from dfd_ros.core.markdown_table import table

COUNTS = {'messages': 100_000, 'nodes': 20_000, 'frames': 20_000, 'bags': 5_000, 'steps': 200}
OTHER_FILES = 700  # of each kind: more than 5,000 in all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=SUBJECTS, default=list(SUBJECTS), help='kinds of input')
    parser.add_argument('--factor', type=float, default=0.01, help='share of the usual counts')
    parser.add_argument('--count', type=int, help='inputs of each kind, instead')
    parser.add_argument('--first', type=int, default=0, help='number of the first input')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args(arguments)
    print(machine(), flush=True)
    rows, faults = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            count = options.count or max(1, round(options.factor * COUNTS.get(name, OTHER_FILES)))
            began = time.monotonic()
            outcome = fuzz(name, count, options.seed, Path(folder), options.first)
            seconds = time.monotonic() - began
            rows.append(
                [
                    name,
                    count,
                    outcome.read,
                    outcome.refused,
                    sum(outcome.faults.values()),
                    f'{outcome.peak / 2**20:.0f}',
                ]
            )
            print(f'{name}: {count} in {seconds:.0f} s', flush=True)
            for fault, number in outcome.faults.most_common():
                faults.append(f'* {name}, {number} times, first {outcome.first[fault]}: {fault}')
                print(faults[-1], flush=True)
    print(f'\nseed {options.seed}\n')
    print(
        table(['input', 'count', 'read', 'refused', 'faults', 'peak MB'], [[str(cell) for cell in row] for row in rows])
    )
    print('\n'.join(['', *faults]))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
