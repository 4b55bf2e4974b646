"""Rotations as roll, pitch and yaw, in the convention of URDF: about the fixed axes x, then y, then z."""

from __future__ import annotations

import math

import numpy as np


def matrix_from_rpy(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """(3, 3) rotation matrix Rz(yaw) Ry(pitch) Rx(roll); rad."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(a), math.cos(a)) for a in (roll, pitch, yaw))
    return np.array([[cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
                     [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
                     [-sp, cp * sr, cp * cr]])


def rpy_from_matrix(matrix: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch, yaw (rad) of a (3, 3) rotation matrix; where the pitch is upright, roll and yaw are one, and
    roll has it all."""
    pitch = math.atan2(-matrix[2, 0], math.hypot(matrix[0, 0], matrix[1, 0]))
    if math.hypot(matrix[0, 0], matrix[1, 0]) < 1e-9:
        return math.atan2(-matrix[1, 2], matrix[1, 1]), pitch, 0.0
    return math.atan2(matrix[2, 1], matrix[2, 2]), pitch, math.atan2(matrix[1, 0], matrix[0, 0])
