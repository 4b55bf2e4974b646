"""A camera with a focus motor that takes values: V4L2, or the library of a camera maker."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from dfd_ros.calibration.calibration_file import FocusMotion
from dfd_ros.cameras import CameraLost, CameraSource, Frame
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.cameras.lens_motion import WAY_ROUND, LensMotion, is_of_another_rate
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import RETRY, FocusDevice
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, distance, vergence

DRIVER_QUEUE = 4  # frames that a driver holds at most where it does not take CAP_PROP_BUFFERSIZE
OLDEST_STAMP = 10.0  # s; an older stamp comes from another clock
MARGIN = 6  # frames by which the picture may be later than a report, until that is measured
PATIENCE = 1.0  # s that a motor may take before its silence is worth a warning


class MotorSource(CameraSource):
    """A camera, its autofocus off, its focus motor driven by a `FocusTable`.

    The lens state is that of the value read from the camera, not of the one requested; while they differ the focus
    counts as not settled, and the value is set again. A motor does not report when it has arrived, so the focus counts
    as settled `settle_time` s after the camera has taken the value, and until the latency of reports that come late is
    measured, `MARGIN` frames after they agree. A motor whose table has a hysteresis comes to every
    value from smaller ones.
    """

    def __init__(
        self,
        open_device: Callable[[], FocusDevice],
        table: FocusTable | None = None,
        *,
        settle_time: float,
        motion: FocusMotion | None = None,
        max_travel: float = 0.0,
        lens: Lens = Lens(),
        lens_width: int = 0,
        magnification: Callable[[float], float] | None = None,
    ) -> None:
        """`open_device` is called again where the camera was lost. Without a table the values have to be dioptres.
        `motion`, where it was measured at this frame rate, replaces `settle_time`. `max_travel`: share of the range
        over which the lens may move in a frame that counts as settled.

        `lens_width` is the width (px) of the images that the pixel pitch of `lens` belongs to, 0 for those that the
        device gives; `magnification` gives the image scale at a focus distance (m), relative to infinity.
        Raises InputError if the device cannot be opened, or its focus not be set.
        """
        self._open_device = open_device
        device = open_device()
        try:
            self.table = table = table or FocusTable.of_dioptres(device)
        except InputError:
            device.close()
            raise
        self._lens = lens
        self._lens_width = lens_width
        self._magnification = magnification
        if motion is not None and is_of_another_rate(motion.rate_hz, device.rate):
            motion = None
        self._measured = motion
        self._motion = LensMotion(0.0, settle_time, table.range.width)
        if motion is not None:
            self._motion = LensMotion(motion.slew_dioptre_s, motion.settle_s, table.range.width, motion.uncertainty_s)
        self._most_travel = 1.01 * max_travel * table.range.width
        self._commands = 0
        self._wanted = table.value(table.range.far)
        self._goal: float | None = None  # where the value wanted now is a way round
        self._recent = deque([(-math.inf, self._wanted)])  # (time, value) of commands that reports may still show
        self._wanted_at = self._set_at = -math.inf
        self._refused = self._missed = False  # missed: the camera has another value than the one wanted
        self._agreeing = 0  # frames since then
        self._settle_time = settle_time
        self._device: FocusDevice | None = None
        self._focusing = threading.Lock()  # commands and frames come from different threads
        self._period = math.nan
        self._start(device)

    def focus(self, distance: float, time_s: float) -> None:
        if not distance > 0:
            raise InputError(f'focus command: focus distance {distance} m must be positive (inf for infinity)')
        with self._focusing:
            self._commands += 1
            goal = self.table.value(distance)
            via = self.table.way_round(self._wanted, goal)
            self._goal = None if via is None else goal
            self._set_out(goal if via is None else via, time_s)

    def capture(self, time_s: float) -> Frame:
        try:
            device = self._device or self._start(self._open_device())
        except InputError as error:
            raise CameraLost(str(error)) from None
        exposed = self._grab(device, time_s)
        image = device.retrieve()
        if image is None:
            raise self._lost(device)
        with self._focusing:
            self._follow(time.monotonic())
            # Some drivers stamp the end of a frame: the motor must have been at rest one period earlier. What was
            # measured goes by the stamps.
            position = self._motion.during(exposed - (0.0 if self._measured else self._period), exposed)
            missed, wanted_at = self._missed, self._wanted_at
            self._agreeing = 0 if missed else self._agreeing + 1
            is_late = device.reports_late and self._measured is None and self._agreeing <= MARGIN
            commands, on_the_way = position.command_id if position else 0, False
            if commands == WAY_ROUND:
                commands, on_the_way = self._commands - 1, True
            if on_the_way and self._goal is not None and position is not None and position.rests and not missed:
                goal, self._goal = self._goal, None
                self._set_out(goal, time.monotonic())
        settled = position is not None and (position.rests or position.travel <= self._most_travel) and not on_the_way
        focus_distance = distance(position.value) if position else self.table.range.far
        lens = self._lens.scaled(image.shape[1] / self._lens_width) if self._lens_width else self._lens
        state = LensState(
            focus_distance=focus_distance,
            focal_length=lens.focal_length,
            f_number=lens.f_number,
            pixel_pitch=lens.pixel_pitch,
            magnification=self._magnification(focus_distance) if self._magnification else math.nan,
            near=self.table.range.near,
            far=self.table.range.far,
            settled=settled and not missed and not is_late,
        )
        warning = ''
        if missed and time.monotonic() - wanted_at > PATIENCE:
            warning = (
                f'{device.name}: the camera does not take the focus value {self._wanted:.4g}, it is at '
                f'{device.focus:g}; is its autofocus on, or does another program use it? Trying again.'
            )
        return Frame(image, state, exposed, warning=warning, commands=commands)

    def close(self) -> None:
        with self._focusing:
            if self._device is not None:
                self._device.close()
                self._device = None

    def _set_out(self, value: float, time_s: float) -> None:
        if value != self._wanted:
            self._agreeing = 0
        self._wanted, self._wanted_at = value, time_s
        self._recent.append((time_s, value))
        self._follow(time_s, is_new=True)

    def _follow(self, now: float, is_new: bool = False) -> None:
        """Takes over the value that the camera has; sets the wanted one where that is new, or was not taken."""
        while len(self._recent) > 1 and self._recent[1][0] < now - PATIENCE:
            self._recent.popleft()
        device = self._device
        if device is None:
            return
        retry = PATIENCE if device.reports_late else RETRY
        if is_new or (self._missed and now - self._set_at >= retry):
            is_new, self._set_at = True, now
            self._refused = not device.set_focus(self._wanted)
        value, possible = device.focus, [self._wanted]
        if device.reports_late and self._measured:
            possible = [wanted for _, wanted in self._recent]
        self._missed = self._refused or not min(abs(value - p) for p in possible) <= self.table.tolerance
        if device.reports_late:  # the report is a check: the lens sets out with the command
            value = self._wanted if is_new and not self._refused else math.nan
        if not math.isnan(value):
            measured = self._measured
            latency = measured.latency_s + measured.latency_frames * self._period if measured else 0.0
            command = self._commands if self._goal is None else WAY_ROUND
            self._motion.command(vergence(self.table.focus_distance(value)), now, now, latency, command)

    def _grab(self, device: FocusDevice, time_s: float) -> float:
        """Grabs the first frame that is not a leftover in the queue. Returns its time of exposure."""
        stamp = -math.inf
        for _ in range(DRIVER_QUEUE + 1):
            grabbed = device.grab()
            if grabbed is None:
                raise self._lost(device)
            stamp = grabbed
            if not time.monotonic() - OLDEST_STAMP < stamp <= time.monotonic():
                return time_s  # a camera with a clock of its own
            if stamp > time_s - self._period:
                break
        return stamp

    def _lost(self, device: FocusDevice) -> CameraLost:
        self.close()
        return CameraLost(f'{device.name}: no image; is the camera still plugged in?')

    def _start(self, device: FocusDevice) -> FocusDevice:
        try:
            near = self.table.value(self.table.range.near)
            for value in (near, self.table.way_round(near, self._wanted), self._wanted):  # it has to move
                if value is not None:
                    device.move_focus(value, self.table.tolerance)
        except InputError:
            device.close()
            raise
        self._period = 1 / device.rate if device.rate > 0 else 1 / 30
        with self._focusing:
            self._device = device
            self._follow(time.monotonic(), is_new=True)  # a command may have come meanwhile
        measured, way = self._measured, self.table.range.width
        # Nobody knows where the motor comes from.
        time.sleep(measured.until_rest(way, self._period) if measured else self._settle_time)
        return device
