"""Validation stacks that are rendered once and kept beside the runs, which show them again and again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from dfd_ros.core.errors import InputError
from dfd_ros.core.resources import PACKAGE
from dfd_ros.datasets.stack_files import read_stacks, write_stacks
from dfd_ros.synthesis.procedural import StackBatch

_CODE = ('core', 'synthesis')
"""The subpackages that render a stack."""


def kept(folder: Path, name: str, made_of: dict[str, Any], device: torch.device, render: Callable[[], StackBatch]):
    """The stacks of `render()`, on the device: read from a file if they were rendered before, of the same.

    Args:
        folder: of the files, NAME-FINGERPRINT.safetensors; runs that are resumed, forked or alike share them.
        made_of: settings and content of the input, as JSON; the fingerprint also covers the code that renders, the
            libraries and the kind of device.
    """
    described = json.dumps(
        {**made_of, 'code': _code(), 'made_with': _libraries(), 'device': device.type}, sort_keys=True
    )
    path = folder / f'{name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}.safetensors'
    with contextlib.suppress(InputError):  # not there, or damaged: rendered
        return read_stacks(path).to(device)
    stacks = render()
    folder.mkdir(parents=True, exist_ok=True)
    write_stacks(path, stacks, {'made_of': described})
    return stacks


def _libraries() -> dict[str, str]:
    return {'torch': torch.__version__, 'numpy': numpy.__version__}


@functools.cache
def _code() -> str:
    """A hash of the code: versions do not tell the states of a checkout apart."""
    digest = hashlib.sha256()
    for path in sorted(path for name in _CODE for path in (PACKAGE / name).rglob('*.py')):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
