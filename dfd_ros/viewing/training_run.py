"""A training run as `dfd view` shows it: the curves of its log, its validation picture, and stacks for its weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

from dfd_ros.core.files import naming, require_file
from dfd_ros.core.run_files import BEST, LOG, PICTURE, VALIDATION
from dfd_ros.networks import weights_file


class TrainingRun:
    """A folder that `dfd train` writes, also while it does."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError: the run has no weights yet."""
        self.weights = require_file(folder / BEST, '; the first validation of the training writes it')
        with weights_file.opened(self.weights) as file:
            self.weights_step = file.metadata.get('steps', 'unknown')
            try:
                settings = json.loads(file.metadata['run'])
                given = settings['stacks'] or settings['shards']
            except (KeyError, TypeError, ValueError):
                given = ''
        self.data = Path(given) if given and isinstance(given, str) else None
        """Focal stacks or samples that it was trained on; None = rendered stacks."""
        self.picture = folder / PICTURE
        self.curves: dict[str, list[tuple[float, float]]] = {}
        """(step, value) of each figure, by its group and name, such as `training loss`."""
        self.kept = sorted((folder.resolve().parent / VALIDATION).glob('*.safetensors'))
        """Files of the stacks that were rendered for validation."""
        self._log, self._read = folder / LOG, 0

    def read_log(self) -> bool:
        """Reads what the log has got since the last time. Returns whether there was anything."""
        with naming(self._log), open(require_file(self._log), 'rb') as file:
            if file.seek(0, 2) < self._read:  # another training has begun here
                self._read = 0
                self.curves.clear()
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b'\n')
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                self._add(json.loads(line))
            except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError):  # cut by a kill
                continue
        return bool(newline)

    def _add(self, figures: dict) -> None:
        group, step = str(figures.pop('group')), float(figures.pop('step'))
        for name, value in figures.items():
            curve = self.curves.setdefault(f'{group} {name}', [])
            while curve and curve[-1][0] >= step:  # a killed run resumes at an earlier step
                curve.pop()
            curve.append((step, math.nan if value is None else float(value)))


def is_run(path: Path) -> bool:
    """Whether a folder is that of a training run."""
    return (path / LOG).exists()
