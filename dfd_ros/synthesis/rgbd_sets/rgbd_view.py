"""An RGB-D image as a view with one layer."""

from __future__ import annotations

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.rgbd_scene import fill_depth
from dfd_ros.synthesis.worlds.view import View

_FARTHEST = 1e9  # m, stands for infinity while holes are filled


def rgbd_view(name: str, colour: np.ndarray, depth: np.ndarray, focal_length: float) -> View:
    """Turn an RGB-D image into a view. Holes get the farther of the depths beside them.

    Args:
        name: of the depth file, for messages.
        colour: (H, W, 3) float32, linear light.
        depth: (H, W) m along the optical axis; infinity is allowed; 0 or less and NaN are holes.
        focal_length: px.

    Raises:
        InputError: depth and colour differ in size, or no pixel has a depth.
    """
    if depth.shape != colour.shape[:2]:
        raise InputError(
            f'{name}: depth is {"x".join(map(str, depth.shape[::-1]))}, expected '
            f'{colour.shape[1]}x{colour.shape[0]} like its colour image'
        )
    depth = np.where(depth > 0, np.minimum(depth, _FARTHEST), np.nan).astype(np.float32)
    if np.isnan(depth).all():
        raise InputError(f'{name}: no pixel has a depth')
    depth = fill_depth(depth)
    depth[depth >= _FARTHEST] = np.inf
    return View(colour.astype(np.float32), depth, focal_length, about={'file': name})
