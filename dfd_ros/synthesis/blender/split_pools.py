"""Pools split into train, validation and test: no family and no user's file is in two splits.

Exceptions: materials of all splits have the fine noise that is also a family of train, the sky of test shares the lamp
of train's sun, and the user's HDRIs share that of its panels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.render_settings import SPLITS

SHARES = {'train': 8, 'validation': 1, 'test': 1}
"""Tenths of the user's files."""


def files(folder: str, suffixes: Sequence[str], split: str) -> list[Path]:
    """The files below a folder that belong to a split.

    The name of a file alone determines its split, so that no file changes splits when a folder grows. The suffix does
    not matter: o.obj and o.glb are the same object. Give variants of one thing (sizes, say) the same name in different
    folders.

    Raises:
        InputError: no file belongs to the split.
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
    """Random numbers of a scene: each split has different ones for the same seed."""
    return np.random.default_rng([seed, SPLITS.index(split)])


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
