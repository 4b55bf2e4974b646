"""Pools split into train, validation and test: no family, and no file of the user's, is in two splits.

Materials of all splits have the same fine noise over them, which is also a family of train; the sky of test has the
lamp of train's sun, and the user's HDRIs that of its panels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.render_settings import SPLITS

SHARES = {'train': 8, 'validation': 1, 'test': 1}
"""Of the user's files, in tenths."""


def files(folder: str, suffixes: Sequence[str], split: str) -> list[Path]:
    """The files of a folder, and of what is below it, that belong to a split.

    Which split a file belongs to follows from its name alone, so that a folder that grows moves no file. The suffix has
    no say: o.obj and o.glb are one object. Variants of one thing (sizes, say) need one name, in folders of their own.

    Raises:
        InputError: there are none.
    """
    if not folder:
        return []
    found = sorted(path for path in Path(folder).rglob('*') if path.suffix.lower() in suffixes)
    mine = [path for path in found if split_of(path.name) == split]
    if not mine:
        raise InputError(
            f'{folder}: none of its {len(found)} files ({", ".join(suffixes)}) falls into the split '
            f'{split}; the name decides, about {SHARES[split]} of 10 do'
        )
    return mine


def split_of(name: str) -> str:
    """The split that a file name belongs to."""
    tenth = int.from_bytes(hashlib.sha256(Path(name).stem.lower().encode()).digest()[:8], 'big') % 10
    bounds = np.cumsum(list(SHARES.values()))
    return list(SHARES)[np.searchsorted(bounds, tenth, 'right')]


def generator(seed: int, split: str) -> np.random.Generator:
    """Random numbers of a scene: the same seed gives other ones in another split."""
    return np.random.default_rng([seed, SPLITS.index(split)])


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
