"""A recorded focal stack as a camera: it shows the frame nearest to the commanded focus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.cameras import Frame
from dfd_ros.cameras.focus_drive import DrivenSource, FocusDrive
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import vergence


class StackSource(DrivenSource):
    """The frames of a focal stack folder, all read at start.

    The lens state is that of the shown frame, except that near and far are the nearest and farthest focus
    distance of the stack, so that a sweep covers the stack.
    """

    def __init__(self, path: str | Path, settle_time: float = 0.0, width: int = 0) -> None:
        """`width` (px) resizes the images in proportion; 0 keeps their size.

        Raises InputError if the folder is not a focal stack or has only one focus distance.
        """
        stack = FocalStack.read(path)
        limits = {'near': stack.range.near, 'far': stack.range.far}
        self._images, states = zip(*(_resized(image, state, width) for image, state in stack))
        self._states = [replace(state, **limits) for state in states]
        self._depth = stack.depth
        if self._depth is not None and width:
            # Nearest: a mean across an edge would be the depth of nothing.
            self._depth = cv2.resize(self._depth, self._images[0].shape[1::-1], interpolation=cv2.INTER_NEAREST)
        self._vergence = np.array([vergence(state.focus_distance) for state in states])
        self._drive = FocusDrive(stack.range.far, settle_time, stack.range)

    def capture(self, time_s: float) -> Frame:
        focus_distance, settled = self._drive.at(time_s)
        nearest = int(np.argmin(np.abs(self._vergence - vergence(focus_distance))))
        state = replace(self._states[nearest], settled=settled, stamp=time_s)
        return Frame(self._images[nearest], state, time_s, self._depth)


def _resized(image: np.ndarray, state: LensState, width: int) -> tuple[np.ndarray, LensState]:
    if not width or width == image.shape[1]:
        return image, state
    scale = width / image.shape[1]
    size = (width, max(1, round(image.shape[0] * scale)))
    # Area when smaller: anything else folds fine texture into noise that looks sharp.
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return image, replace(state, pixel_pitch=state.pixel_pitch / scale)
