"""Rotations and rigid transforms as matrices, and similarities of the image plane.

Roll, pitch and yaw are in the convention of URDF: about the fixed axes x, then y, then z. Quaternions are x, y, z, w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError


def matrix_from_rpy(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """(3, 3) rotation matrix Rz(yaw) Ry(pitch) Rx(roll); rad."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(a), math.cos(a)) for a in (roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_matrix(matrix: np.ndarray) -> tuple[float, float, float]:
    """Roll, pitch, yaw (rad) of a (3, 3) rotation matrix. At a pitch of 90 degrees (gimbal lock) yaw is 0."""
    pitch = math.atan2(-matrix[2, 0], math.hypot(matrix[0, 0], matrix[1, 0]))
    if math.hypot(matrix[0, 0], matrix[1, 0]) < 1e-9:
        return math.atan2(-matrix[1, 2], matrix[1, 1]), pitch, 0.0
    return math.atan2(matrix[2, 1], matrix[2, 2]), pitch, math.atan2(matrix[1, 0], matrix[0, 0])


def matrix_from_unit_quaternion(x: float, y: float, z: float, w: float) -> np.ndarray:
    """(3, 3) rotation matrix of a quaternion of length 1."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_from_quaternion(x: float, y: float, z: float, w: float) -> np.ndarray:
    """(3, 3) rotation matrix of a quaternion, which is normalised first. Raises InputError for one of length 0."""
    q = np.array([x, y, z, w], float)
    length = np.linalg.norm(q)
    if not length > 1e-6:
        raise InputError(f'quaternion {q.tolist()} is not a rotation')
    return matrix_from_unit_quaternion(*(q / length))


def matrix_about_axis(axis, angle: float) -> np.ndarray:
    """(3, 3) rotation matrix about an axis (any length but 0), rad. Rodrigues' formula."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def rigid_transform(rotation: np.ndarray, translation: Any) -> np.ndarray:
    """(4, 4) of a rotation (3, 3) and a translation (3,) in m."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


@dataclass(frozen=True)
class Similarity:
    """x' = scale R(angle) x + shift, in pixel coordinates relative to the image centre, x right, y down: the effect of
    focus breathing and camera motion on an image, to first order."""

    scale: float = 1.0
    angle: float = 0.0
    """Rad."""
    dx: float = 0.0
    dy: float = 0.0

    @property
    def _complex(self) -> tuple[complex, complex]:
        return (self.scale * complex(math.cos(self.angle), math.sin(self.angle)), complex(self.dx, self.dy))

    @staticmethod
    def _from_complex(factor: complex, shift: complex) -> Similarity:
        return Similarity(abs(factor), math.atan2(factor.imag, factor.real), shift.real, shift.imag)

    def __matmul__(self, first: Similarity) -> Similarity:
        """First `first`, then `self`."""
        (a, b), (c, d) = self._complex, first._complex
        return self._from_complex(a * c, a * d + b)

    def inverse(self) -> Similarity:
        """The inverse similarity."""
        factor, shift = self._complex
        return self._from_complex(1 / factor, -shift / factor)

    def displacement(self, height: int, width: int) -> float:
        """The largest displacement of a corner of an image of this size (px)."""
        factor, shift = self._complex
        corner = complex(width / 2, height / 2)
        return max(abs((factor - 1) * c + shift) for c in (corner, -corner, corner.conjugate(), -corner.conjugate()))

    def resized(self, image_scale: float) -> Similarity:
        """The same similarity between images that are resized by `image_scale` (0.5 = half as many pixels a side)."""
        return replace(self, dx=self.dx * image_scale, dy=self.dy * image_scale)

    def matrix(self, height: int, width: int) -> np.ndarray:
        """(2, 3) affine matrix on the pixel coordinates of an image of this size, as OpenCV takes it."""
        factor, shift = self._complex
        centre = complex((width - 1) / 2, (height - 1) / 2)
        offset = centre + shift - factor * centre
        return np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]], np.float64)
