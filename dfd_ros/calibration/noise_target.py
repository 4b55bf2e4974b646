"""The flat target of a focus sweep."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np


@lru_cache(maxsize=2)
def noise_target(size: int = 1600) -> np.ndarray:
    """(size, size) uint8: dead leaves, discs of all sizes in random grey, which have fine and coarse detail alike.

    Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001.
    """
    rng = np.random.default_rng(0)
    image = np.full((size, size), 128, np.uint8)
    # Radii by the law r^-3 between the limits, the latest on top: the image looks alike at every scale.
    smallest, largest = size / 400, size / 10
    u = rng.random(40 * 400)
    radii = 1 / np.sqrt(1 / largest**2 + u * (1 / smallest**2 - 1 / largest**2))
    for radius, (x, y), grey in zip(radii, rng.integers(0, size, (len(u), 2)), rng.integers(20, 236, len(u))):
        cv2.circle(image, (int(x), int(y)), round(radius), int(grey), -1, cv2.LINE_AA)
    return image
