"""Cameras with lens distortion, by OpenCV's functions: the models that ROS's CameraInfo names.

`plumb_bob` (k1, k2, p1, p2, k3) and `rational_polynomial` (and k4, k5, k6; OpenCV's four thin prism and two tilt
coefficients too) are one formula of which the number of coefficients decides. `equidistant`, which some drivers call
`fisheye`, is that of Kannala and Brandt, "A generic camera model and calibration method for conventional, wide-angle,
and fish-eye lenses", PAMI 2006: k1 to k4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dfd_ros.core.errors import InputError, quoted

PLUMB_BOB, RATIONAL, EQUIDISTANT = 'plumb_bob', 'rational_polynomial', 'equidistant'
PINHOLE_COUNTS = (4, 5, 8, 12, 14)
"""Numbers of coefficients that OpenCV takes; none is fine as well."""
FISHEYE_COUNT = 4
MIN_INSIDE = 0.3
"""Share of the undistorted image that must be in the distorted one."""
MIN_FOCAL_LENGTH, MAX_FOCAL_LENGTH = 0.05, 1000.0
"""In units of the larger side of the image: a field of view of 169 and of 0.06 degrees."""
MAX_CENTRE = 10.0
"""Distance of the principal point from the corner of the image, in the same unit."""
_ITERATIONS, _PRECISION = 50, 1e-6  # px
_MAX_MISS = 0.1  # px, of a pixel from where its ray is projected to
_FAILED = 1e5  # cv2.fisheye.undistortPoints gives -1e6 where it finds no ray


def known_model(name: str, count: int, where: str, hint: str = '') -> str:
    """The model's own name: `PLUMB_BOB`, `RATIONAL` or `EQUIDISTANT`. An empty name is one of the first two.

    Args:
        count: of the coefficients.
        where: topic or file, for the message; hint: added to it.

    Raises:
        InputError: the model is not known, or does not have so many coefficients.
    """
    counts: tuple[int, ...]
    if name in (EQUIDISTANT, 'fisheye'):
        model, counts = EQUIDISTANT, (FISHEYE_COUNT,)
    elif name in (PLUMB_BOB, RATIONAL, ''):
        model, counts = PLUMB_BOB if count <= 5 else RATIONAL, PINHOLE_COUNTS
    else:
        raise InputError(
            f'{where}: distortion model {quoted(name)} is not known; there are {PLUMB_BOB}, {RATIONAL} and '
            f'{EQUIDISTANT}{hint}'
        )
    if count not in counts:
        raise InputError(
            f'{where}: D has {count} coefficients, must be {", ".join(map(str, counts))} of the model {model}'
        )
    return model


def is_pinhole(intrinsics: ArrayLike, size: tuple[int, int]) -> bool:
    """Whether fx, fy, cx, cy (px) can be those of a pinhole camera of this size, (0, 0) = unknown."""
    fx, fy, cx, cy = intrinsics = np.asarray(intrinsics, float)
    extent = float(max(*size, 1))
    return bool(
        np.isfinite(intrinsics).all()
        and min(fx, fy) > MIN_FOCAL_LENGTH * extent
        and max(fx, fy) < MAX_FOCAL_LENGTH * (extent if all(size) else 1e4)
        and 0.1 < fx / fy < 10
        and max(abs(cx), abs(cy)) < MAX_CENTRE * (extent if all(size) else 1e4)
    )


class Projection(NamedTuple):
    """From rays to pixels and back; pixel centres are at whole numbers.

    Attributes:
        matrix: K, (3, 3) px.
        coefficients: of the distortion; none: a pinhole camera.
        model: as `known_model` names it.
    """

    matrix: np.ndarray
    coefficients: tuple[float, ...] = ()
    model: str = PLUMB_BOB

    @property
    def is_fisheye(self) -> bool:
        """Whether OpenCV's functions without "fisheye" in their name do not take it."""
        return bool(self.coefficients) and self.model == EQUIDISTANT

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """(N, 2) px of (N, 2) rays, x/z and y/z."""
        import cv2

        points = np.append(rays, np.ones((len(rays), 1)), 1).astype(np.float64)
        still, d = np.zeros(3), np.array(self.coefficients, np.float64)
        if self.is_fisheye:
            return cv2.fisheye.projectPoints(points[None], still, still, self.matrix, d)[0].reshape(-1, 2)
        return cv2.projectPoints(points, still, still, self.matrix, d)[0].reshape(-1, 2)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 2) x/z and y/z of (N, 2) px; NaN where no ray comes to a pixel, or only from the side or behind."""
        import cv2

        pixels = np.ascontiguousarray(pixels, np.float64)
        scale, centre = self.matrix[[0, 1], [0, 1]], self.matrix[:2, 2]
        if not self.coefficients:
            return (pixels - centre) / scale
        d = np.array(self.coefficients, np.float64)
        stop = cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ITERATIONS, _PRECISION
        if self.is_fisheye:
            found = cv2.fisheye.undistortPoints(pixels[None], self.matrix, d, criteria=stop).reshape(-1, 2)
        else:
            ideal = cv2.undistortImagePoints(pixels[:, None], self.matrix, d, None, stop)
            found = (ideal.reshape(-1, 2) - centre) / scale
        usable = (np.abs(found) < _FAILED).all(1)
        found[~usable] = np.nan
        # The iteration stops somewhere even where the formula, a polynomial, has no solution.
        found[usable] = np.where(
            (np.abs(self.pixels(found[usable]) - pixels[usable]) < _MAX_MISS).all(1)[:, None], found[usable], np.nan
        )
        return found

    def pinhole_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 2) px where a camera with the same K and no distortion sees what this one sees at (N, 2) px."""
        return self.rays(pixels) * self.matrix[[0, 1], [0, 1]] + self.matrix[:2, 2]

    def maps(
        self, view: np.ndarray, size: tuple[int, int], kind: int, rotation: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `cv2.remap` takes to make of this camera's image that of a pinhole camera.

        Args:
            view: (3, 3) K of the pinhole camera.
            size: width and height of both images (px).
            kind: type of the maps, such as `cv2.CV_16SC2`.
            rotation: (3, 3), from this camera's axes to those of the pinhole camera; None: they are the same.
        """
        import cv2

        d = np.array(self.coefficients, np.float64)
        rotation = np.eye(3) if rotation is None else rotation
        make = cv2.fisheye.initUndistortRectifyMap if self.is_fisheye else cv2.initUndistortRectifyMap
        return make(self.matrix, d, rotation, view, size, kind)

    def check(self, size: tuple[int, int], where: str) -> None:
        """Raise `InputError` that begins with `where` for coefficients that no camera of this width and height (px)
        has: not finite, or such that most of the image is of nothing."""
        if not np.isfinite(self.coefficients).all():
            raise InputError(f'{where}: D is not finite, the camera is not calibrated; give its intrinsics')
        width, height = size
        pixels = np.stack(np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)), -1).reshape(-1, 2)
        seen = self.pixels((pixels - self.matrix[:2, 2]) / self.matrix[[0, 1], [0, 1]])
        inside = ((seen >= -0.5) & (seen <= np.array(size) - 0.5)).all(-1).mean()
        if not inside >= MIN_INSIDE:
            raise InputError(
                f'{where}: D is of no camera, it moves {1 - inside:.0%} of the image out of view; give its intrinsics'
            )
