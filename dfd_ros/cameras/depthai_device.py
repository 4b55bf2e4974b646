"""A Luxonis OAK with autofocus, through Luxonis's library depthai 3."""

from __future__ import annotations

import contextlib
import math
from datetime import timedelta
from typing import Any

import cv2
import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.focus_device import FocusDevice, ImageSettings

TIMEOUT = timedelta(seconds=2)
RATE = 30.0  # Hz
SIZE = (640, 480)  # px
MAX_VALUE = 255


class DepthaiDevice(FocusDevice):
    """The first camera of the device that has autofocus. Values are the lens positions of depthai, 0 to 255.

    A frame reports the lens position that was set when it was exposed.
    """

    focus_hint = 'OAK cameras take 0 to 255'
    reports_late = True

    def __init__(self, device_id: str = '', settings: ImageSettings = ImageSettings()) -> None:
        """`device_id`: id, IP address or USB port; empty: any. `gain` of the settings is the ISO value. Raises
        InputError."""
        try:
            import depthai
        except ImportError:
            raise InputError('source depthai: depthai is not installed: pip install depthai') from None
        self.name = f'depthai {device_id}'.rstrip()
        self._depthai = depthai
        if (settings.exposure_time > 0) != (settings.gain > 0):
            raise InputError(f'{self.name}: exposure_time and gain (ISO) go together')
        try:
            self._device = depthai.Device(device_id) if device_id else depthai.Device()
        except RuntimeError as error:
            raise InputError(f'{self.name}: cannot open the camera ({reason(error)}); is it plugged in?') from None
        try:
            self._start(settings)
        except BaseException:
            self._device.close()
            raise

    def _start(self, settings: ImageSettings) -> None:
        depthai = self._depthai
        cameras = [camera for camera in self._device.getConnectedCameraFeatures() if camera.hasAutofocus]
        if not cameras:
            raise InputError(f'{self.name}: the device has no camera with autofocus')
        self._rate = settings.rate or RATE
        self._pipeline = depthai.Pipeline(self._device)
        camera = self._pipeline.create(depthai.node.Camera).build(cameras[0].socket)
        size = settings.width or SIZE[0], settings.height or SIZE[1]
        output = camera.requestOutput(size, depthai.ImgFrame.Type.BGR888i, fps=self._rate)
        self._frames = output.createOutputQueue(maxSize=1, blocking=False)
        self._controls = camera.inputControl.createInputQueue()
        self._frame: Any = None
        try:
            self._pipeline.start()
        except RuntimeError as error:
            raise InputError(f'{self.name}: {size[0]}x{size[1]} at {self._rate:g} Hz: {reason(error)}') from None
        control = depthai.CameraControl()
        if settings.exposure_time:
            control.setManualExposure(round(1e6 * settings.exposure_time), settings.gain)
        if settings.white_balance:
            control.setManualWhiteBalance(settings.white_balance)
        control.setManualFocus(0)  # and no autofocus
        self._controls.send(control)

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def focus(self) -> float:
        position = -1 if self._frame is None else self._frame.getLensPosition()
        return float(position) if position >= 0 else math.nan  # -1: the camera does not say

    def set_focus(self, value: float) -> bool:
        if not 0 <= round(value) <= MAX_VALUE:
            return False
        control = self._depthai.CameraControl()
        control.setManualFocus(round(value))
        try:
            self._controls.send(control)
        except RuntimeError:  # as below
            return False
        return True

    def grab(self) -> float | None:
        try:
            self._frame = self._frames.get(TIMEOUT)
        except RuntimeError:  # the queue is closed: the device is gone
            self._frame = None
        # On the host's steady clock, which is CLOCK_MONOTONIC.
        return None if self._frame is None else self._frame.getTimestamp().total_seconds()

    def retrieve(self) -> np.ndarray | None:
        return None if self._frame is None else cv2.cvtColor(self._frame.getCvFrame(), cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # as above
            self._pipeline.stop()
            self._device.close()
