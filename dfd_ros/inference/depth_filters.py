"""Filters for depth images. All but the median only make pixels unknown."""

from __future__ import annotations

import cv2
import numpy as np

from dfd_ros.core.optics import VergenceRange

SAME_SURFACE = 0.02
"""Neighbours whose vergence differs by less, as a share of the range, belong to one surface."""
_SCALE = 1000  # steps of the range in the integers that OpenCV takes
_NEIGHBOURS = np.ones((3, 3), np.uint8)


def clean(depth: np.ndarray, range_: VergenceRange, edge_jump: float = 0.0, speckle_size: int = 0) -> np.ndarray:
    """Depth (m) with NaN at flying edges and speckles; 0 switches a filter off."""
    if not edge_jump and not speckle_size:
        return depth
    u = range_.normalise(depth)
    if edge_jump:
        u[flying_edges(u, edge_jump)] = np.nan
    if speckle_size:
        u[speckles(u, speckle_size)] = np.nan
    return np.where(np.isnan(u), np.float32(np.nan), depth)


def speckles(u: np.ndarray, smallest: int) -> np.ndarray:
    """(H, W) bool: the pixels of surfaces that have fewer than `smallest` pixels.

    u: (H, W) float32, vergence scaled to 0..1 over the range, NaN = unknown.
    """
    scaled = np.clip(u * np.float32(_SCALE) + np.float32(11 * _SCALE), _SCALE, 21 * _SCALE)  # 0 is for what is unknown
    cv2.patchNaNs(scaled, 0)
    levels = scaled.astype(np.int16)
    cv2.filterSpeckles(levels, 0, smallest - 1, round(SAME_SURFACE * _SCALE))
    return (levels == 0) & ~np.isnan(u)


def flying_edges(u: np.ndarray, jump: float) -> np.ndarray:
    """(H, W) bool: pixels whose neighbours differ by more than `jump`, where depth flies between two surfaces."""
    unknown = np.isnan(u)
    nearest = cv2.dilate(np.where(unknown, np.float32(-np.inf), u), _NEIGHBOURS)
    farthest = cv2.erode(np.where(unknown, np.float32(np.inf), u), _NEIGHBOURS)
    with np.errstate(over='ignore'):  # where nothing around is known
        return (nearest - farthest > jump) & ~unknown


def limited(depth: np.ndarray, range_: VergenceRange, beyond: float) -> np.ndarray:
    """Depth (m) with `beyond` beyond the far end of the range and -`beyond` nearer than the near one."""
    result = np.where(depth > range_.far, np.float32(beyond), depth)
    return np.where(depth < range_.near, np.float32(-beyond), result)


class MedianOfThree:
    """The median of the last three depth images, pixel by pixel, where all three are known; otherwise the newest."""

    def __init__(self) -> None:
        self._earlier: list[np.ndarray] = []

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """depth: (H, W) float32, NaN = unknown."""
        earlier = [image for image in self._earlier if image.shape == depth.shape]
        self._earlier = [*earlier[-1:], depth]
        if len(earlier) < 2:
            return depth
        first, second = earlier
        with np.errstate(invalid='ignore'):
            median = np.maximum(np.minimum(first, second), np.minimum(np.maximum(first, second), depth))
        return np.where(np.isnan(median), depth, median)

    def reset(self) -> None:
        """Forgets the earlier images."""
        self._earlier = []
