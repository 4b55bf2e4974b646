"""How sharp a place of the image was at each focus, the cue of depth from focus."""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np

from dfd_ros.core.optics import vergence

FOCI = 32  # the last ones
WINDOW = 1 / 30  # of the width of the image: side of the window whose sharpness is measured
SAME_FOCUS = 0.01  # 1/m


class SharpnessHistory:
    """The grey images of the last frames, the newest at each focus."""

    def __init__(self) -> None:
        self._images: OrderedDict[int, tuple[float, np.ndarray]] = OrderedDict()  # by the focus in steps of SAME_FOCUS

    def push(self, image: np.ndarray, focus_distance: float) -> None:
        """Adds a frame: (H, W, 3) uint8 RGB; a focus (m) that is unknown (NaN) is left out."""
        if not focus_distance > 0:
            return
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._images and next(iter(self._images.values()))[1].shape != grey.shape:
            self._images.clear()
        focus = vergence(focus_distance)
        key = round(focus / SAME_FOCUS)
        self._images.pop(key, None)
        self._images[key] = focus, grey
        if len(self._images) > FOCI:
            self._images.popitem(last=False)

    def clear(self) -> None:
        """Forgets all frames: another scene."""
        self._images.clear()

    def at(self, x: int, y: int) -> tuple[np.ndarray, np.ndarray]:
        """The vergences (1/m) of the foci, ascending, and the sharpness around pixel (x, y) in the frame of each: the
        energy of the Laplacian relative to the square of the brightness, both of a window."""
        found = []
        for focus, grey in list(self._images.values()):
            radius = max(2, round(grey.shape[1] * WINDOW / 2))
            window = grey[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].astype(np.float32)
            if window.size:
                energy = float(np.mean(cv2.Laplacian(window, cv2.CV_32F) ** 2))
                found.append((focus, energy / (float(window.mean()) + 1.0) ** 2))
        found.sort()
        columns = np.array(found, np.float64).reshape(-1, 2).T
        return columns[0], columns[1]
