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

LARGEST_VIEW = 256 * 2**20  # bytes


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
        require_file(path, largest=LARGEST_VIEW)
        arrays = read_archive(path, str(path))
        try:
            depth = arrays['depth']
            view = View(
                arrays['colour'].astype(np.float32),
                depth,
                float(arrays['focal_length']),
                arrays.get('behind_colour'),
                arrays.get('behind_depth'),
                parse_json(str(arrays['about']), str(path)),
            )
            if view.behind_colour is not None:
                view.behind_colour = view.behind_colour.astype(np.float32)
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f'{path}: not a view: {reason(error)}') from None
        for name, shape in (
            ('colour', (*depth.shape, 3)),
            ('behind_colour', (*depth.shape, 3)),
            ('behind_depth', depth.shape),
        ):
            if (name in arrays and arrays[name].shape != shape) or depth.ndim != 2:
                raise InputError(f'{path}: not a view: {name} is {arrays[name].shape}, the depth {depth.shape}')
        return view


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
