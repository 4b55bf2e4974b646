"""The card (README.md) of a folder of converted recordings, which adds up the reports of all of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError, warn
from dfd_ros.core.files import locked, read_json, read_text, write_text
from dfd_ros.core.parsing import parse
from dfd_ros.core.run_files import CARD

TITLE = '# Converted recordings: '
LISTED = 100
"""Recordings that the card names; the reports say it of the others."""


@dataclass(frozen=True)
class _Report:
    """The used parts of NAME.json."""

    job: dict[str, Any]
    images: NonNegativeInt
    frames: NonNegativeInt
    samples: NonNegativeInt
    left_out: dict[str, NonNegativeInt]
    shards: tuple[str, ...]
    made_by: dict[str, str] = field(default_factory=dict)


def write_card(folder: Path) -> None:
    """Write the card, if there are reports. Of several jobs that end at once the last one sees all reports.

    A README.md of somebody else stays, with a warning.
    """
    handle = locked(folder, wait=True)
    try:
        reports = _reports(folder)
        card = folder / CARD
        if not reports:
            return
        before = read_text(card) if os.path.lexists(card) else None
        if before is not None and not before.startswith(TITLE):
            warn(f'{card}: is not of dfd convert, so the card of the recordings was not written')
            return
        text = _text(folder, reports)
        if text != before:
            write_text(card, text, flush=False)  # a lost one is written again
    finally:
        os.close(handle)


def _reports(folder: Path) -> dict[str, _Report]:
    """Of each recording, by name. Other JSON files do not count."""
    reports = {}
    for path in sorted(folder.glob('*.json')):
        with contextlib.suppress(InputError):
            reports[path.stem] = parse(_Report, read_json(path), str(path), extra='ignore')
    return reports


def _text(folder: Path, reports: dict[str, _Report]) -> str:
    samples, frames, images = (
        sum(getattr(report, name) for report in reports.values()) for name in ('samples', 'frames', 'images')
    )
    left_out = sum((Counter(report.left_out) for report in reports.values()), Counter())
    shards = [folder / name for report in reports.values() for name in report.shards]
    size = sum(path.stat().st_size for path in shards if path.exists())
    settings = {json.dumps(report.job.get('settings'), sort_keys=True) for report in reports.values()}
    makers = sorted({provenance.described(report.made_by) for report in reports.values()})
    lines = [
        f'{TITLE}{len(reports)}, {samples} samples',
        '',
        '| | |',
        '| --- | --- |',
        f'| samples | {samples} of {frames} frames, {size / 1e6:.1f} MB in {len(shards)} shards |',
        f'| images | {images}; left out: {_counts(left_out)} |',
        f'| settings | {f"`{settings.pop()}`" if len(settings) == 1 else "differ: see the reports, NAME.json"} |',
        f'| made by | {"; ".join(makers)} |',
        '',
        '| recording | samples | frames | images | left out |',
        '| --- | --- | --- | --- | --- |',
    ]
    for name, report in list(reports.items())[:LISTED]:
        counts = f'{report.samples} | {report.frames} | {report.images}'
        lines.append(f'| {name} | {counts} | {_counts(Counter(report.left_out))} |')
    if len(reports) > LISTED:
        lines += ['', f'And {len(reports) - LISTED} more, each with its report, NAME.json.']
    return '\n'.join([*lines, ''])


def _counts(left_out: Counter[str]) -> str:
    return ', '.join(f'{count} {reason}' for reason, count in left_out.most_common() if count) or 'none'
