"""The index of a set of shards, by which its samples are read from a web server or object store.

`index.jsonl` in the folder of the set. Its first line is an object: the format, what made it, and the SHA-256 of the
rest. Each other line is a shard: its path from the folder, and the samples in it, each a list of the key, the first
byte in the shard, the number of bytes, and their SHA-256. So a sample is one request, whose answer can be checked.

This module does not need torch, which rendering processes do not have.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import require_file, written_atomically
from dfd_ros.core.remote_files import read_remote
from dfd_ros.datasets.shard_members import members_within, samples_of_shard
from dfd_ros.datasets.stored_sample import StoredSample

FILE = 'index.jsonl'
FORMAT = 'dfd_ros-index-1'


class RemoteSample(NamedTuple):
    """A sample in a shard on a server.

    Attributes:
        shard: its URL.
        begin, size: the bytes of the shard that the sample is in.
        sha256: of them.
    """

    shard: str
    key: str
    begin: int
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """SHARD/KEY, without the shard's folder."""
        return f'{self.shard.rpartition("/")[2]}/{self.key}'

    def open(self) -> StoredSample:
        """Fetch it. Raises `InputError` where the server does not give the bytes of which the index has the hash."""
        data = read_remote(self.shard, self._as_indexed, self.begin, self.size)
        return StoredSample(io.BytesIO(data), f'{self.shard}: {self.key}', members_within(data, self.key))

    def _as_indexed(self, data: bytes) -> bytes:
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError(f'{self.key} is not as in {FILE}; if the set has changed, run dfd index again')
        return data


def write_index(folder: Path, shards: Iterable[Path]) -> Path:
    """Write the index of these shards into the folder that they are in or below, atomically.

    Raises:
        InputError: a shard is damaged, or its name means something else in a URL.
    """
    lines = []
    for shard in shards:
        path = shard.relative_to(folder).as_posix()
        if re.search('[?#%]', path):
            raise InputError(f'{shard}: a URL cannot have this name; rename it, without ?, # and %')
        samples: list[list] = []
        with open(require_file(shard), 'rb') as file:
            for key, sample in samples_of_shard(shard).items():
                file.seek(sample.begin)
                data = file.read(sample.end - sample.begin)
                samples.append([key, sample.begin, len(data), hashlib.sha256(data).hexdigest()])
        lines.append(json.dumps({'shard': path, 'samples': samples}) + '\n')
    rest = ''.join(lines).encode()
    head = {'format': FORMAT, provenance.KEY: provenance.made_by(), 'sha256': hashlib.sha256(rest).hexdigest()}
    with written_atomically(folder / FILE) as temporary:
        temporary.write_bytes(json.dumps(head).encode() + b'\n' + rest)
    return folder / FILE


def read_index(path: Path) -> tuple[dict, list[dict]]:
    """The head of an index on this machine, and its shards. Raises `InputError`."""
    try:
        head, rest = _checked(require_file(path).read_bytes())
        return head, [json.loads(line) for line in rest.splitlines()]
    except ValueError as error:
        raise InputError(f'{path}: {reason(error)}') from None


def remote_samples(folder: str) -> list[RemoteSample]:
    """The samples of a set on a server. folder: its URL.

    Raises:
        InputError: it has no index, or a damaged one.
    """
    if re.search(r'[?#]|://[^/]*@', folder):  # the settings of a training are written into its weights
        shown = re.sub(r'://[^/]*@', '://...@', folder.partition('?')[0])
        raise InputError(
            f'{shown}: give the URL of a folder without password and query; '
            "fsspec's drivers take credentials from the environment and from ~/.config/fsspec"
        )
    url = f'{folder.rstrip("/")}/{FILE}'
    head, rest = read_remote(url, _checked, hint=', run dfd index on the folder of the set')
    if head['format'] != FORMAT:
        raise InputError(f'{url}: its format is {quoted(head["format"])}, must be "{FORMAT}"')
    try:
        samples = [
            RemoteSample(f'{folder.rstrip("/")}/{shard["shard"]}', str(key), int(begin), int(size), str(sha256))
            for shard in map(json.loads, rest.splitlines())
            for key, begin, size, sha256 in shard['samples']
        ]
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f'{url}: damaged ({reason(error)}); run dfd index again') from None
    if not samples:
        raise InputError(f'{url}: no samples in it')
    return samples


def _checked(data: bytes) -> tuple[dict, bytes]:
    """The head and the rest of an index, as it was written."""
    first, _, rest = data.partition(b'\n')
    head = json.loads(first)
    if not isinstance(head, dict) or 'format' not in head or head.get('sha256') != hashlib.sha256(rest).hexdigest():
        raise ValueError('damaged, or not an index of dfd index')
    return head, rest
