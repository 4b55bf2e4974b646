"""Finds the members of samples in a shard, from the headers of the tar file."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import require_file
from dfd_ros.datasets.stored_sample import FORMAT

_BLOCK = 512  # bytes, of a tar file


@dataclass
class Extent:
    """Where a sample is.

    Attributes:
        begin, end: bytes of the shard, headers included, among which all of the sample is.
        members: (offset, size) of each member by its suffix.
    """

    begin: int
    end: int = 0
    members: dict[str, tuple[int, int]] = field(default_factory=dict)


def samples_of_shard(shard: Path) -> dict[str, Extent]:
    """The samples of a shard by key, in its order.

    Raises:
        InputError: it is truncated, no tar file, or has something else than samples in it, or nothing.
    """
    length = require_file(shard).stat().st_size
    with open(shard, 'rb') as file:
        try:
            samples, end = _read(file, length)
        except (tarfile.TarError, ValueError, ArithmeticError, EOFError, MemoryError) as error:
            raise InputError(f'{shard}: truncated or not a tar file ({reason(error)}); create it again') from None
        file.seek(end)
        if file.read(2 * _BLOCK) != bytes(2 * _BLOCK):  # which end an archive
            raise InputError(f'{shard}: truncated; create it again')
    if not samples:
        raise InputError(f'{shard}: no sample in it; create it again')
    for key, sample in samples.items():
        for suffix in ('json', 'truth.npz'):
            if suffix not in sample.members:
                raise InputError(f'{shard}: {key} has no {key}.{suffix}, it is not a sample of {FORMAT}')
    return samples


def members_within(data: bytes, key: str) -> dict[str, tuple[int, int]]:
    """The members of a sample in the bytes of its `Extent`, counted from their first one.

    Raises:
        ValueError, LookupError, tarfile.TarError: these are other bytes.
    """
    samples, _ = _read(io.BytesIO(data), len(data))
    return samples[key].members


def _read(file: BinaryIO, length: int) -> tuple[dict[str, Extent], int]:
    """The samples, and where the last member ends."""
    samples: dict[str, Extent] = {}
    with tarfile.open(fileobj=file, mode='r:') as tar:
        for member in tar:
            key, _, suffix = member.name.partition('.')
            if member.isfile() and not member.issparse() and member.offset_data + member.size <= length:
                sample = samples.setdefault(key, Extent(member.offset))
                sample.members[suffix] = member.offset_data, member.size
                sample.end = tar.offset
        return samples, tar.offset
