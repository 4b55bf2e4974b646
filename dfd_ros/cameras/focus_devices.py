"""The cameras with a focus motor, by the name of the source."""

from __future__ import annotations

from dfd_ros.core.focus_device import DEVICES, FocusDevice, ImageSettings


def open_focus_device(source: str, name: str, images: ImageSettings = ImageSettings()) -> FocusDevice:
    """The camera `name` of one of `DEVICES`; empty: the first, of V4L2 /dev/video0. Raises InputError."""
    assert source in DEVICES, source
    if source == 'depthai':
        from dfd_ros.cameras.depthai_device import DepthaiDevice

        return DepthaiDevice(name, images)
    if source == 'picamera2':
        from dfd_ros.cameras.picamera2_device import Picamera2Device

        return Picamera2Device(name, images)
    if source == 'pypylon':
        from dfd_ros.cameras.pylon_device import PylonDevice

        return PylonDevice(name, images)
    from dfd_ros.core.v4l2_device import V4l2Device

    return V4l2Device.open(name or '/dev/video0', images)
