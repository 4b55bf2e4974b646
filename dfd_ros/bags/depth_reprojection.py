"""Projects the depth image of one camera into the view of another, with a z-buffer; holes are NaN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError

FOOTPRINT = 1.15
"""Size of a depth pixel's footprint in units of the pixel spacing: above 1, so that slanted surfaces have no cracks."""
LARGEST_FOOTPRINT = 8  # px; a focus camera of far higher resolution gets depth with gaps


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsics (px) as in ROS's CameraInfo, model plumb_bob or rational_polynomial; x right, y down, z forward."""

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = field(default=())

    @classmethod
    def from_message(cls, message: Any, topic: str, *, rectified: bool = False) -> Intrinsics:
        """From a CameraInfo. `rectified`: for the rectified image (P, no distortion).

        Raises InputError, one line that names `topic`, if the camera is not calibrated or is a fisheye.
        """
        k, p = np.asarray(message.k), np.asarray(message.p)
        distortion = tuple(float(value) for value in message.d)
        if not k[0] > 0 or not k[4] > 0:
            raise InputError(f'{topic}: K is zero, the camera is not calibrated; give its intrinsics')
        if not any(distortion):
            distortion = ()
        elif rectified:
            if p[0] > 0:
                return cls(float(p[0]), float(p[5]), float(p[2]), float(p[6]))
            distortion = ()
        elif message.distortion_model not in ('plumb_bob', 'rational_polynomial', ''):
            raise InputError(f'{topic}: distortion model {message.distortion_model!r} is not known; rectify the image')
        return cls(float(k[0]), float(k[4]), float(k[2]), float(k[5]), distortion)

    @property
    def matrix(self) -> np.ndarray:
        """K, (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def resized(self, scale: float) -> Intrinsics:
        """Of the image resized by `scale`; pixel centres are at integers."""
        return Intrinsics(
            self.fx * scale,
            self.fy * scale,
            (self.cx + 0.5) * scale - 0.5,
            (self.cy + 0.5) * scale - 0.5,
            self.distortion,
        )

    def rays(self, height: int, width: int) -> np.ndarray:
        """(H, W, 2) float32, x/z and y/z of each pixel."""
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        if not self.distortion:
            return np.stack(
                [(x - np.float32(self.cx)) / np.float32(self.fx), (y - np.float32(self.cy)) / np.float32(self.fy)], -1
            )
        import cv2

        points = np.stack([x, y], -1).reshape(-1, 1, 2)
        return cv2.undistortPoints(points, self.matrix, np.array(self.distortion)).reshape(height, width, 2)


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
        x, y, z = self._project(depth)
        # Size of a depth pixel in the view, from the focal lengths and its distances to the two cameras.
        with np.errstate(invalid='ignore', divide='ignore'):
            half = np.float32(FOOTPRINT / 2 * self._view.fx / self._depth.fx) * depth.reshape(-1) / z
            np.minimum(half, np.float32(LARGEST_FOOTPRINT / 2), out=half)
            inside = np.flatnonzero(
                (z > 0) & (x > -half) & (x < width - 1 + half) & (y > -half) & (y < height - 1 + half)
            )
        x, y, z, half = x[inside], y[inside], z[inside], half[inside]
        # With a margin, so that footprints that reach beyond the image need no test.
        margin = LARGEST_FOOTPRINT
        row = width + 2 * margin
        buffer = np.full((height + 2 * margin) * row, np.inf, np.float32)
        if z.size:
            left, top = np.ceil(x - half).astype(np.int32), np.ceil(y - half).astype(np.int32)
            columns = np.floor(x + half).astype(np.int32) - left
            rows = np.floor(y + half).astype(np.int32) - top
            start = (top + margin) * row + left + margin
            for dy in range(int(rows.max()) + 1):
                for dx in range(int(columns.max()) + 1):
                    covered = np.flatnonzero((dx <= columns) & (dy <= rows))
                    np.minimum.at(buffer, start[covered] + (dy * row + dx), z[covered])
        buffer[np.isinf(buffer)] = np.nan
        return np.ascontiguousarray(buffer.reshape(-1, row)[margin:-margin, margin:-margin])

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
