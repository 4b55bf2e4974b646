"""Validation stacks that are rendered once and kept beside the runs, which show them again and again."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfd_ros.core.files import written_atomically
from dfd_ros.core.resources import PACKAGE
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
    if path.is_file():
        try:
            return StackBatch(**load_file(path)).to(device)
        except (SafetensorError, TypeError, OSError):  # damaged: rendered again
            pass
    stacks = render()
    tensors = {field.name: getattr(stacks, field.name).cpu().contiguous() for field in fields(StackBatch)}
    folder.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        save_file(tensors, temporary, {'made_of': described})
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
