"""A USB camera with a focus motor, through V4L2 and OpenCV."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.calibration.calibration_file import read_focus_table
from dfd_ros.cameras import CameraLost, CameraSource, Frame
from dfd_ros.cameras.focus_drive import FocusDrive
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, VergenceRange, vergence

DRIVER_QUEUE = 4  # frames that a driver holds at most where it does not take CAP_PROP_BUFFERSIZE
OLDEST_STAMP = 10.0  # s; an older stamp comes from another clock


class FocusTable:
    """Control values of a focus motor by focus distance, interpolated linearly in vergence.

    A motor step changes the vergence by about the same amount everywhere, so a few entries suffice. The file::

        focus_table:
        - {value: 0, focus_distance_m: .inf}
        - {value: 250, focus_distance_m: 0.1}
    """

    def __init__(self, values: list[float], focus_distances: list[float]) -> None:
        """Two or more entries, monotonic, each distance (m) and each value only once. Raises InputError."""
        if len(values) < 2:
            raise InputError('focus table: expected two or more entries')
        entries = sorted(zip((vergence(float(d)) for d in focus_distances), values))
        self._vergence = np.array([entry[0] for entry in entries], float)
        self._values = np.array([entry[1] for entry in entries], float)
        if not np.isfinite(self._vergence).all():
            raise InputError('focus table: every focus_distance_m must be a positive number or .inf')
        steps = np.diff(self._values)
        if not (np.diff(self._vergence) > 0).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise InputError('focus table: the value must rise, or fall, with every step of focus_distance_m')
        self.range = VergenceRange(1 / self._vergence[-1], 1 / self._vergence[0] if self._vergence[0] > 0 else math.inf)

    @classmethod
    def load(cls, path: str | Path) -> FocusTable:
        """Reads a table from YAML. Raises InputError that names the file."""
        table = read_focus_table(path)
        try:
            return cls(list(table.values), list(table.focus_distances))
        except InputError as error:
            raise InputError(f'{path}: {error}') from None

    def value(self, focus_distance: float) -> float:
        """The control value for a focus distance (m), clamped to the ends of the table."""
        return float(np.interp(vergence(focus_distance), self._vergence, self._values))


class V4l2Source(CameraSource):
    """A V4L2 device, its autofocus off, its focus motor driven by a `FocusTable`.

    A motor does not report when it has arrived, so the focus counts as settled `settle_time` s after a command.
    """

    def __init__(
        self,
        device: str,
        table: FocusTable,
        *,
        settle_time: float,
        lens: Lens = Lens(),
        lens_width: int = 0,
        magnification: Callable[[float], float] | None = None,
        width: int = 0,
        height: int = 0,
        api: int = cv2.CAP_V4L2,
    ) -> None:
        """`device` is a path or a number; 0 px leaves the size to the driver; `api` is OpenCV's.

        `lens_width` is the width (px) of the images that the pixel pitch of `lens` belongs to, 0 for those that the
        device gives; `magnification` gives the image scale at a focus distance (m), relative to infinity.
        Raises InputError if the device cannot be opened.
        """
        self._device = device
        self._api = api
        self._size = (width, height)
        self._table = table
        self._lens = lens
        self._lens_width = lens_width
        self._magnification = magnification
        self._drive = FocusDrive(table.range.far, settle_time, table.range)
        self._goal = table.range.far
        self._capture: cv2.VideoCapture | None = None
        self._opened_or_closed = threading.Lock()  # commands and frames come from different threads
        self._period = math.nan
        try:
            self._open()
        except CameraLost as error:
            raise InputError(str(error)) from None

    def focus(self, distance: float, time_s: float) -> None:
        self._drive.command(distance, time_s)
        with self._opened_or_closed:
            self._goal = distance
            self._set_focus()

    def capture(self, time_s: float) -> Frame:
        if self._capture is None:
            self._open()
        exposed = self._grab(time_s)
        received, image = self._capture.retrieve()
        if not received:
            raise self._lost()
        focus_distance, _ = self._drive.at(exposed)
        # Some drivers stamp the end of a frame: the motor must have been at rest one period earlier.
        _, settled = self._drive.at(exposed - self._period)
        lens = self._lens.scaled(image.shape[1] / self._lens_width) if self._lens_width else self._lens
        state = LensState(
            focus_distance=focus_distance,
            focal_length=lens.focal_length,
            f_number=lens.f_number,
            pixel_pitch=lens.pixel_pitch,
            magnification=self._magnification(focus_distance) if self._magnification else math.nan,
            near=self._table.range.near,
            far=self._table.range.far,
            settled=settled,
        )
        return Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), state, exposed)

    def close(self) -> None:
        with self._opened_or_closed:
            if self._capture is not None:
                self._capture.release()
                self._capture = None

    def _grab(self, time_s: float) -> float:
        """Grabs the first frame that is not a leftover in the queue. Returns its time of exposure."""
        for _ in range(DRIVER_QUEUE + 1):
            if not self._capture.grab():
                raise self._lost()
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000  # V4L2: of CLOCK_MONOTONIC
            if not time.monotonic() - OLDEST_STAMP < stamp <= time.monotonic():
                return time_s  # a driver with a clock of its own
            if stamp > time_s - self._period:
                break
        return stamp

    def _lost(self) -> CameraLost:
        self.close()
        return CameraLost(f'{self._device}: no image; is the camera still plugged in?')

    def _open(self) -> None:
        device = int(self._device) if self._device.isdigit() else self._device
        capture = cv2.VideoCapture(device, self._api)
        if not capture.isOpened():
            capture.release()
            raise CameraLost(
                f'{self._device}: cannot open the camera; is it plugged in, and may you read it (group video)?'
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for name, value in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self._size):
            if value:
                capture.set(name, value)
        capture.set(cv2.CAP_PROP_AUTOFOCUS, 0)
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._period = 1 / fps if fps > 0 else 1 / 30
        with self._opened_or_closed:
            self._capture = capture
            self._set_focus()

    def _set_focus(self) -> None:
        if self._capture is not None:
            self._capture.set(cv2.CAP_PROP_FOCUS, self._table.value(self._goal))
