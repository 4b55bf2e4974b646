"""A Raspberry Pi camera with a focus motor, through picamera2 of Raspberry Pi OS."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.focus_device import FocusDevice, ImageSettings

TIMEOUT = 2.0  # s
RATE = 30.0  # Hz
SIZE = (640, 480)  # px
MANUAL = 0  # libcamera's AfModeManual


class Picamera2Device(FocusDevice):
    """Values are dioptres, as libcamera takes them in LensPosition.

    The metadata of a frame report the position that was set, ahead of the picture: `dfd calibrate latency` measures by
    how much.
    """

    focus_hint = 'camera_controls["LensPosition"] of picamera2 shows the limits'
    reports_late = True

    def __init__(self, camera_id: str = '', settings: ImageSettings = ImageSettings()) -> None:
        """`camera_id`: number of the camera, as `rpicam-hello --list-cameras` shows; empty: 0. `gain` of the settings
        is AnalogueGain. Raises InputError."""
        try:
            from picamera2 import Picamera2
        except ImportError:
            raise InputError(
                'source picamera2: picamera2 is not installed: sudo apt install python3-picamera2 on Raspberry Pi OS'
            ) from None
        self.name = f'picamera2 {camera_id or 0}'
        try:
            self._camera = Picamera2(int(camera_id or 0))
        except (RuntimeError, IndexError, ValueError) as error:
            raise InputError(
                f'{self.name}: cannot open the camera ({reason(error)}); rpicam-hello --list-cameras shows all'
            ) from None
        try:
            self._start(settings)
        except BaseException:
            self._camera.close()
            raise

    def _start(self, settings: ImageSettings) -> None:
        limits = self._camera.camera_controls.get('LensPosition')
        if limits is None:
            raise InputError(f'{self.name}: the camera has no focus motor (no control LensPosition)')
        self.dioptre_limits = float(limits[0]), float(limits[1])
        self._rate = settings.rate or RATE
        controls: dict[str, Any] = {'AfMode': MANUAL, 'LensPosition': self.dioptre_limits[0], 'FrameRate': self._rate}
        if settings.exposure_time:
            controls |= {'AeEnable': False, 'ExposureTime': round(1e6 * settings.exposure_time)}
        if settings.gain > 0:
            controls['AnalogueGain'] = float(settings.gain)
        if settings.white_balance:
            controls |= {'AwbEnable': False, 'ColourTemperature': settings.white_balance}
        if unknown := [name for name in controls if name not in self._camera.camera_controls]:
            raise InputError(f'{self.name}: the camera has no control {unknown[0]}')
        size = settings.width or SIZE[0], settings.height or SIZE[1]
        # picamera2 names formats from the last byte to the first: BGR888 has red first.
        configuration = self._camera.create_video_configuration({'size': size, 'format': 'BGR888'}, controls=controls)
        self._camera.configure(configuration)
        self._camera.start()
        self._focus, self._image = math.nan, None

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def focus(self) -> float:
        return self._focus

    def set_focus(self, value: float) -> bool:
        self._camera.set_controls({'LensPosition': float(value)})
        return True

    def grab(self) -> float | None:
        try:
            request = self._camera.wait(self._camera.capture_request(wait=False), timeout=TIMEOUT)
        except (TimeoutError, RuntimeError):
            self._image = None
            return None
        try:
            metadata = request.get_metadata()
            self._image = request.make_array('main').copy()
        finally:
            request.release()
        self._focus = float(metadata.get('LensPosition', math.nan))
        # Nanoseconds of CLOCK_BOOTTIME, which is CLOCK_MONOTONIC where the machine does not sleep.
        return metadata.get('SensorTimestamp', math.nan) * 1e-9

    def retrieve(self) -> np.ndarray | None:
        return self._image

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the camera is gone
            self._camera.close()
