"""Rendered stacks in a safetensors file, as the pool of a training and its validation keep them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_file, written_atomically
from dfd_ros.synthesis.procedural import StackBatch


def write_stacks(path: Path, stacks: StackBatch, metadata: dict[str, str] | None = None) -> None:
    """Write stacks, atomically."""
    tensors = {f.name: getattr(stacks, f.name).cpu().contiguous() for f in fields(StackBatch)}
    with written_atomically(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_stacks(path: Path) -> StackBatch:
    """Read stacks, on the CPU.

    Raises:
        InputError: there is no such file, it is truncated, or written by another program.
    """
    try:
        return StackBatch(**load_file(require_file(path)))
    except (SafetensorError, TypeError, OSError) as error:
        raise InputError(f'{path}: cannot be read as a stack ({error}); remove it to render it again') from None


def number_of_stacks(path: Path) -> int:
    """How many stacks a file has, from its header. Raises `InputError` as `read_stacks` does."""
    try:
        with safe_open(require_file(path), 'pt') as file:
            return file.get_slice('images').get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise InputError(f'{path}: cannot be read as stacks ({error}); remove it to render it again') from None
