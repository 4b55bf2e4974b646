"""The file format of a view: sharp colour and depth of a scene, and a second layer behind its edges.

A view is a compressed NumPy archive (.npz)::

    colour        (H, W, 3) float16, linear light
    depth         (H, W) float32, m along the optical axis, infinity = nothing
    behind_colour (H, W, 3) float16, of the second layer
    behind_depth  (H, W) float32, NaN = no second layer
    focal_length  () float32, px: x = focal_length X / Z, relative to the image centre
    about         () str, JSON: origin of the view
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfd_ros.core.array_files import read_archive
from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import parse_json, require_file, written_atomically

MAX_VIEW = 256 * 2**20  # bytes


@dataclass
class View:
    """See the module's docstring. `behind_colour` and `behind_depth` are None if the view has one layer."""

    colour: np.ndarray
    depth: np.ndarray
    focal_length: float
    behind_colour: np.ndarray | None = None
    behind_depth: np.ndarray | None = None
    about: dict = field(default_factory=dict)

    def write(self, path: Path) -> None:
        arrays = {
            'colour': np.minimum(self.colour, 6e4).astype(np.float16),
            'depth': self.depth.astype(np.float32),
            'focal_length': np.float32(self.focal_length),
            'about': np.array(json.dumps(self.about)),
        }
        if self.behind_depth is not None and self.behind_colour is not None:
            arrays |= {
                'behind_colour': np.minimum(self.behind_colour, 6e4).astype(np.float16),
                'behind_depth': self.behind_depth.astype(np.float32),
            }
        with written_atomically(path) as temporary:
            np.savez_compressed(temporary, **arrays)

    @staticmethod
    def read(path: Path) -> View:
        """Read a file. Raises `InputError` if it does not exist or is not a view."""
        require_file(path, largest=MAX_VIEW)
        arrays = read_archive(path, str(path), largest=2 * MAX_VIEW)
        try:
            behind_colour, behind_depth = (arrays.get(name) for name in ('behind_colour', 'behind_depth'))
            view = View(
                arrays['colour'].astype(np.float32),
                arrays['depth'].astype(np.float32),
                float(arrays['focal_length']),
                None if behind_colour is None else behind_colour.astype(np.float32),
                None if behind_depth is None else behind_depth.astype(np.float32),
                parse_json(str(arrays['about']), str(path)),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f'{path}: not a view: {reason(error)}') from None
        if fault := view._fault():
            raise InputError(f'{path}: not a view: {fault}')
        return view

    def _fault(self) -> str | None:
        """What is impossible about the arrays."""
        shape = self.depth.shape
        if self.depth.ndim != 2 or not self.depth.size:
            return f'depth is {shape}, must be (H, W)'
        if (self.behind_colour is None) != (self.behind_depth is None):
            return 'behind_colour and behind_depth go together'
        for name, array, expected in (
            ('colour', self.colour, (*shape, 3)),
            ('behind_colour', self.behind_colour, (*shape, 3)),
            ('behind_depth', self.behind_depth, shape),
        ):
            if array is not None and array.shape != expected:
                return f'{name} is {array.shape}, the depth {shape}'
        if not self.focal_length > 0 or self.focal_length == np.inf:
            return f'focal_length {self.focal_length} must be positive'
        if not (self.depth > 0).all() or not np.isfinite(self.depth).any():
            return 'depth must be positive, and finite somewhere'
        if self.behind_depth is not None and (self.behind_depth <= 0).any():
            return 'behind_depth must be positive or NaN'
        if not all(np.isfinite(x).all() for x in (self.colour, self.behind_colour) if x is not None):
            return 'colours must be finite'
        return None


def views(folder: Path) -> list[Path]:
    """The views below a folder, by name.

    Raises:
        InputError: the folder does not exist or has no views.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder of views')
    found = sorted(path for path in folder.rglob('*.npz') if not path.name.startswith('.'))
    if not found:
        raise InputError(f'{folder}: no views (*.npz) in it; render some with dfd render --world')
    return found
