"""Projects the depth image of one camera into the view of another, with a z-buffer; holes are NaN."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_distortion import EQUIDISTANT, PLUMB_BOB, Projection, is_pinhole, known_model

FOOTPRINT = 1.15
"""Size of a depth pixel's footprint in units of the pixel spacing: above 1, so that slanted surfaces have no cracks."""
MAX_FOOTPRINT = 8  # px; a focus camera of far higher resolution gets depth with gaps


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsics (px) as in ROS's CameraInfo; x right, y down, z forward."""

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    distortion_model: str = PLUMB_BOB
    """As `lens_distortion.known_model` names it."""

    @classmethod
    def from_message(cls, message: Any, topic: str, *, rectified: bool = False) -> Intrinsics:
        """From a CameraInfo. `rectified`: for the rectified image (P, no distortion). As in ROS's image_geometry,
        coefficients that are all 0 are no distortion, whatever the model.

        Raises InputError, one line that names `topic`, if the camera is not calibrated or its model is not known.
        """
        size = int(message.width), int(message.height)
        k, p, distortion = (np.asarray(values, float).reshape(-1) for values in (message.k, message.p, message.d))
        if len(k) != 9 or len(p) != 12:
            raise InputError(f'{topic}: K and P have {len(k)} and {len(p)} elements, must be 9 and 12')
        of_k, of_p = k[[0, 4, 2, 5]], p[[0, 5, 2, 6]]
        # A rectified image goes by P, as in depth_image_proc. Without distortion, images are as good as rectified.
        prefers_p = rectified or (not distortion.any() and not is_pinhole(of_k, size))
        own = of_p if prefers_p and is_pinhole(of_p, size) else of_k
        if not is_pinhole(own, size):
            if not own.any():
                raise InputError(f'{topic}: K is zero, the camera is not calibrated; give its intrinsics')
            raise InputError(
                f'{topic}: K is of no camera (fx, fy, cx, cy {", ".join(f"{value:g}" for value in own)} px), '
                'it is not calibrated; give its intrinsics'
            )
        fx, fy, cx, cy = map(float, own)
        if rectified or not distortion.any():
            return cls(fx, fy, cx, cy)
        model = known_model(str(message.distortion_model), len(distortion), topic, '; rectify the image')
        camera = cls(fx, fy, cx, cy, tuple(map(float, distortion)), model)
        camera.projection.check(size if all(size) else (round(2 * cx) + 1, round(2 * cy) + 1), topic)
        return camera

    @classmethod
    def of_camera(cls, camera: CameraModel) -> Intrinsics:
        """Those of a calibration."""
        is_pinhole = camera.distortion_model != EQUIDISTANT and not any(camera.distortion)
        distortion = () if is_pinhole else camera.distortion
        return cls(camera.fx, camera.fy, camera.cx, camera.cy, distortion, camera.distortion_model)

    @property
    def projection(self) -> Projection:
        """From rays to pixels and back."""
        return Projection(self.matrix, self.distortion, self.distortion_model)

    @property
    def matrix(self) -> np.ndarray:
        """K, (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def resized(self, scale: float) -> Intrinsics:
        """Of the image resized by `scale`; pixel centres are at integers."""
        return replace(
            self,
            fx=self.fx * scale,
            fy=self.fy * scale,
            cx=(self.cx + 0.5) * scale - 0.5,
            cy=(self.cy + 0.5) * scale - 0.5,
        )

    def rays(self, height: int, width: int) -> np.ndarray:
        """(H, W, 2) float32, x/z and y/z of each pixel; NaN where the distortion has none."""
        return _rays(self, height, width)


@functools.lru_cache(2)  # of one depth camera, seen from the views of a sweep, which differ where the lens breathes
def _rays(camera: Intrinsics, height: int, width: int) -> np.ndarray:
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    rays = camera.projection.rays(pixels.reshape(-1, 2)).reshape(height, width, 2).astype(np.float32)
    rays.flags.writeable = False
    return rays


class CameraInfo(NamedTuple):
    """The calibration of an image; a width and height of 0 are unknown."""

    intrinsics: Intrinsics
    width: int
    height: int


class DepthRegistration:
    """Projects depth images of one camera into the view of another, rectified camera.

    Each depth pixel covers its footprint in the other view; where several overlap, the nearest is visible.
    """

    def __init__(self, depth: Intrinsics, view: Intrinsics, view_size: tuple[int, int], pose: np.ndarray) -> None:
        """`view_size`: (height, width). `pose`: (4, 4), from the depth camera to the camera of the view."""
        self._depth, self._view, self._size, self._pose = depth, view, view_size, pose
        self._directions: np.ndarray | None = None

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """depth: (h, w) float32 m along Z, NaN = none. Returns (H, W) float32 m along Z of the view, NaN = none."""
        height, width = self._size
        # With a margin, so that footprints that reach beyond the image need no test.
        margin = MAX_FOOTPRINT
        row = width + 2 * margin
        x, y, z = self._project(depth)
        # Size of a depth pixel in the view, from the focal lengths and its distances to the two cameras.
        with np.errstate(invalid='ignore', divide='ignore'):
            half = np.float32(FOOTPRINT / 2 * self._view.fx / self._depth.fx) * depth.reshape(-1) / z
            np.minimum(half, np.float32(MAX_FOOTPRINT / 2), out=half)
            left, top = np.ceil(x - half), np.ceil(y - half)
            right, bottom = np.floor(x + half), np.floor(y + half)
            inside = np.flatnonzero((z > 0) & (right >= 0) & (left < width) & (bottom >= 0) & (top < height))
            # Small integers: the next steps are as fast as memory is.
            columns, rows = (right - left).astype(np.int8), (bottom - top).astype(np.int8)
            start = (top.astype(np.int32) + margin) * row + left.astype(np.int32) + margin
        z, columns, rows, start = z[inside], columns[inside], rows[inside], start[inside]
        buffer = np.full((height + 2 * margin) * row, np.inf, np.float32)
        if z.size:
            for dy in range(int(rows.max()) + 1):
                for dx in range(int(columns.max()) + 1):
                    covered = (dx <= columns) & (dy <= rows)
                    places = slice(None) if covered.all() else np.flatnonzero(covered)
                    np.minimum.at(buffer, start[places] + (dy * row + dx), z[places])
        projected = buffer.reshape(-1, row)[margin:-margin, margin:-margin].copy()
        projected[np.isinf(projected)] = np.nan
        return projected

    def _project(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixel coordinates and depth in the view of all depth pixels, flat."""
        if self._directions is None or self._directions.shape[1] != depth.size:
            rays = self._depth.rays(*depth.shape).reshape(-1, 2)
            homogeneous = np.concatenate([rays, np.ones((len(rays), 1), np.float32)], 1)
            # X = z R ray + t, where R ray is the same for all images.
            self._directions = np.ascontiguousarray((homogeneous @ self._pose[:3, :3].T.astype(np.float32)).T)
        tx, ty, tz = self._pose[:3, 3].astype(np.float32)
        z0 = depth.reshape(-1)
        z = self._directions[2] * z0 + tz
        with np.errstate(invalid='ignore', divide='ignore'):
            x = (self._directions[0] * z0 + tx) / z * np.float32(self._view.fx) + np.float32(self._view.cx)
            y = (self._directions[1] * z0 + ty) / z * np.float32(self._view.fy) + np.float32(self._view.cy)
        return x, y, z
