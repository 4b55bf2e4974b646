"""The log of a training run: log.jsonl, and for TensorBoard, if it is installed, the same figures, the configuration
and the pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import yaml

from dfd_ros.core.files import naming, require_writable
from dfd_ros.core.image_io import read_image
from dfd_ros.core.run_files import LOG
from dfd_ros.training.config import TrainingConfig


class RunLog:
    """Appends figures to FOLDER/log.jsonl. config: of the run."""

    def __init__(self, folder: Path, config: TrainingConfig):
        self._path = folder / LOG
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._tensorboard = None
        else:
            self._tensorboard = SummaryWriter(folder)
            text = yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False)
            self._tensorboard.add_text('configuration', f'```\n{text}```')

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

    def show(self, picture: Path, step: int) -> None:
        """Show a validation's picture in TensorBoard."""
        if self._tensorboard:
            self._tensorboard.add_image('validation/samples', read_image(picture), step, dataformats='HWC')

    def close(self) -> None:
        """Write what TensorBoard's writer still holds."""
        if self._tensorboard:
            self._tensorboard.close()
