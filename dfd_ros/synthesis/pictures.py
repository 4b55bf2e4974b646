"""Photographs from a folder and generated prints for the surfaces of synthetic scenes, cached per process.

A scene's seed determines which pictures it may show. Scenes of neighbouring seeds share a window of pictures, which
stays in memory; the next window replaces a few of them.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import SUFFIXES, image_size

# Scenes per window, pictures per window, and how many of these the next window replaces.
SCENES, PRINTS, NEW_PRINTS, PHOTOGRAPHS, NEW_PHOTOGRAPHS = 400, 200, 50, 48, 16
MAX_SIDE = 1024  # px, longer side of a photograph in memory
PRINT_SIDES = (260, 640)
_SPLITS = {'train': 0, 'test': 1}


def images_in(folder: str | Path) -> list[Path]:
    """The usable images below a folder, sorted. Each unusable image gets a line with the reason on stderr.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    folder, found = Path(folder), []
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder of photographs')
    for path in sorted(p for p in folder.rglob('*') if p.suffix.lower() in SUFFIXES and p.is_file()):
        if reason := unusable(path):
            print(f'dfd: warning: {path}: left out: {reason}', file=sys.stderr)
        else:
            found.append(path)
    if not found:
        raise InputError(f'{folder}: no usable image in it ({", ".join(SUFFIXES)})')
    return found


def unusable(path: Path) -> str | None:
    """Why an image cannot be used, judged by its header; None if it can."""
    try:
        width, height = image_size(path)
    except InputError as error:
        return str(error).removeprefix(f'{path}: ')
    return f'{width}x{height} pixels, too small' if min(width, height) < 32 else None


class Library:
    """Pictures for the scenes of a split. Use `library`, which caches one per process.

    Args:
        folder: of photographs; '' = none. One in eight, chosen by name, belongs to the test split.
        split: 'train' or 'test'.

    Raises:
        InputError: the folder does not exist, or has no image.
    """

    def __init__(self, folder: str, split: str):
        self.split = split
        paths = images_in(folder) if folder else []
        is_test = [hashlib.sha1(path.name.encode()).digest()[0] % 8 == 0 for path in paths]
        of_split = [path for path, test in zip(paths, is_test) if test == (split == 'test')]
        # If a folder has too few images for one of the splits, both use all of them.
        self.paths = of_split or paths
        order = np.random.default_rng(0).permutation(len(self.paths))
        self.paths = [self.paths[i] for i in order]
        self._photograph = functools.lru_cache(maxsize=PHOTOGRAPHS + NEW_PHOTOGRAPHS)(self._read)
        self._print = functools.lru_cache(maxsize=PRINTS + NEW_PRINTS)(self.numbered_print)

    def photograph(self, seed: int, choice: float) -> np.ndarray | None:
        """(H, W, 3) uint8 sRGB; None without a folder.

        Args:
            seed: of the scene.
            choice: 0..1, position within the window.
        """
        if not self.paths:
            return None
        first = seed // SCENES * NEW_PHOTOGRAPHS
        return self._photograph((first + int(choice * min(PHOTOGRAPHS, len(self.paths)))) % len(self.paths))

    def print(self, seed: int, choice: float) -> np.ndarray:
        """(H, W, 3) uint8 sRGB. Arguments as of `photograph`."""
        return self._print(seed // SCENES * NEW_PRINTS + int(choice * PRINTS))

    def _read(self, number: int) -> np.ndarray:
        import cv2

        for path in self.paths[number:] + self.paths[:number]:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is not None:
                break
            print(f'dfd: warning: {path}: left out: truncated or broken', file=sys.stderr)
        else:
            raise InputError(f'{self.paths[0].parent}: none of the images can be read')
        scale = MAX_SIDE / max(image.shape[:2])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(image[..., ::-1])

    def numbered_print(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 sRGB: a print of its own for every number, not cached."""
        from dfd_ros.synthesis.prints import draw_print

        rng = np.random.default_rng([number, _SPLITS[self.split]])
        height, width = (int(np.exp(rng.uniform(*np.log(PRINT_SIDES)))) for _ in range(2))
        seed = number // NEW_PRINTS * SCENES  # of the window in which the print first appears
        found = [self.photograph(seed, choice) for choice in rng.random(2)] if self.paths else []
        photographs = [photograph for photograph in found if photograph is not None]
        return draw_print(rng, height, width, photographs, self.split)


@functools.lru_cache(maxsize=4)
def library(folder: str, split: str) -> Library:
    """The cached library of a folder and a split."""
    return Library(folder, split)
