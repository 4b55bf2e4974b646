"""The order of focus of images, from their sharpness.

Where a place is sharp depends on the focus alone: as the focus passes its depth, its sharpness rises and falls. Images
that are near each other in focus are sharp in the same places, so the order of focus is the shortest path through the
images, where the distance of two is how much the sharpness of their places differs (the seriation problem: Liiv,
"Seriation and matrix reordering methods", 2010). Which end is near cannot be seen in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dfd_ros.photographs.alignment import Alignment

ORDERS = ('far_to_near', 'near_to_far')
ASSUMED_FIRST = 'the first is assumed to be focused farthest'
ASSUMED_ZOOM = 'the end where the image is larger is assumed to be near'
CELLS = 24
"""Places across the image."""
BANDS = (0.0, 1.5, 4.0, 10.0)
"""px, standard deviations that limit the bands of detail: fine detail distinguishes nearly sharp images, coarse detail
very blurred ones."""
TEXTURED = 0.6
"""Share of the cells that is used: those with the most detail."""
NO_DETAIL = 1e-6
"""Energy relative to the squared brightness, below which all is noise."""
MIN_CHANGE = 0.25
"""Of the logarithm of energy, between the two images that differ most: less is no change of focus. What all places of
an image have in common, such as motion blur, does not count."""
FILE_ORDER_SLACK = 1.05
"""The order of the files is kept if its path is hardly longer than the shortest."""
MAX_STARTS = 16
MIN_ZOOM = 0.01
"""Change of the image scale from end to end; less is no focus breathing."""


@dataclass(frozen=True)
class FocusOrder:
    """The order of focus, from the end that is taken to be far to the one taken to be near."""

    order: tuple[int, ...]
    """Indices of the images."""
    is_as_given: bool
    """The images were in this order already, or in its reverse."""
    direction_from: str
    """Why that end is taken to be near."""

    def source(self, things: str, why: str) -> str:
        """For people: where the order is from, of photographs, pages or frames, and why not from focus distances."""
        if self.direction_from in ORDERS:
            return f'order of the {things}, {self.direction_from.replace("_", " ")} as given ({why})'
        given = 'the same as' if self.is_as_given else 'not'
        return f'order of sharpness, {given} that of the {things} ({why}); {self.direction_from}'


def order_as_given(count: int, order: str) -> FocusOrder:
    """The order of images whose focus goes one of the `ORDERS`."""
    indices = range(count) if order == ORDERS[0] else range(count - 1, -1, -1)
    return FocusOrder(tuple(indices), True, order)


def sharpness(images: Sequence[np.ndarray], alignment: Alignment) -> np.ndarray:
    """(images, cells) log energy of detail of each band, in the view of the middle image, of the cells that have
    texture."""
    height, width = images[0].shape[:2]
    middle = alignment.to_first[len(images) // 2]
    rows = max(4, round(CELLS * height / width))
    bands: list[list[np.ndarray]] = [[] for _ in BANDS[1:]]
    for image, to_first in zip(images, alignment.to_first):
        grey: Any = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        matrix = (to_first.inverse() @ middle).matrix(height, width)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        grey = cv2.warpAffine(grey, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        levels = [grey, *(cv2.GaussianBlur(grey, (0, 0), deviation) for deviation in BANDS[1:])]
        for band, fine, coarse in zip(bands, levels, levels[1:]):
            energy = cv2.resize((fine - coarse) ** 2, (CELLS, rows), interpolation=cv2.INTER_AREA)
            # Relative to the brightness, which automatic exposure changes. The border may be out of view.
            band.append(np.log(energy[1:-1, 1:-1] / max(float(grey.mean()), 1.0) ** 2 + NO_DETAIL).ravel())
    return np.hstack([_textured(np.array(band)) for band in bands])


def _textured(profiles: np.ndarray) -> np.ndarray:
    """Of (images, cells) those with the most detail."""
    most = profiles.max(0)
    return profiles[:, most >= np.quantile(most, 1 - TEXTURED)]


def differences(profiles: np.ndarray) -> np.ndarray:
    """(images, images): by how much the sharpness of places differs, root mean square."""
    return np.sqrt(np.mean((profiles[:, None] - profiles[None]) ** 2, -1))


def change_of_focus(profiles: np.ndarray) -> float:
    """The largest difference between two images, without what all places have in common."""
    return float(differences(profiles - np.median(profiles, 1, keepdims=True)).max())


def find_order(profiles: np.ndarray, alignment: Alignment) -> FocusOrder:
    """The order of focus of images with these `sharpness` profiles."""
    distances = differences(profiles)
    given = list(range(len(profiles)))
    order = _shortest_path(distances)
    is_as_given = _length(distances, given) <= FILE_ORDER_SLACK * _length(distances, order)
    if is_as_given:
        order = given
    order, direction = directed(order, alignment)
    return FocusOrder(tuple(order), is_as_given, direction)


def directed(order: list[int], alignment: Alignment) -> tuple[list[int], str]:
    """An order of focus from the end that is taken to be far, and why it is: sharpness is the same both ways, but most
    lenses, and those of phones, enlarge the image as they focus nearer (focus breathing)."""
    zoom = alignment.to_first[order[-1]].scale / alignment.to_first[order[0]].scale
    if abs(zoom - 1) < MIN_ZOOM:
        return order if order.index(min(order)) < order.index(max(order)) else order[::-1], ASSUMED_FIRST
    # The scale maps to the first image: it is smaller where the image is larger.
    return order if zoom < 1 else order[::-1], ASSUMED_ZOOM


def path_ratio(profiles: np.ndarray, order: Sequence[int]) -> float:
    """How much longer the path in this order is than the shortest one: 1 for the order of focus."""
    distances = differences(profiles)
    return _length(distances, list(order)) / max(_length(distances, _shortest_path(distances)), 1e-9)


def _length(distances: np.ndarray, path: Sequence[int]) -> float:
    return float(distances[path[:-1], path[1:]].sum())


def _shortest_path(distances: np.ndarray) -> list[int]:
    """An open path through all: nearest neighbours from several starts, and the order given, improved by 2-opt."""
    count = len(distances)
    starts = sorted({round(i) for i in np.linspace(0, count - 1, min(count, MAX_STARTS))})
    paths = [list(range(count)), *(_nearest_neighbours(distances, start) for start in starts)]
    return min((_two_opt(distances, path) for path in paths), key=lambda path: _length(distances, path))


def _nearest_neighbours(distances: np.ndarray, start: int) -> list[int]:
    path, left = [start], set(range(len(distances))) - {start}
    while left:
        path.append(min(left, key=lambda i: distances[path[-1], i]))
        left.remove(path[-1])
    return path


def _two_opt(distances: np.ndarray, path: list[int]) -> list[int]:
    """Reverse parts of the path while that makes it shorter."""
    count, is_better = len(path), True
    while is_better:
        is_better = False
        for i in range(count - 1):
            for j in range(i + 1, count):
                # Ends of an open path have no neighbour.
                before = (distances[path[i - 1], path[i]] if i else 0) + (
                    distances[path[j], path[j + 1]] if j + 1 < count else 0
                )
                after = (distances[path[i - 1], path[j]] if i else 0) + (
                    distances[path[i], path[j + 1]] if j + 1 < count else 0
                )
                if after < before - 1e-9:
                    path[i : j + 1] = path[i : j + 1][::-1]
                    is_better = True
    return path
