"""From the view of a lens with distortion to that of a pinhole camera, as image_proc does it, for depth images too."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo

from dfd_ros.core.lens_distortion import PLUMB_BOB, Projection, known_model

HINT = '; rectify the images and set the parameter rectification to done, or set it to none'


@dataclass(frozen=True)
class Rectification:
    """Made by `rectification`; the default changes nothing."""

    matrix: np.ndarray | None = None
    """K of the pinhole camera, (3, 3); None: that of the raw image."""
    pixels: np.ndarray | None = None
    """(H, W, 2) int16: where each pixel of the pinhole camera lies in the raw image."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A raw image or map in the pinhole camera's view; NaN or black where that sees more than the lens.

        The nearest pixel, not a mean: across an edge a mean of depths would be a depth that is not in the scene.
        """
        if self.pixels is None:
            return image
        border = np.nan if image.dtype.kind == 'f' else 0
        no_fractions = np.empty(0, np.uint16)
        return cv2.remap(image, self.pixels, no_fractions, cv2.INTER_NEAREST, borderValue=border)

    def camera_info(self, raw: CameraInfo) -> CameraInfo:
        """That of the rectified image, from that of the raw one."""
        if self.matrix is None:
            return raw
        fx, fy, cx, cy = self.matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
        return CameraInfo(
            header=raw.header,
            width=raw.width,
            height=raw.height,
            distortion_model=PLUMB_BOB,
            d=[0.0] * 5,
            k=self.matrix.reshape(-1).tolist(),
            r=np.eye(3).reshape(-1).tolist(),
            p=[fx, 0.0, cx, raw.p[3], 0.0, fy, cy, raw.p[7], 0.0, 0.0, 1.0, 0.0],
        )


def rectification(info: CameraInfo, topic: str, *, is_rectified: bool = False) -> Rectification:
    """What makes of a raw image that of a pinhole camera. `is_rectified`: the image is that already, `info` is not.
    As in ROS's image_geometry, coefficients that are all 0 are no distortion, whatever the model.

    Raises InputError, one line that names `topic`, for a distortion model that is not known.
    """
    if not info.k[0] > 0 or not (any(info.d) or _rotates(info.r)):
        return Rectification()
    matrix = np.reshape(info.p, (3, 4))[:, :3] if info.p[0] > 0 and info.p[5] > 0 else np.reshape(info.k, (3, 3))
    if is_rectified:
        return Rectification(matrix)
    distortion = tuple(info.d) if any(info.d) else ()
    model = known_model(info.distortion_model, len(distortion), topic, HINT) if distortion else PLUMB_BOB
    rotation = tuple(info.r) if any(info.r) else tuple(np.eye(3).reshape(-1))
    size = info.width, info.height
    return Rectification(matrix, _pixels(model, tuple(info.k), distortion, rotation, matrix.tobytes(), size))


def _rotates(r: np.ndarray) -> bool:
    return any(r) and not np.array_equal(np.reshape(r, (3, 3)), np.eye(3))


@functools.lru_cache(32)  # the views of a sweep, which differ where the lens breathes
def _pixels(model: str, k: tuple, d: tuple, r: tuple, matrix: bytes, size: tuple[int, int]) -> np.ndarray:
    view = np.frombuffer(matrix).reshape(3, 3)
    x, y = Projection(np.reshape(k, (3, 3)), d, model).maps(view, size, cv2.CV_32FC1, np.reshape(r, (3, 3)))
    return cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)[0]
