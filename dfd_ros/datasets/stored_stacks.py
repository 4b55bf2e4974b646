"""Focal stacks with ground truth in a folder: shards of samples, or focal-stack folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack, stacks_with_depth
from dfd_ros.core.remote_files import is_remote
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import Samples, shards_below


class StoredStack(NamedTuple):
    """The name within the folder, and a function that reads it."""

    name: str
    read: Callable[[], Sample]


def stored_stacks(folder: str | Path) -> list[StoredStack]:
    """All samples in the shards below a folder, or a URL of one, or all focal-stack folders with true depth if there
    are no shards.

    Raises:
        InputError: there are none.
    """
    if is_remote(folder) or shards_below(Path(folder)):
        samples = Samples(folder)
        return [StoredStack(name, partial(samples.__getitem__, i)) for i, name in enumerate(samples.names)]
    folder = Path(folder)
    paths = stacks_with_depth(folder)
    if not paths:
        raise InputError(f'{folder}: no shard (*.tar) and no focal stack (a stack.yaml that names depth) in it')
    return [StoredStack(str(path.relative_to(folder)), partial(read_folder, path)) for path in paths]


def read_folder(folder: str | Path) -> Sample:
    """A focal-stack folder as a sample. Raises `InputError` where it cannot be read."""
    return Sample.from_focal_stack(FocalStack.read(folder))
