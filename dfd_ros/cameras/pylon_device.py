"""A GenICam camera with a liquid lens, such as Basler's, through pypylon."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.focus_device import FocusDevice, ImageSettings

TIMEOUT = 2000  # ms
FEATURE = 'FocalPower'


class PylonDevice(FocusDevice):
    """Values are those of a feature of the camera, by default FocalPower (dioptres of the lens, not of the object)."""

    focus_hint = 'the pylon Viewer shows its limits'

    def __init__(self, serial: str = '', settings: ImageSettings = ImageSettings(), feature: str = FEATURE) -> None:
        """`serial`: number of the camera; empty: the first. `gain` of the settings is in dB. Raises InputError."""
        try:
            from pypylon import genicam, pylon
        except ImportError:
            raise InputError('source pypylon: pypylon is not installed: pip install pypylon') from None
        self.name = f'pypylon {serial}'.rstrip()
        self._pylon, self._error = pylon, genicam.GenericException
        info = pylon.DeviceInfo()
        if serial:
            info.SetSerialNumber(serial)
        try:
            self._camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateFirstDevice(info))
            self._camera.Open()
        except self._error as error:
            raise InputError(f'{self.name}: cannot open the camera ({reason(error)})') from None
        try:
            self._start(settings, feature)
        except BaseException:
            self._camera.Close()
            raise

    def _start(self, settings: ImageSettings, feature: str) -> None:
        pylon, nodes = self._pylon, self._camera.GetNodeMap()
        wanted = {
            'Width': settings.width,
            'Height': settings.height,
            'ExposureTime': 1e6 * settings.exposure_time,
            'Gain': float(settings.gain) if settings.gain >= 0 else 0,
        }
        if settings.rate:
            wanted |= {'AcquisitionFrameRateEnable': True, 'AcquisitionFrameRate': settings.rate}
        for name, value in wanted.items():
            if not value:
                continue
            try:
                node = nodes.GetNode(name)
                node.Value = value
            except (self._error, AttributeError) as error:
                raise InputError(f'{self.name}: {name}: {value:g} is not granted ({reason(error)})') from None
        self._feature = nodes.GetNode(feature)
        if math.isnan(self.focus):
            raise InputError(f'{self.name}: the camera has no feature {feature}, so no focus to set')
        self._nodes = nodes
        self._converter = pylon.ImageFormatConverter()
        self._converter.OutputPixelFormat = pylon.PixelType_RGB8packed
        self._result: Any = None
        self._camera.StartGrabbing(pylon.GrabStrategy_LatestImageOnly)

    @property
    def rate(self) -> float:
        for name in ('ResultingFrameRate', 'ResultingFrameRateAbs'):
            try:
                return float(self._nodes.GetNode(name).Value)
            except (self._error, AttributeError):
                continue
        return 0.0

    @property
    def focus(self) -> float:
        try:
            return float(self._feature.Value)
        except (self._error, AttributeError):
            return math.nan

    def set_focus(self, value: float) -> bool:
        try:
            self._feature.Value = float(value)
        except self._error:
            return False
        return True

    def grab(self) -> float | None:
        self._result = None
        try:
            result = self._camera.RetrieveResult(TIMEOUT, self._pylon.TimeoutHandling_Return)
        except self._error:  # the camera is gone
            return None
        if not result.IsValid() or not result.GrabSucceeded():
            return None
        self._result = result
        return math.nan  # its stamps are those of a clock of its own

    def retrieve(self) -> np.ndarray | None:
        if self._result is None:
            return None
        return self._converter.Convert(self._result).GetArray()

    def close(self) -> None:
        with contextlib.suppress(self._error):  # the camera is gone
            self._camera.Close()
