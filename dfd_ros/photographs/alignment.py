"""How the photographs of a scene lie on each other, and whether they show one scene at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.registration import Registration

SIZE = 480
"""px, longer side of the images that are looked at."""
MIN_CORRELATION = 0.8
"""Of two images of one scene, low-passed and aligned. Focus hardly changes those; other scenes have 0.3."""
MAX_TRIES = 4
"""Earlier images that an image is compared with: neighbours in time may be far from each other in focus."""


@dataclass
class Alignment:
    """Where images of one size lie."""

    to_first: list[Similarity] = field(default_factory=list)
    """What maps pixels of each image to those of the first one."""
    stranger: int | None = None
    """The first image that shows another scene than those before it; None: there is none."""
    correlation: float = math.nan
    """Of the stranger with the image before it."""


def small(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8: an image whose longer side has `SIZE` px at most."""
    scale = min(1.0, SIZE / max(image.shape[:2]))
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def align(images: Sequence[np.ndarray]) -> Alignment:
    """Align images, (h, w, 3) uint8, each with one before it. Ends at the first image of another scene."""
    found = Alignment([Similarity()])
    for i in range(1, len(images)):
        correlations = []
        for j in range(i - 1, max(-1, i - 1 - MAX_TRIES), -1):
            registration = Registration()
            registration.push(images[j])
            motion = registration.push(images[i])
            correlations.append(registration.correlation)
            if registration.correlation >= MIN_CORRELATION:
                found.to_first.append(found.to_first[j] @ motion)
                break
        else:
            found.stranger, found.correlation = i, correlations[0]
            break
    return found
