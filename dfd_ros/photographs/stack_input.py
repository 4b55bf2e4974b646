"""Focal stacks of whatever people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.focal_stack import FocalStack, relative_lens_states
from dfd_ros.core.image_io import read_pages
from dfd_ros.core.lens_state import LensState
from dfd_ros.photographs.alignment import align, small
from dfd_ros.photographs.focus_order import ORDERS, FocusOrder, find_order, order_as_given, sharpness
from dfd_ros.photographs.photograph_folder import Photographs, read_photographs, require_change_of_focus
from dfd_ros.photographs.video import VIDEO_SUFFIXES, read_focus_pull

TIFF_SUFFIXES = ('.tif', '.tiff')
KINDS = 'a folder of images, a video of a focus pull, or a TIFF file with several pages'


def read_focal_stack(path: str | Path, order: str | None = None) -> FocalStack:
    """A focal stack from a folder with a stack.yaml, a folder of photographs, a video, or a TIFF file with pages.

    Where no focus distances are known the stack is relative (`is_metric` is False), and its frames go from the
    farthest focus to the nearest; `focus_source` says what that is from.

    Args:
        order: `far_to_near` or `near_to_far`: how the focus goes through the photographs by name, the pages, or the
            frames by time, if no focus distances are known. None: found from the sharpness of the images.

    Raises:
        InputError: it is none of these, or no focal stack; says why.
    """
    path = Path(path)
    if order is not None and order not in ORDERS:
        raise InputError(f'order: {quoted(order)}, give {" or ".join(ORDERS)}')
    if (path / 'stack.yaml').exists():
        if order is not None:
            raise InputError(f'{path / "stack.yaml"}: give the order in this file, order: {order}')
        return FocalStack.read(path, metric=False)
    if path.is_dir():
        return _of_photographs(read_photographs(path, order))
    require_focal_stack_file(path)
    if path.suffix.lower() in TIFF_SUFFIXES:
        return _of_pages(path, order)
    pull = read_focus_pull(path, order)
    return _relative(pull.images, pull.order, path, pull.focus_source)


def require_focal_stack_file(path: Path) -> None:
    """Raises `InputError` for a path that is no video and no TIFF file by its name, or not there."""
    if not path.exists():
        raise InputError(f'{path}: no such file or folder; give {KINDS}')
    if path.suffix.lower() not in VIDEO_SUFFIXES + TIFF_SUFFIXES:
        raise InputError(f'{path}: give {KINDS}')


def _relative(images: list[np.ndarray], order: FocusOrder, path: Path, source: str) -> FocalStack:
    images = [images[i] for i in order.order]
    return FocalStack(images, relative_lens_states(len(images)), None, str(path), False, source)


def _of_photographs(photographs: Photographs) -> FocalStack:
    read = photographs.files.read()
    images = [image.pixels for image in read]
    if photographs.focus_distances is None:
        return _relative(images, photographs.order, photographs.folder, photographs.focus_source)
    lens_states = [
        LensState(
            focus_distance,
            focal_length=image.lens['focal_length'],
            f_number=image.lens['f_number'],
            pixel_pitch=image.lens['pixel_pitch'],
        ).checked(str(path))
        for path, image, focus_distance in zip(photographs.paths, read, photographs.focus_distances)
    ]
    return FocalStack(images, lens_states, None, str(photographs.folder), True, photographs.focus_source)


def _of_pages(path: Path, order: str | None) -> FocalStack:
    pages = read_pages(path)
    if len(pages) < 2:
        raise InputError(f'{path}: no focal stack: one page, at least two are needed')
    images = [small(page) for page in pages]
    aligned = align(images)
    if aligned.stranger is not None:
        raise InputError(
            f'{path}: no focal stack: page {aligned.stranger + 1} shows another scene than page {aligned.stranger} '
            f'(correlation {max(aligned.correlation, 0):.2f})'
        )
    profiles = sharpness(images, aligned)
    require_change_of_focus(profiles, str(path))
    found = find_order(profiles, aligned) if order is None else order_as_given(len(pages), order)
    return _relative(pages, found, path, found.source('pages', 'TIFF files have no focus distances'))
