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
    """What each row is trained for: a number of steps, or hours spent in steps. One of them is 0."""

    steps: int = 0
    hours: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`500` (steps), `10m`, `2h` or `3d`.

        Raises:
            InputError: it is none of these, or nothing.
        """
        match = re.fullmatch(r'(\d+(?:\.\d+)?)([mhd]?)', text.strip())
        if match and float(match[1]) > 0 and (match[2] or '.' not in match[1]):
            return cls(hours=float(match[1]) * _UNITS[match[2]]) if match[2] else cls(steps=int(match[1]))
        raise InputError(f'budget "{text}": give optimiser steps (500) or the time of each network (10m, 2h, 3d)')


@dataclass(frozen=True)
class Row:
    """One row of the comparison.

    Attributes:
        name: short, of its folder and on the command line; title: in tables and pictures.
        network, config: as `dfd_ros.networks.create` takes them; in `config` the text 'crop' stands for the side of
            the crops, for networks that are built for one size.
        train: False for what has nothing to learn.
        weights: a file to start from, or, without training, to measure as it is; the names of `SHIPPED` stand for those
            that ship, empty = random weights.
        views: it is measured by the mean of this many views, see `dfd_ros.evaluation.study.views`.
        training: settings of `TrainingConfig` that are this row's own: losses, learning rate, decoded frames
            (`decode`; `all` of a stack).
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
        """The file of `weights`."""
        if self.weights in SHIPPED:
            return SHIPPED[self.weights]()
        return Path(self.weights) if self.weights else None

    def network_config(self, crop: int, frames: int) -> dict:
        """`config`, for crops of this side (px) and, where the network reads whole stacks, for stacks of `frames`
        frames."""
        config = {key: [crop, crop] if value == 'crop' else value for key, value in self.config.items()}
        return {'frames': frames, **config} if networks.find(self.network).reads_stacks else config


@dataclass(frozen=True)
class _File:
    rows: Annotated[list[Row], Field(min_length=1)]
    training: dict | None = None


def read_rows(path: Path) -> tuple[dict, list[Row]]:
    """The settings of training that all rows share, and the rows.

    Raises:
        InputError: the file is absent, not YAML, or a row is not whole.
    """
    file = parse(_File, read_yaml(path), str(path))
    rows = [replace(row, title=row.title or row.name) for row in file.rows]
    for names in ([row.name for row in rows], [row.title for row in rows]):  # tables and pictures go by the title
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f'{path}: two rows are called "{twice}"')
    return file.training or {}, rows


def choose_rows(rows: list[Row], wanted: str | None) -> list[Row]:
    """The rows that a list such as `stream,lstm_ddff` names, by their own name or that of their network; None = all.

    Raises:
        InputError: a name is of no row.
    """
    if wanted is None:
        return rows
    names = [name.strip() for name in wanted.split(',') if name.strip()]
    known = [*dict.fromkeys(name for row in rows for name in (row.name, row.network))]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f'no row of the study "{unknown[0] if unknown else wanted}": choose from {", ".join(known)}')
    return [row for row in rows if row.name in names or row.network in names]
