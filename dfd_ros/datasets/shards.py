"""The sample format: focal stacks with ground truth, in WebDataset shards.

A sample is one focal stack of T frames. A shard is a tar file `NAME-000000.tar`, ..., whose members share a sample's
key before the first dot:

* `KEY.json`: format, source, seed, the lens state of each frame (null = unknown, "inf" = infinity), and if known the
  intrinsics [fx, fy, cx, cy] (px), the poses (T x 4x4, camera to world) and other information (`about`), such as what
  made it (`made_by`) of which inputs and settings;
* `KEY.image.TTT.png` or `.jpg`: frame TTT, RGB;
* `KEY.truth.npz`: `depth`, and if known `background`, `coc`, `flow` and `all_in_focus`, see
  `dfd_ros.core.sample.Sample`;
* `KEY.truth.json`, optional: where its rows are, see `dfd_ros.datasets.truth_archive`.

This module does not need torch, which rendering processes do not have.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import math
import os
import tarfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import locked, require_file, written_atomically
from dfd_ros.core.png_rows import encode_png
from dfd_ros.core.remote_files import is_remote
from dfd_ros.core.sample import TRUTH, Sample
from dfd_ros.datasets.sample_index import RemoteSample, remote_samples
from dfd_ros.datasets.shard_members import samples_of_shard
from dfd_ros.datasets.stored_sample import FORMAT, STATE, StoredSample
from dfd_ros.datasets.truth_archive import packed

_BLOCK, _BLOCKS = 2**16, 16  # bytes; number per shard
_COPIED = 2**20  # bytes at a time


class ShardWriter:
    """Writes samples to a folder as shards `NAME-000000.tar`, ... Shards are written atomically.

    A sample is safe once `add` returns: it waits in a hidden folder until it is packed into a shard, and the next
    writer of the same folder and name finds it there. Shards are packed when enough samples wait, and at the end of
    the context. A second writer is refused; other processes write samples into `parts` with `write_sample`, and `take`
    adds them.

    Args:
        folder: created if it does not exist.
        name: of the shards.
        samples_per_shard: maximum number in each.
        image_format: png, or jpg for images that were JPEG before.
        lock: the handle of `locked`, if the caller holds the folder's lock already.
        flush: have every sample on the disk before `add` returns. Otherwise those that wait are safe from kills alone:
            a writer that finds samples from before the machine started, perhaps after a power cut, removes them.

    Raises:
        InputError: another process writes into the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        samples_per_shard: int = 100,
        image_format: str = 'png',
        lock: int | None = None,
        flush: bool = True,
    ):
        if samples_per_shard < 1:
            raise InputError(f'samples per shard: {samples_per_shard}: must be at least 1')
        self.folder, self.name = Path(folder), name
        self.samples_per_shard, self.image_format = samples_per_shard, image_format
        self._flush = flush
        self.parts = self.folder / f'.{name}.parts'
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(self.folder) if lock is None else os.dup(lock)
        try:
            self._find()
        except BaseException:
            os.close(self._lock)
            raise

    def _find(self) -> None:
        """Find what earlier writers have left."""
        self.parts.mkdir(exist_ok=True)
        for left in (*self.folder.glob(f'.{glob.escape(self.name)}-*.part.tar'), *self.parts.glob('.*.part.tar')):
            left.unlink()
        self._shards = sorted(self.folder.glob(f'{glob.escape(self.name)}-*.tar'))
        self._packed = {key for shard in self._shards for key in samples_of_shard(shard)}
        self._waiting: dict[str, Path] = {}
        safe_since = 0.0 if self._flush else time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        for path in sorted(self.parts.glob('[!.]*.tar')):
            is_packed = path.stem in self._packed  # a kill came between packing and deleting
            if is_packed or path.stat().st_mtime < safe_since:
                path.unlink()
            else:
                self._waiting[path.stem] = path

    @property
    def done(self) -> set[str]:
        """Keys of all samples, including those of earlier writers."""
        return self._packed | self._waiting.keys()

    def add(self, key: str, sample: Sample) -> None:
        """Write a sample. Raises `InputError` for an existing or invalid key."""
        if key in self.done:
            raise InputError(f'{self.folder}: sample {key} exists already')
        write_sample(self.parts / f'{key}.tar', key, sample, self.image_format, flush=self._flush)
        self.take(key)

    def take(self, key: str) -> None:
        """Add a sample that another process has written to `parts`."""
        self._waiting[key] = self.parts / f'{key}.tar'
        if len(self._waiting) >= self.samples_per_shard:
            self._pack()

    def _pack(self) -> None:
        keys = sorted(self._waiting)[: self.samples_per_shard]
        if not keys:
            return
        number = 1 + max((int(path.stem.rpartition('-')[2]) for path in self._shards), default=-1)
        shard = self.folder / f'{self.name}-{number:06d}.tar'
        with written_atomically(shard) as temporary:
            pack(temporary, [self._waiting[key] for key in keys])
        self._shards.append(shard)
        # Forget them first: if something interrupts the deletion, they must not be packed twice.
        parts = [self._waiting.pop(key) for key in keys]
        self._packed.update(keys)
        for part in parts:
            part.unlink()

    def close(self) -> None:
        """Pack the waiting samples."""
        try:
            while self._waiting:
                self._pack()
            with contextlib.suppress(OSError):  # another process may still be writing into it
                self.parts.rmdir()
        finally:
            os.close(self._lock)

    def release(self) -> None:
        """Stop without packing what waits: the next writer of the same folder and name finds it."""
        os.close(self._lock)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pack(shard: Path, parts: Iterable[Path]) -> None:
    """Write a shard of the samples of others."""
    with tarfile.TarFile(shard, 'w', copybufsize=_COPIED) as packed:
        for path in parts:
            with tarfile.open(path) as part:
                for member in part:
                    packed.addfile(member, part.extractfile(member))


def write_sample(path: Path, key: str, sample: Sample, image_format: str = 'png', *, flush: bool = True) -> None:
    """Write a shard of one sample, by `written_atomically`. Raises `InputError` for an invalid key."""
    if not key or '.' in key or '/' in key:
        raise InputError(f'sample key "{key}": must be a name without dots and slashes')
    if image_format not in ('png', 'jpg'):
        raise InputError(f'image format "{image_format}": must be png or jpg')
    with (
        written_atomically(path, flush=flush) as temporary,
        tarfile.TarFile(temporary, 'w', copybufsize=_COPIED) as tar,
    ):
        for suffix, data in _members(sample, image_format):
            member = tarfile.TarInfo(f'{key}.{suffix}')  # no time, no owner: files are reproducible
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _members(sample: Sample, image_format: str) -> Iterator[tuple[str, bytes]]:
    frames = []
    for state in sample.lens_states:
        frame: dict = {name: _json_number(getattr(state, name)) for name in STATE}
        frames.append(frame if state.settled else {**frame, 'settled': False})
    description: dict = {'format': FORMAT, 'source': sample.source, 'seed': sample.seed, 'frames': frames}
    if sample.intrinsics is not None:
        description['intrinsics'] = [float(value) for value in sample.intrinsics]
    if sample.poses is not None:
        description['poses'] = sample.poses.tolist()
    description['about'] = {
        provenance.KEY: provenance.made_by(),
        **sample.about,
    }  # that of a sample that was read stays
    yield 'json', json.dumps(description, allow_nan=False).encode()
    digits = max(3, len(str(len(sample) - 1)))
    for t, image in enumerate(sample.images):
        # Rows in the middle can be read alone, of a JPEG because of the restarts: see `dfd_ros.core.image_rows`.
        yield f'image.{t:0{digits}d}.{image_format}', encode_png(image) if image_format == 'png' else _jpeg(image)
    archive, index = packed(
        {
            name: np.ascontiguousarray(getattr(sample, name), dtype)
            for name, (dtype, _) in TRUTH.items()
            if getattr(sample, name) is not None
        }
    )
    yield 'truth.npz', archive
    yield 'truth.json', json.dumps(index).encode()


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=95, restart_marker_rows=1)
    return buffer.getvalue()


class _LocalSample(NamedTuple):
    shard: Path
    key: str
    members: dict[str, tuple[int, int]]

    @property
    def name(self) -> str:
        return f'{self.shard.name}/{self.key}'

    def open(self) -> StoredSample:
        return StoredSample(open(require_file(self.shard), 'rb'), f'{self.shard}: {self.key}', self.members)


class Samples:
    """The samples of a folder, a shard, or several of either. Samples are read on access.

    Args:
        where: a folder with shards in it or below it, the URL of one with an index (`dfd index`), a shard, or several
            of these.
        truth: parts of the ground truth to read beside the depth; the others are None.

    Raises:
        InputError: there are no samples, or a file does not exist or is truncated; also when a sample is read.
    """

    def __init__(self, where: str | Path | Iterable[str | Path], truth: Collection[str] = TRUTH):
        self._truth = truth
        places = [where] if isinstance(where, (str, Path)) else where
        self._entries = [entry for place in places for entry in _entries(place)]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, range(len(self)))

    @property
    def names(self) -> list[str]:
        """SHARD/KEY of each, without the shard's folder."""
        return [entry.name for entry in self._entries]

    def content(self) -> str:
        """A hash of the samples where they have an index; otherwise of names, sizes and some blocks of the shards,
        which may be too large to read in full."""
        digest = hashlib.sha256()
        files = list(dict.fromkeys(entry.shard for entry in self._entries if isinstance(entry, _LocalSample)))
        indexed = [entry for entry in self._entries if isinstance(entry, RemoteSample)]
        for entry in indexed:
            digest.update(f'{entry.name} {entry.sha256}\n'.encode())
        for path in files:
            size = require_file(path).stat().st_size
            digest.update(f'{path.name} {size}\n'.encode())
            with path.open('rb') as file:
                for block in range(_BLOCKS):
                    file.seek(max(size - _BLOCK, 0) * block // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK))
        count = f'{len(indexed)} samples' if indexed else f'{len(files)} files'
        return f'{count}, {digest.hexdigest()[:12]}'

    def __getitem__(self, index: int) -> Sample:
        with self.opened(index) as stored:
            return stored.whole(self._truth)

    def opened(self, index: int) -> StoredSample:
        """A sample to read in part."""
        return self._entries[index].open()


def _entries(place: str | Path) -> Sequence[_LocalSample | RemoteSample]:
    if is_remote(place):
        return remote_samples(str(place))
    return [
        _LocalSample(shard, key, sample.members)
        for shard in shards(place)
        for key, sample in samples_of_shard(shard).items()
    ]


def count(where: str | Path | Iterable[str | Path]) -> int:
    """The number of samples, from the shards' headers."""
    return len(Samples(where))


def require_samples(where: str | Path) -> None:
    """Check that there are shards, or an index at a URL, without reading them. Raises `InputError`."""
    remote_samples(str(where)) if is_remote(where) else shards(where)


def shards(where: str | Path) -> list[Path]:
    """The shards in and below a folder, or the given shard.

    Raises:
        InputError: there are none.
    """
    where = Path(where)
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise InputError(f'{where}: no such folder or shard')
    found = shards_below(where)
    if not found:
        raise InputError(f'{where}: no shard (*.tar) of samples in it')
    return found


def shards_below(folder: Path) -> list[Path]:
    """All shards in and below a folder, except hidden ones, which are unfinished."""
    return sorted(
        path
        for path in folder.glob('**/*.tar')
        if not any(part.startswith('.') for part in path.relative_to(folder).parts)
    )


def _json_number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return 'inf' if math.isinf(value) else float(value)
