"""Shards that any number of processes, on any number of machines, write into one folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import changed_value, write_json, written_atomically
from dfd_ros.core.sample import Sample
from dfd_ros.core.shared_lock import SharedLock
from dfd_ros.datasets.shards import Samples, pack, write_sample


@contextlib.contextmanager
def unless(is_there: Callable[[], bool]) -> Iterator[None]:
    """Within this context, a failure to write does not count if what was to be written is there: another process was
    faster, and may have removed temporary files too."""
    try:
        yield
    except (OSError, InputError):
        if not is_there():
            raise


class SharedShards:
    """The samples of a set, as shards `NAME-KEY.tar` with the key of their first sample.

    Each sample is first a file of its own in a hidden folder, `part(key)`, written atomically. A shard
    is packed by the first process that finds all its samples there. Its content follows from the keys alone, so that
    the files are the same however many processes write them, and whichever of them are killed; two that write the same
    sample or shard do no harm, with or without locks. What is there from an earlier process is found.

    Args:
        folder: created if it does not exist.
        name: of the shards.
        keys: of all samples of the set, in order; the same for all processes.
        samples_per_shard: maximum number in each.
        shares: other processes may write the set too. If not, they are refused, and samples that do not fill their
            shard are packed at the end as well.
        claim: called with whether no other process has written or writes samples here, to check or note their settings;
            the one that was to note them may have been killed.

    Raises:
        InputError: another process writes here alone, or other keys.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keys: Sequence[str],
        samples_per_shard: int,
        shares: bool,
        claim: Callable[[bool], None] = lambda is_new: None,
    ):
        self.folder, self.name, self.keys = Path(folder), name, list(keys)
        self.parts = self.folder / f'.{name}.parts'
        self.folder.mkdir(parents=True, exist_ok=True)
        self._shares, self._lock = shares, SharedLock(self.folder, shares)
        try:
            is_first = self._lock.is_first
            packed = self._packed()
            waiting = [path for path in self.parts.glob('[!.]*.tar') if path.stem not in packed]
            claim(is_first and not packed and not waiting)
            self.parts.mkdir(exist_ok=True)
            self._claim(samples_per_shard, is_first)
        except BaseException:
            self._lock.close()
            raise
        self._lock.share()
        # Shards are packed whole, so this cuts the rest as the processes before this one did.
        rest = [key for key in self.keys if key not in packed]
        blocks = [rest[i : i + samples_per_shard] for i in range(0, len(rest), samples_per_shard)]
        self._blocks = {key: block for block in blocks for key in block}
        for block in blocks:
            self._pack_if_whole(block)

    def _packed(self) -> set[str]:
        shards = sorted(self.folder.glob(f'{self.name}-*.tar'))
        return {name.rpartition('/')[2] for name in Samples(shards).names} if shards else set()

    def _claim(self, samples_per_shard: int, is_first: bool) -> None:
        """Processes that cut the set differently must not meet."""
        path = self.parts / 'set.json'
        cut = {'samples_per_shard': samples_per_shard, 'count': len(self.keys), 'first': self.keys[0]}
        if is_first or not path.exists():  # the first may have been killed
            write_json(path, cut)
        elif other := changed_value(path, cut):
            raise InputError(
                f'{self.folder}: other processes write a set with {other[0]} {other[1]}, not {other[2]}; give the '
                'same, wait for their end, or give another folder'
            )

    def part(self, key: str) -> Path:
        """The file of a sample until it is packed."""
        return self.parts / f'{key}.tar'

    def has(self, key: str) -> bool:
        """Whether a sample is there."""
        return key not in self._blocks or self.part(key).exists() or self._shard(self._blocks[key]).exists()

    def count(self) -> int:
        """How many samples of the set are there."""
        return sum(map(self.has, self.keys))

    def write(self, key: str, sample: Sample) -> None:
        """Write a sample."""
        with unless(partial(self.has, key)):
            write_sample(self.part(key), key, sample)
        self.add(key)

    def add(self, key: str) -> None:
        """A sample has been written to its `part`: pack its shard if that was the last one of it."""
        self._pack_if_whole(self._blocks[key])

    def _shard(self, block: list[str]) -> Path:
        return self.folder / f'{self.name}-{block[0]}.tar'

    def _pack_if_whole(self, block: list[str]) -> None:
        if self._shard(block).exists():
            for key in block:  # rendered twice, or a kill came between packing and deleting
                self.part(key).unlink(missing_ok=True)
        elif all(self.part(key).exists() for key in block):
            self._pack(block)

    def _pack(self, keys: list[str]) -> None:
        shard = self._shard(keys)
        with unless(shard.exists), written_atomically(shard) as temporary:
            pack(temporary, map(self.part, keys))
        for key in keys:
            self.part(key).unlink(missing_ok=True)

    def _shards_to_make(self) -> list[list[str]]:
        return list({block[0]: block for block in self._blocks.values()}.values())

    def finish(self) -> bool:
        """Pack what is left to pack. Returns whether the set is complete."""
        for block in self._shards_to_make():
            self._pack_if_whole(block)
        return all(self._shard(block).exists() for block in self._shards_to_make())

    def __enter__(self) -> SharedShards:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            is_complete = self.finish()
            if not self._lock.take_alone():
                return  # others are at work, and the last one cleans up
            for left in self.folder.glob(f'.{self.name}-*.part.tar'):  # of killed processes, here or elsewhere
                left.unlink(missing_ok=True)
            if not self._shares and not is_complete:
                for block in self._shards_to_make():
                    there = [key for key in block if self.part(key).exists()]
                    if there:
                        self._pack(there)
            # Nothing waits, nor does a sample of another set, which was interrupted.
            if (is_complete or not self._shares) and not any(self.parts.glob('[!.]*.tar')):
                shutil.rmtree(self.parts, ignore_errors=True)
        finally:
            self._lock.close()
