"""Depth as points in space, and the pixel that a ray in space meets."""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.viewing.viewed_frame import Pinhole

MAX_POINTS = 20_000
MAX_DISTANCE = 1000.0  # m: what lies beyond is left out
RAY = math.tan(math.radians(1.5))  # how far off a ray a point may lie


def step_of(pixels: int, most: int = MAX_POINTS) -> int:
    """The step in columns and rows that leaves about `most` points of this number of pixels."""
    return max(1, math.ceil(math.sqrt(pixels / max(most, 1))))


def points_of(depth: np.ndarray, camera: Pinhole, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of a depth image (m, NaN = unknown).

    Returns:
        (N, 3) float32 m in the optical frame of the camera, x right, y down, z forward; (N, 2) their pixels (x, y).
    """
    first = step // 2
    z = depth[first::step, first::step]
    rows, columns = np.nonzero((z > 0) & (z < MAX_DISTANCE))
    z = z[rows, columns].astype(np.float32)
    pixels = np.stack([columns, rows], 1) * step + first
    x = (pixels[:, 0] - camera.cx) / camera.fx * z
    y = (pixels[:, 1] - camera.cy) / camera.fy * z
    return np.stack([x, y, z], 1).astype(np.float32), pixels


def met_by(origin: np.ndarray, direction: np.ndarray, points: np.ndarray) -> int | None:
    """The index of the point that a ray meets first; None = it meets none. points: (N, 3)."""
    if not len(points):
        return None
    to = points - np.asarray(origin, np.float32)
    unit = np.asarray(direction, np.float32) / np.linalg.norm(direction)
    along = to @ unit
    off = np.linalg.norm(to - along[:, None] * unit, axis=1)
    tangent = np.where(along > 0, off / np.maximum(along, 1e-9), np.inf)
    near = tangent < max(RAY / 4, float(tangent.min()) * 1.5)
    if tangent.min() > RAY:
        return None
    candidates = np.flatnonzero(near)
    return int(candidates[np.argmin(along[candidates])])
