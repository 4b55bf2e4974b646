"""The newest weights of a run: of its checkpoint, or of its last validation."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from dfd_ros import networks
from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import output_folder, written_atomically
from dfd_ros.core.run_files import CHECKPOINT, LAST
from dfd_ros.training import checkpoint
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.starting_network import average_of, starting_network


def write_newest_weights(run: Path, config: TrainingConfig, out: Path) -> None:
    """Write the averaged weights after the last step of a run, of which `config` is the configuration, to a file.

    Raises:
        InputError: the run has none, or its checkpoint is damaged or of another network.
    """
    validated = _steps(run / LAST)
    saved = checkpoint.read(run / CHECKPOINT) if (run / CHECKPOINT).exists() else None
    if saved is None and validated is None:
        raise InputError(f'{run}: has no weights yet; run {config.name} first')
    steps = -1 if saved is None else checkpoint.step_of(saved, run / CHECKPOINT)
    output_folder(out.parent, out.name)
    if saved is None or (validated is not None and validated >= steps):
        with written_atomically(out) as temporary:
            shutil.copyfile(run / LAST, temporary)
        return
    network = starting_network(config, torch.device('cpu'))
    average = average_of(network, config.ema)
    try:
        average.load_state_dict(saved['average'])
        network.load_state_dict(average.module.state_dict())
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f'{run / CHECKPOINT}: not of the network of {config.name} ({reason(error)})') from None
    networks.save(out, network, {'steps': str(steps), 'run': json.dumps(asdict(config))})


def _steps(weights: Path) -> int | None:
    """The steps after which they were written; None: there are none."""
    if not weights.exists():
        return None
    with networks.opened(weights) as file:
        steps = file.metadata.get('steps', '0')
    return int(steps) if steps.isdecimal() else 0
