"""The folder that jobs render into: its settings, which all of them share, and a log of what each has done, a line of
JSON per sample, with the row of the data card that adds it up."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.files import changed_value, read_text, require_writable, write_json

SETTINGS_FILE = 'settings.json'


def claim_folder(folder: Path, log: str, settings: dict, is_new: bool) -> None:
    """Record the settings of what is rendered into a folder, or check that they are the same. log: its file name.

    Raises:
        InputError: the folder holds something else, or has other settings.
    """
    path = folder / SETTINGS_FILE
    if not path.exists() and any(not there.name.startswith('.') for there in folder.iterdir()):
        raise InputError(
            f'--out {folder}: already exists and is not a data set of this command; choose a new folder or remove it'
        )
    if is_new or not path.exists():
        (folder / log).unlink(missing_ok=True)
        write_json(path, settings)
    elif other := changed_value(path, settings):
        raise InputError(
            f'--out {folder}: holds stacks with other settings ({other[0]}: {shortened(other[1])}, not '
            f'{shortened(other[2])}); give the same ones to resume, choose a new folder or remove it'
        )


class JobLog:
    """Appends to a log that several processes write: each line at once. A kill or a file system that mixes them up
    costs only lines of the log.

    Args:
        path: of the log.
        job: such as 2/4, noted in each line.
    """

    def __init__(self, path: Path, job: str):
        self.job = job
        self._handle = os.open(require_writable(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def write(self, **values: object) -> None:
        os.write(self._handle, (json.dumps({**values, 'job': self.job}) + '\n').encode())

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def read_log(path: Path, key: str) -> dict:
    """The lines of a log by the value of `key`, the last of each; without lines that a kill has cut short."""
    lines = {}
    if path.exists():
        for text in read_text(path, largest=2**30).splitlines():
            try:
                line = json.loads(text)
                lines[line[key]] = line
            except (ValueError, KeyError, TypeError):
                continue
    return lines


def jobs_row(lines: dict, unit: str) -> str:
    """What each job did, for a data card: as in "1/2: 30 stacks in 0.1 h". Times are in `seconds`, in parts or not."""
    counts: dict[str, int] = defaultdict(int)
    spent: dict[str, float] = defaultdict(float)
    for line in lines.values():
        job, seconds = line.get('job', '1/1'), line.get('seconds', 0.0)
        counts[job] += 1
        spent[job] += sum(seconds.values()) if isinstance(seconds, dict) else seconds
    ordered = sorted(counts, key=lambda job: [int(number) for number in reversed(job.split('/'))])
    return '; '.join(f'{job}: {counts[job]} {unit} in {_time(spent[job])}' for job in ordered) or 'unknown'


def _time(seconds: float) -> str:
    return f'{seconds:.1f} s' if seconds < 100 else f'{seconds / 3600:.2f} h'
