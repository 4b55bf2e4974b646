"""Zoom, rotation and shift of a whole image: what focus breathing and a moving camera do to first order."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """x' = scale R(angle) x + shift, with pixel coordinates relative to the image centre, x right, y down."""

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
        """`self` after `first`."""
        (a, b), (c, d) = self._complex, first._complex
        return self._from_complex(a * c, a * d + b)

    def inverse(self) -> Similarity:
        """The way back."""
        factor, shift = self._complex
        return self._from_complex(1 / factor, -shift / factor)

    def displacement(self, height: int, width: int) -> float:
        """How far the corner of an image of this size is moved that is moved farthest (pixels)."""
        factor, shift = self._complex
        corner = complex(width / 2, height / 2)
        return max(abs((factor - 1) * c + shift)
                   for c in (corner, -corner, corner.conjugate(), -corner.conjugate()))

    def resized(self, image_scale: float) -> Similarity:
        """The same between images that are resized by `image_scale` (0.5 = half as many pixels a side)."""
        return replace(self, dx=self.dx * image_scale, dy=self.dy * image_scale)

    def matrix(self, height: int, width: int) -> np.ndarray:
        """(2, 3) affine matrix on the pixel coordinates of an image of this size, as OpenCV takes it."""
        factor, shift = self._complex
        centre = complex((width - 1) / 2, (height - 1) / 2)
        offset = centre + shift - factor * centre
        return np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]],
                        np.float64)
