"""The rows of the comparison and their budget, read from YAML."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml
from dfd_ros.core.parsing import parse
from dfd_ros.core.resources import resource
from dfd_ros.evaluation.study.views import MAX_VIEWS

SHIPPED: dict[str, Callable[[], Path]] = {
    'default': networks.default_weights,
    'study': partial(resource, 'weights/stream_study.safetensors'),
    'blender': partial(resource, 'weights/stream_blender.safetensors'),
}
_UNITS = {'m': 1 / 60, 'h': 1.0, 'd': 24.0}


@dataclass(frozen=True)
class Budget:
    """Training budget of each row: a number of steps, or hours spent in steps. The other is 0."""

    steps: int = 0
    hours: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`500` (steps), `10m`, `2h` or `3d`.

        Raises:
            InputError: the text is none of these, or zero.
        """
        match = re.fullmatch(r'(\d+(?:\.\d+)?)([mhd]?)', text.strip())
        if match and float(match[1]) > 0 and (match[2] or '.' not in match[1]):
            return cls(hours=float(match[1]) * _UNITS[match[2]]) if match[2] else cls(steps=int(match[1]))
        raise InputError(f'budget "{text}": give optimiser steps (500) or the time of each network (10m, 2h, 3d)')


@dataclass(frozen=True)
class Row:
    """One row of the comparison.

    Attributes:
        name: short name, for its folder and the command line; title: for tables and pictures.
        network, config: arguments of `dfd_ros.networks.create`; in `config`, 'crop' means the side of the crops, for
            networks that are built for one size.
        train: False for methods without learning.
        weights: file to start from, or to measure if the row is not trained; names in `SHIPPED` mean shipped weights;
            empty = random weights.
        views: number of views to average, see `dfd_ros.evaluation.study.views`.
        training: settings of `TrainingConfig` for this row: losses, learning rate, decoded frames (`decode`; 'all' =
            all of a stack).
    """

    name: Annotated[str, Field(pattern='^[a-z0-9_]+$')]
    network: str
    title: str = ''
    config: dict = field(default_factory=dict)
    train: bool = True
    weights: str = ''
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)] = 1
    training: dict = field(default_factory=dict)

    def weights_path(self) -> Path | None:
        """The file that `weights` means; None = random weights."""
        if self.weights in SHIPPED:
            return SHIPPED[self.weights]()
        return Path(self.weights) if self.weights else None

    def network_config(self, crop: int, frames: int) -> dict:
        """`config` for crops of this side (px) and, if the network reads stacks, for stacks of `frames` frames."""
        config = {key: [crop, crop] if value == 'crop' else value for key, value in self.config.items()}
        return {'frames': frames, **config} if networks.find(self.network).reads_stacks else config


@dataclass(frozen=True)
class _File:
    rows: Annotated[list[Row], Field(min_length=1)]
    training: dict | None = None


def read_rows(path: Path) -> tuple[dict, list[Row]]:
    """The training settings that all rows share, and the rows.

    Raises:
        InputError: the file does not exist or is not YAML, or a row is invalid.
    """
    file = parse(_File, read_yaml(path), str(path))
    rows = [replace(row, title=row.title or row.name) for row in file.rows]
    for names in ([row.name for row in rows], [row.title for row in rows]):  # tables identify rows by title
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f'{path}: two rows are called "{twice}"')
    return file.training or {}, rows


def choose_rows(rows: list[Row], wanted: str | None) -> list[Row]:
    """The rows that a list such as `stream,lstm_ddff` selects, by row or network name; None = all.

    Raises:
        InputError: a name matches no row.
    """
    if wanted is None:
        return rows
    names = [name.strip() for name in wanted.split(',') if name.strip()]
    known = [*dict.fromkeys(name for row in rows for name in (row.name, row.network))]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f'no row of the study "{unknown[0] if unknown else wanted}": choose from {", ".join(known)}')
    return [row for row in rows if row.name in names or row.network in names]
