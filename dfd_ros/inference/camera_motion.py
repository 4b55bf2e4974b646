"""How the view changes from frame to frame: by focus breathing, which lens states may report, and by motion."""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.core.geometry import Similarity


class CameraMotion:
    """The motion between the consecutive images of one stream.

    Args:
        registers: find it from the images. Otherwise only the magnification of the lens counts.
    """

    def __init__(self, registers: bool):
        self._magnification = math.nan
        self._registration = None
        if registers:
            from dfd_ros.inference.registration import Registration  # needs OpenCV

            self._registration = Registration()

    def push(self, image: np.ndarray, magnification: float) -> Similarity:
        """What maps pixels of this image (H, W, 3) uint8 to those of the one before.

        Args:
            magnification: of the lens in this image; NaN = unknown.
        """
        magnification = magnification if 0 < magnification < math.inf else math.nan
        zoom = self._magnification / magnification
        self._magnification = magnification
        if self._registration is not None:
            return self._registration.push(image, zoom)
        return Similarity() if math.isnan(zoom) else Similarity(scale=zoom)
