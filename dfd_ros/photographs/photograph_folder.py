"""A folder of photographs: which files they are, and whether they can be a focal stack."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfd_ros.core.camera_files import CAMERA_SUFFIXES, RAW_SUFFIXES
from dfd_ros.core.errors import InputError, warn
from dfd_ros.core.image_io import SUFFIXES, SmallImage, StackFiles, to_8_bits
from dfd_ros.photographs import alignment, focus_order
from dfd_ros.photographs.alignment import Alignment, align
from dfd_ros.photographs.focus_order import FocusOrder, find_order, order_as_given, sharpness

MAX_PHOTOGRAPHS = 200
SAME_LENS = 0.02
"""Largest relative difference of two focal lengths."""
SAME_FOCUS = 0.01
"""Dioptres between the nearest and the farthest focus distance: less is one."""
MAX_DISAGREEMENT = 1.5
"""Length of the path through the images in the order of their EXIF distances, relative to the shortest one."""
SMALL = 2 * alignment.SIZE


@dataclass
class Photographs:
    """Photographs of one scene through one lens, in the order of their names."""

    folder: Path
    paths: list[Path]
    files: StackFiles
    focus_distances: list[float] | None
    """m, of each; None where EXIF does not have all of them, or they are all the same."""
    order: FocusOrder
    focus_source: str
    """Where the focus distances, or their order, are from."""


def photograph_paths(folder: Path) -> list[Path]:
    """The photographs in a folder, in the natural order of their names: IMG_9 before IMG_10. If a photograph is
    there both as RAW and as another kind, the other kind counts."""
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES + CAMERA_SUFFIXES and not path.name.startswith('.') and path.is_file()
    ]
    others = {path.stem for path in found if path.suffix.lower() not in RAW_SUFFIXES}
    found = [path for path in found if path.suffix.lower() not in RAW_SUFFIXES or path.stem not in others]
    return sorted(found, key=lambda path: [(int(n) if n else -1, text) for n, text in _parts(path.name)])


def _parts(name: str) -> list[tuple[str, str]]:
    return re.findall(r'(\d*)(\D*)', name.lower())


def read_photographs(folder: Path, order: str | None = None) -> Photographs:
    """Look at a folder without a stack.yaml. order: as in `stack_input.read_focal_stack`.

    Raises:
        InputError: it is no focal stack; says why.
    """
    paths = photograph_paths(folder)
    if len(paths) < 2:
        raise InputError(
            f'{folder}: no focal stack: {len(paths) or "no"} photograph{"s" if not paths else ""} in it, '
            'at least two are needed'
        )
    if len(paths) > MAX_PHOTOGRAPHS:
        raise InputError(
            f'{folder}: no focal stack: {len(paths)} photographs, more than {MAX_PHOTOGRAPHS}; '
            'give a folder with those of one scene alone'
        )
    files = StackFiles(paths, [''] * len(paths), str(folder))
    first = files.small(0, SMALL)
    seen = [first]
    for i, path in enumerate(paths[1:], 1):
        photograph = files.small(i, SMALL)
        if reason := _difference(photograph, first, paths[0].name):
            raise InputError(f'{folder}: no focal stack: {path.name} {reason}')
        seen.append(photograph)
        if len(seen) in (2, 8):  # holiday photographs need not all be read to be recognised
            _require_one_scene(folder, paths, seen)
    aligned = _require_one_scene(folder, paths, seen)
    profiles = sharpness([alignment.small(pixels) for pixels in to_8_bits([one.pixels for one in seen])], aligned)
    require_change_of_focus(profiles, str(folder))
    found = find_order(profiles, aligned) if order is None else order_as_given(len(paths), order)
    distances, source = _focus_distances(folder, seen, profiles)
    if distances is None:
        source = found.source('files', source)
    return Photographs(folder, paths, files, distances, found, source)


def require_change_of_focus(profiles: np.ndarray, name: str) -> None:
    """Raises `InputError` if these sharpness profiles are those of one focus."""
    if focus_order.change_of_focus(profiles) < focus_order.MIN_CHANGE:
        raise InputError(
            f'{name}: no focal stack: the same places are sharp in all images, so the focus does not move; '
            'lock the focus at a different distance for each photograph'
        )


def _difference(photograph: SmallImage, first: SmallImage, name: str) -> str:
    """Why two photographs cannot belong to one stack; empty if they can."""
    if photograph.pixels.shape != first.pixels.shape and photograph.stored_size != first.stored_size:
        sizes = ['x'.join(map(str, one.stored_size)) for one in (photograph, first)]
        return f'has {sizes[0]} pixels, {name} {sizes[1]}'
    if photograph.camera != first.camera and photograph.camera and first.camera:
        return f'is from another camera ({photograph.camera}) than {name} ({first.camera})'
    lengths = photograph.lens['focal_length'], first.lens['focal_length']
    if abs(lengths[0] / lengths[1] - 1) > SAME_LENS:
        return (
            f'was taken with another lens or zoom ({lengths[0] * 1e3:.3g} mm) than {name} ({lengths[1] * 1e3:.3g} mm); '
            'phones change the lens for near things: switch macro off'
        )
    return ''


def _require_one_scene(folder: Path, paths: list[Path], seen: list[SmallImage]) -> Alignment:
    turned = to_8_bits([photograph.pixels for photograph in seen])
    if len({pixels.shape for pixels in turned}) > 1:  # their orientation flips when the camera looks straight down
        turned = [np.rot90(pixels) if pixels.shape != turned[0].shape else pixels for pixels in turned]
    aligned = align([alignment.small(pixels) for pixels in turned])
    if aligned.stranger is not None:
        i = aligned.stranger
        raise InputError(
            f'{folder}: no focal stack: {paths[i].name} shows another scene than {paths[i - 1].name} '
            f'(correlation {max(aligned.correlation, 0):.2f}, {alignment.MIN_CORRELATION} or more is needed); '
            'a stack is photographs of one scene from one place'
        )
    return aligned


def _focus_distances(folder: Path, seen: list[SmallImage], profiles: np.ndarray) -> tuple[list[float] | None, str]:
    """The distances in the files if they can be true, and where they are from; otherwise None, and why."""
    distances = [photograph.lens['focus_distance'] for photograph in seen]
    known = sum(not math.isnan(distance) for distance in distances)
    if known < len(distances):
        return None, 'no focus distances in EXIF' if not known else f'EXIF has {known} of {len(seen)} focus distances'
    vergences = [1 / distance for distance in distances]
    if max(vergences) - min(vergences) < SAME_FOCUS:
        return None, f'EXIF has the same focus distance, {distances[0]:.3g} m, for all'
    ratio = focus_order.path_ratio(profiles, sorted(range(len(vergences)), key=vergences.__getitem__))
    if ratio > MAX_DISAGREEMENT:
        warn(
            f'{folder}: the focus distances in EXIF do not match the sharpness of the images, so depth may be wrong; '
            'give your own in a stack.yaml (dfd stack init)'
        )
    return distances, 'EXIF'
