"""A V4L2 camera whose controls are set, read back and tried again: a camera may refuse a value, or take another one."""

from __future__ import annotations

import math

import cv2
import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import FocusDevice, ImageSettings, within_patience

NO_CONTROL = -1.0  # what OpenCV reads where a camera has no such control
MANUAL_EXPOSURE = 1.0  # V4L2_EXPOSURE_MANUAL
EXPOSURE_UNIT = 1e-4  # s
STEP = 0.1  # relative; a camera rounds exposure, white balance and gain to its own steps


def open_capture(name: str, api: int = cv2.CAP_V4L2) -> cv2.VideoCapture:
    """The camera of a path or a number. Raises InputError where it cannot be opened."""
    capture = cv2.VideoCapture(int(name) if name.isdigit() else name, api)
    if not capture.isOpened():
        capture.release()
        raise InputError(f'{name}: cannot open the camera; is it plugged in, and may you read it (group video)?')
    return capture


class V4l2Device(FocusDevice):
    """A V4L2 camera through OpenCV, its autofocus off."""

    focus_hint = 'v4l2-ctl --list-ctrls shows the limits of focus_absolute'

    def __init__(self, name: str, capture: cv2.VideoCapture, settings: ImageSettings = ImageSettings()) -> None:
        """`name` is for messages. Raises InputError for settings or a focus that the camera does not grant."""
        self.name = name
        self._capture = capture
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._set_images(settings)
        self._set_exposure(settings)
        self._switch_autofocus_off()
        if math.isnan(self.focus):
            raise InputError(f'{name}: the camera has no focus control; v4l2-ctl --list-ctrls shows what it has')

    @classmethod
    def open(cls, name: str, settings: ImageSettings = ImageSettings(), api: int = cv2.CAP_V4L2) -> V4l2Device:
        """`name` is a path or a number. Raises InputError, also where there is no camera."""
        capture = open_capture(name, api)
        try:
            return cls(name, capture, settings)
        except BaseException:
            capture.release()
            raise

    @property
    def rate(self) -> float:
        """Images a second, as the driver says; 0 or less: unknown."""
        return self._capture.get(cv2.CAP_PROP_FPS)

    @property
    def focus(self) -> float:
        value = self._capture.get(cv2.CAP_PROP_FOCUS)
        return math.nan if value == NO_CONTROL else value

    def set_focus(self, value: float) -> bool:
        """Requests a control value. Returns False where the camera refuses; `focus` says what it has taken."""
        return self._capture.set(cv2.CAP_PROP_FOCUS, round(value)) or self.focus == round(value)

    def grab(self) -> float | None:
        """Takes the next image from the driver. Returns the driver's stamp (s), None where no image came."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._capture.grab() else None

    def retrieve(self) -> np.ndarray | None:
        """The image grabbed, (H, W, 3) uint8 RGB; None where there is none."""
        received, image = self._capture.retrieve()
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if received and image is not None and image.size else None

    def close(self) -> None:
        self._capture.release()

    def _set_images(self, settings: ImageSettings) -> None:
        capture = self._capture
        if settings.pixel_format:  # before the size: it decides which sizes there are
            code = cv2.VideoWriter.fourcc(*settings.pixel_format)
            capture.set(cv2.CAP_PROP_FOURCC, code)
            granted = int(capture.get(cv2.CAP_PROP_FOURCC))
            if granted != code:
                raise self._not_granted('pixel format', settings.pixel_format, _fourcc(granted), 'formats-ext')
        sizes = {cv2.CAP_PROP_FRAME_WIDTH: settings.width, cv2.CAP_PROP_FRAME_HEIGHT: settings.height}
        for control, pixels in sizes.items():
            if pixels:
                capture.set(control, pixels)
        given = [int(capture.get(control)) for control in sizes]
        if any(pixels and pixels != got for pixels, got in zip(sizes.values(), given)):
            requested = 'x'.join(str(pixels or 'any') for pixels in sizes.values())
            raise self._not_granted('image size', requested, 'x'.join(map(str, given)), 'formats-ext')
        if 0 < self.rate < settings.rate:
            capture.set(cv2.CAP_PROP_FPS, settings.rate)
            if 0 < self.rate < 0.99 * settings.rate:
                requested = f'{settings.rate:g} Hz at {given[0]}x{given[1]}'
                raise self._not_granted('rate', requested, f'{self.rate:g} Hz', 'formats-ext')

    def _set_exposure(self, settings: ImageSettings) -> None:
        if settings.exposure_time:
            self._require('manual exposure', cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE)
            self._require('exposure time', cv2.CAP_PROP_EXPOSURE, settings.exposure_time, EXPOSURE_UNIT, ' s')
        if settings.white_balance:
            self._require('manual white balance', cv2.CAP_PROP_AUTO_WB, 0.0)
            self._require('white balance', cv2.CAP_PROP_WB_TEMPERATURE, settings.white_balance, unit=' K')
        if settings.gain >= 0:
            self._require('gain', cv2.CAP_PROP_GAIN, settings.gain)

    def _require(self, what: str, control: int, value: float, scale: float = 1.0, unit: str = '') -> None:
        """Sets a control to `value` / `scale`. Raises InputError where the camera then has another value."""
        self._capture.set(control, round(value / scale))
        granted = self._capture.get(control) * scale
        if abs(granted - value) > max(STEP * value, 0.5 * scale):
            raise self._not_granted(what, f'{value:g}{unit}', f'{granted:g}{unit}' if granted >= 0 else 'nothing')

    def _switch_autofocus_off(self) -> None:
        def try_it() -> bool:
            if self._capture.get(cv2.CAP_PROP_AUTOFOCUS) <= 0:  # off or not available
                return True
            self._capture.set(cv2.CAP_PROP_AUTOFOCUS, 0)
            return self._capture.get(cv2.CAP_PROP_AUTOFOCUS) <= 0

        if not within_patience(try_it):
            raise InputError(f'{self.name}: autofocus cannot be switched off, so the camera sets the focus by itself')

    def _not_granted(self, what: str, requested: str, granted: str, listed: str = 'ctrls') -> InputError:
        return InputError(
            f'{self.name}: {what}: {requested} requested, {granted} granted; v4l2-ctl --list-{listed} shows what the '
            'camera has'
        )


def _fourcc(code: int) -> str:
    text = code.to_bytes(4, 'little', signed=code < 0).decode('ascii', 'replace')
    return text if text.isprintable() else hex(code)
