"""Where a view needs a second layer: the depth up to which camera rays skip near surfaces."""

from __future__ import annotations

import numpy as np


def limits(depth: np.ndarray, reach: int, step: float = 0.02) -> np.ndarray:
    """Depth (H, W) in m that camera rays of the second rendering skip, infinity where nothing has to be rendered.

    Near an edge that hides something, this is half way in vergence between the near side and the farthest visible point
    within `reach`, so that rays hit neither the surface nor its far side.

    Args:
        depth: (H, W) m, infinity = nothing.
        reach: how far blur can look behind an edge, px.
        step: minimum depth difference at an edge, as a share of the depth.
    """
    vergence = 1 / depth
    low = -_dilated(-vergence, reach)
    hidden = low < vergence * (1 - step) - 0.01
    # Depth also changes on a slanted plane within `reach`; only at an edge does it jump from pixel to pixel.
    jump = np.zeros_like(hidden)
    for axis in (0, 1):
        ratio = np.abs(np.diff(vergence, axis=axis)) > 0.03 * np.maximum(*_neighbours(vergence, axis)) + 0.01
        jump |= np.pad(ratio, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        jump |= np.pad(ratio, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    near_edge = _dilated(jump.astype(np.float32), reach) > 0
    return np.where(hidden & near_edge, 2 / (vergence + low), np.inf).astype(np.float32)


def _neighbours(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return np.take(x, range(1, x.shape[axis]), axis), np.take(x, range(x.shape[axis] - 1), axis)


def _dilated(x: np.ndarray, reach: int) -> np.ndarray:
    """The maximum over squares of 2 * reach + 1 px."""
    for axis in (0, 1):
        padded = np.pad(x, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode='edge')
        x = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis).max(-1)
    return x
