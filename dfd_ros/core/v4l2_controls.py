"""Controls of a V4L2 device that another program may be streaming from: VIDIOC_QUERYCTRL, G_CTRL and S_CTRL.

The kernel lets every process that has the device open set its controls; only streaming belongs to one. OpenCV, which
`v4l2_device` uses, cannot open such a device. Numbers and structures: linux/videodev2.h and linux/v4l2-controls.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from dfd_ros.core.errors import InputError

CONTROLS = {'focus_absolute': 0x009A090A, 'focus_auto': 0x009A090C}
"""focus_auto is what kernels since 5.10 call focus_automatic_continuous."""

_CONTROL = struct.Struct('=Ii')  # v4l2_control: id, value
_QUERY = struct.Struct('=II32siiiiI8x')  # v4l2_queryctrl: id, type, name, minimum, maximum, step, default, flags
_DISABLED, _READ_ONLY = 0x1, 0x4


def _read_write(number: int, size: int) -> int:
    """_IOWR('V', number, size bytes)."""
    return 3 << 30 | size << 16 | ord('V') << 8 | number


GET = _read_write(27, _CONTROL.size)
SET = _read_write(28, _CONTROL.size)
QUERY = _read_write(36, _QUERY.size)


class DeviceLost(OSError):
    """The device is no longer there."""


@dataclass(frozen=True)
class ControlLimits:
    """What a control takes."""

    minimum: int
    maximum: int
    step: int
    read_only: bool


class V4l2Controls:
    """The controls of an open device."""

    def __init__(self, device: str) -> None:
        """`device`: a path, or the number of /dev/videoN. Raises InputError where it cannot be opened."""
        self.device = f'/dev/video{device}' if device.isdigit() else device
        try:
            self._file = os.open(self.device, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            hint = 'is it plugged in, and may you use it (group video)?'
            raise InputError(f'{self.device}: cannot open the device ({error.strerror}); {hint}') from None

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def limits(self, name: str) -> ControlLimits | None:
        """None: the device has no such control."""
        try:
            answer = self._ask(QUERY, _QUERY, CONTROLS[name], 0, b'', 0, 0, 0, 0, 0)
        except InputError:
            return None
        _, _, _, minimum, maximum, step, _, flags = answer
        if flags & _DISABLED:
            return None
        return ControlLimits(minimum, maximum, step, bool(flags & _READ_ONLY))

    def get(self, name: str) -> int:
        """Raises InputError where the device does not say, DeviceLost where it has gone."""
        return self._ask(GET, _CONTROL, CONTROLS[name], 0)[1]

    def set(self, name: str, value: int) -> None:
        """Raises as `get`, with the reason of the driver."""
        self._ask(SET, _CONTROL, CONTROLS[name], value, what=f'{name} = {value}')

    def _ask(self, request: int, layout: struct.Struct, *values: int | bytes, what: str = '') -> tuple:
        buffer = bytearray(layout.pack(*values))
        try:
            fcntl.ioctl(self._file, request, buffer, True)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.EBADF, errno.EIO):
                raise DeviceLost(error.errno, f'{self.device}: the device has gone ({error.strerror})') from None
            raise InputError(f'{self.device}: {what or "control"} is refused ({error.strerror})') from None
        return layout.unpack(buffer)
