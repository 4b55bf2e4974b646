"""A USB camera with a focus motor, through V4L2 and OpenCV."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.calibration.calibration_file import Calibration, FocusMotion, read_focus_table
from dfd_ros.cameras import CameraLost, CameraSource, Frame
from dfd_ros.cameras.lens_motion import LensMotion
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, VergenceRange, distance, vergence
from dfd_ros.core.v4l2_device import RETRY, ImageSettings, V4l2Device

DRIVER_QUEUE = 4  # frames that a driver holds at most where it does not take CAP_PROP_BUFFERSIZE
OLDEST_STAMP = 10.0  # s; an older stamp comes from another clock
TOLERANCE = 0.05  # of the table's values: a motor rounds a value to its own steps
PATIENCE = 1.0  # s that a motor may take before its silence is worth a warning


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
        if not np.isfinite(self._values).all():
            raise InputError('focus table: every value must be a finite number')
        steps = np.diff(self._values)
        if not (np.diff(self._vergence) > 0).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise InputError('focus table: the value must rise, or fall, with every step of focus_distance_m')
        self.range = VergenceRange(distance(float(self._vergence[-1])), distance(float(self._vergence[0])))

    @classmethod
    def load(cls, path: str | Path) -> FocusTable:
        """Reads a table from YAML. Raises InputError that names the file."""
        table = read_focus_table(path)
        try:
            return cls(list(table.values), list(table.focus_distances))
        except InputError as error:
            raise InputError(f'{path}: {error}') from None

    @classmethod
    def found(cls, path: str, calibration: Calibration) -> FocusTable | None:
        """The table of a file, else that of a calibration; None if there is neither. Raises as `load`.

        path: '' = no file.
        """
        if path:
            return cls.load(path)
        if calibration.focus is None:
            return None
        return cls(list(calibration.focus.values), list(calibration.focus.focus_distances))

    def value(self, focus_distance: float) -> float:
        """The control value for a focus distance (m), clamped to the ends of the table."""
        return float(np.interp(vergence(focus_distance), self._vergence, self._values))

    def focus_distance(self, value: float) -> float:
        """The focus distance (m) of a control value, clamped to the ends of the table."""
        order = np.argsort(self._values)
        return distance(float(np.interp(value, self._values[order], self._vergence[order])))

    @property
    def tolerance(self) -> float:
        """By how much the value that a motor has may differ from the one requested."""
        return TOLERANCE * float(np.ptp(self._values))


class V4l2Source(CameraSource):
    """A V4L2 device, its autofocus off, its focus motor driven by a `FocusTable`.

    The lens state is that of the control value read from the camera, not of the one requested; while they differ the
    focus counts as not settled, and the value is set again with every frame. A motor does not report when it has
    arrived, so the focus counts as settled `settle_time` s after the camera has taken the value.
    """

    def __init__(
        self,
        device: str,
        table: FocusTable,
        *,
        settle_time: float,
        motion: FocusMotion | None = None,
        max_travel: float = 0.0,
        lens: Lens = Lens(),
        lens_width: int = 0,
        magnification: Callable[[float], float] | None = None,
        images: ImageSettings = ImageSettings(),
        api: int = cv2.CAP_V4L2,
    ) -> None:
        """`device` is a path or a number; `api` is OpenCV's. `motion`, where it was measured, replaces `settle_time`.
        `max_travel`: share of the range over which the lens may move in a frame that counts as settled.

        `lens_width` is the width (px) of the images that the pixel pitch of `lens` belongs to, 0 for those that the
        device gives; `magnification` gives the image scale at a focus distance (m), relative to infinity.
        Raises InputError if the device cannot be opened, its focus not be set, or `images` not be had.
        """
        self._name = device
        self._api = api
        self._images = images
        self._table = table
        self._lens = lens
        self._lens_width = lens_width
        self._magnification = magnification
        self._measured = motion
        self._motion = LensMotion(0.0, settle_time, table.range.width)
        if motion is not None:
            self._motion = LensMotion(motion.slew_dioptre_s, motion.settle_s, table.range.width, motion.uncertainty_s)
        self._most_travel = 1.01 * max_travel * table.range.width
        self._commands = 0
        self._wanted = table.value(table.range.far)
        self._wanted_at = self._set_at = -math.inf
        self._refused = self._missed = False  # missed: the camera has another value than the one wanted
        self._settle_time = settle_time
        self._device: V4l2Device | None = None
        self._focusing = threading.Lock()  # commands and frames come from different threads
        self._period = math.nan
        self._open()

    def focus(self, distance: float, time_s: float) -> None:
        if not distance > 0:
            raise InputError(f'focus command: focus distance {distance} m must be positive (inf for infinity)')
        with self._focusing:
            self._wanted = self._table.value(distance)
            self._wanted_at = time_s
            self._commands += 1
            self._follow(time_s, is_new=True)

    def capture(self, time_s: float) -> Frame:
        try:
            device = self._device or self._open()
        except InputError as error:
            raise CameraLost(str(error)) from None
        exposed = self._grab(device, time_s)
        image = device.retrieve()
        if image is None:
            raise self._lost()
        with self._focusing:
            self._follow(time.monotonic())
            # Some drivers stamp the end of a frame: the motor must have been at rest one period earlier. What was
            # measured goes by the stamps.
            position = self._motion.during(exposed - (0.0 if self._measured else self._period), exposed)
            missed, wanted_at = self._missed, self._wanted_at
        settled = position is not None and (position.rests or position.travel <= self._most_travel)
        focus_distance = distance(position.value) if position else self._table.range.far
        lens = self._lens.scaled(image.shape[1] / self._lens_width) if self._lens_width else self._lens
        state = LensState(
            focus_distance=focus_distance,
            focal_length=lens.focal_length,
            f_number=lens.f_number,
            pixel_pitch=lens.pixel_pitch,
            magnification=self._magnification(focus_distance) if self._magnification else math.nan,
            near=self._table.range.near,
            far=self._table.range.far,
            settled=settled and not missed,
        )
        warning = ''
        if missed and time.monotonic() - wanted_at > PATIENCE:
            warning = (
                f'{self._name}: the camera does not take the focus value {self._wanted:.0f}, it is at '
                f'{device.focus:g}; is its autofocus on, or does another program use it? Trying again.'
            )
        return Frame(image, state, exposed, warning=warning, commands=position.command_id if position else 0)

    def close(self) -> None:
        with self._focusing:
            if self._device is not None:
                self._device.close()
                self._device = None

    def _follow(self, now: float, is_new: bool = False) -> None:
        """Takes over the value that the camera has; sets the wanted one where that is new, or was not taken."""
        if self._device is None:
            return
        if is_new or (self._missed and now - self._set_at >= RETRY):
            self._set_at = now
            self._refused = not self._device.set_focus(self._wanted)
        value = self._device.focus
        self._missed = self._refused or not abs(value - self._wanted) <= self._table.tolerance
        if value >= 0:
            measured = self._measured
            latency = measured.latency_s + measured.latency_frames * self._period if measured else 0.0
            self._motion.command(vergence(self._table.focus_distance(value)), now, now, latency, self._commands)

    def _grab(self, device: V4l2Device, time_s: float) -> float:
        """Grabs the first frame that is not a leftover in the queue. Returns its time of exposure."""
        stamp = -math.inf
        for _ in range(DRIVER_QUEUE + 1):
            grabbed = device.grab()  # V4L2: of CLOCK_MONOTONIC
            if grabbed is None:
                raise self._lost()
            stamp = grabbed
            if not time.monotonic() - OLDEST_STAMP < stamp <= time.monotonic():
                return time_s  # a driver with a clock of its own
            if stamp > time_s - self._period:
                break
        return stamp

    def _lost(self) -> CameraLost:
        self.close()
        return CameraLost(f'{self._name}: no image; is the camera still plugged in?')

    def _open(self) -> V4l2Device:
        device = V4l2Device.open(self._name, self._images, self._api)
        try:
            for value in (self._table.value(self._table.range.near), self._wanted):  # two: it has to move
                device.move_focus(value, self._table.tolerance)
        except InputError:
            device.close()
            raise
        self._period = 1 / device.rate if device.rate > 0 else 1 / 30
        with self._focusing:
            self._device = device
            self._follow(time.monotonic(), is_new=True)  # a command may have come meanwhile
        measured, way = self._measured, self._table.range.width
        # Nobody knows where the motor comes from.
        time.sleep(measured.until_rest(way, self._period) if measured else self._settle_time)
        return device
