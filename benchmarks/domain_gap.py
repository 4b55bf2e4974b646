"""What networks lose between procedural and Blender scenes, out of studies that were measured on both.

    dfd study --blender data/blender/test --out study ...
    dfd study --data data/blender/train --blender data/blender/test --out study_blender ...
    .venv/bin/python benchmarks/domain_gap.py study study_blender

One table: for each network, what it was trained on, and its figures on small and large objects of either kind.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from _common import exit_with

from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.evaluation.study.study_report import cells_of, duration

SETS = {'large': 'procedural', 'blender': 'Blender'}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('studies', metavar='DIR', nargs='+', type=Path, help='folders of `dfd study`')
    options = parser.parse_args(arguments)
    rows = sorted((row for folder in options.studies for row in _rows(folder)), key=lambda row: row[0])
    header = ['network', 'trained on']
    for title in SETS.values():
        header += [f'{title}: MSE', 'RMS', 'Accuracy']
    print(table(header, rows))
    return 0


def _rows(folder: Path) -> list[list[str]]:
    try:
        results = json.loads((folder / 'results.json').read_text())
    except (OSError, ValueError):
        raise InputError(f'{folder}: no results.json of a study in it') from None
    found = [
        [
            row['title'],
            _training(row, results['settings']),
            *(cell for name in SETS for cell in cells_of(row['sets'][name])[:3]),
        ]
        for row in results['rows']
        if 'rms' in row['sets'].get('blender', {})
    ]
    if not found:
        raise InputError(f'{folder}: was not measured on Blender scenes, run its dfd study again with --blender')
    return found


def _training(row: dict, settings: dict) -> str:
    weights = row.get('weights', 'trained before')  # results of earlier versions do not say by what
    before = ['as it ships' if weights == 'default' else weights] if row['trained_before'] else []
    if 'hours' in row:
        before.append(f'{", ".join(settings["data"]) or "procedural"}, {duration(row["hours"])}')
    return ', then '.join(before) or 'nothing'


if __name__ == '__main__':
    exit_with(main)
