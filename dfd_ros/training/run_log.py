"""The log of a training run: log.jsonl, and the same figures for TensorBoard if it is installed."""

from __future__ import annotations

import json
from pathlib import Path

from dfd_ros.core.files import naming, require_writable

FILE = 'log.jsonl'


class RunLog:
    """Appends figures to FOLDER/log.jsonl."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._tensorboard = None
        else:
            self._tensorboard = SummaryWriter(folder)

    def write(self, group: str, figures: dict[str, float]) -> None:
        """Write the figures of a step, `figures['step']`.

        Args:
            group: training or validation.

        Raises:
            InputError: the file cannot be written.
        """
        path = require_writable(self._path)
        with naming(path), path.open('a') as log:
            log.write(json.dumps({'group': group, **figures}) + '\n')
        if self._tensorboard:
            for name, value in figures.items():
                if name != 'step':
                    self._tensorboard.add_scalar(f'{group}/{name}', value, figures['step'])
