"""LensState and CameraInfo messages to and from the library's own types."""

from __future__ import annotations

import copy
import math

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_distortion import PINHOLE_COUNTS, PLUMB_BOB, known_model
from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros.synchronisation import NANOSECONDS, nanoseconds

MAX_DISTORTION = 1e4


def to_message(state: LensState, header: Header, command_id: int = 0) -> LensStateMessage:
    """The message of a lens state; `command_id` is that of the focus command it answers, 0 for none."""
    return LensStateMessage(
        header=header,
        focus_distance=state.focus_distance,
        focal_length=state.focal_length,
        f_number=state.f_number,
        pixel_pitch=state.pixel_pitch,
        magnification=state.magnification,
        near_distance=state.near,
        far_distance=state.far,
        settled=state.settled,
        command_id=command_id,
    )


def from_message(message: LensStateMessage, topic: str = 'lens_state') -> LensState:
    """The lens state of a message. Zero and negative values count as unknown (NaN).

    Raises InputError, one line that names `topic`, if the focus distance is unknown or impossible: without it the
    image says nothing about depth.
    """
    return LensState.of_message(message, nanoseconds(message.header.stamp) / NANOSECONDS, topic)


def impossible_stamp(topic: str, stamp: Time) -> str:
    """One line about a stamp that no clock gives."""
    return f'{topic}: dropped, the stamp is {stamp.sec} s and {stamp.nanosec} ns'


def check_camera_info(message: CameraInfo, topic: str) -> None:
    """Raises InputError, one line that names `topic`, for values that no camera has. K = 0 (not calibrated) passes."""
    d, k, p = (np.asarray(values, float) for values in (message.d, message.k, message.p))
    for name, values in (('D', d), ('K', k), ('P', p), ('R', np.asarray(message.r, float))):
        if not np.isfinite(values).all():
            raise InputError(f'{topic}: {name} has values that are not finite')
    if len(d) not in (0, *PINHOLE_COUNTS):
        counts = ', '.join(map(str, (0, *PINHOLE_COUNTS)))
        raise InputError(f'{topic}: D has {len(d)} coefficients; it must have one of {counts}')
    if (abs(d) > MAX_DISTORTION).any():
        raise InputError(f'{topic}: D has a coefficient of {abs(d).max():.3g}, which no lens has')
    if k.any() and not (k[0] > 0 and k[4] > 0):
        raise InputError(f'{topic}: focal lengths of K are {k[0]:.4g} and {k[4]:.4g} px; they must be positive')


def camera_model(message: CameraInfo, focus_distance: float = math.nan) -> CameraModel:
    """What a calibration says of the raw images, such as that of the package camera_calibration.

    Raises InputError, one line, for what is none, or what the calibration file has no place for.
    """
    name = 'camera_info'
    check_camera_info(message, name)
    if not message.width or not message.height:
        raise InputError(f'{name}: the image size is {message.width}x{message.height}')
    if not any(message.k):
        raise InputError(f'{name}: K is 0, which is not calibrated')
    distortion = tuple(message.d) or (0.0,) * 5
    model = known_model(message.distortion_model if message.d else '', len(distortion), name)
    fx, skew, cx, zero, fy, cy, *last = message.k
    if skew or zero or last != [0, 0, 1]:
        raise InputError(f'{name}: K is not [fx, 0, cx, 0, fy, cy, 0, 0, 1]')
    if not (0 <= cx <= message.width and 0 <= cy <= message.height):
        raise InputError(f'{name}: the principal point ({cx:.4g}, {cy:.4g}) is outside the image')
    camera = CameraModel(
        message.width, message.height, fx, fy, cx, cy, distortion, focus_distance, distortion_model=model
    )
    camera.check(name)
    return camera


def size_mismatch(info: CameraInfo | None, shape: tuple[int, int], topic: str) -> str:
    """One line where a calibration is of other images than those of (height, width) pixels; empty if it fits, if its
    size is 0, which means unknown, or if there is none."""
    if info is None or (info.height, info.width) in (shape, (0, 0)):
        return ''
    return (
        f'{topic}: of {info.width}x{info.height} pixels, but the images have {shape[1]}x{shape[0]}; the lens state '
        'gives the intrinsics instead, without distortion'
    )


def camera_info_of_image(
    info: CameraInfo | None, state: LensState, shape: tuple[int, int], header: Header
) -> CameraInfo:
    """The camera's own calibration for an image of (height, width) pixels; that of the lens state if there is none."""
    height, width = shape
    if info is None:
        return camera_info(state, width, height, header)
    fitted = copy.copy(info)
    fitted.header, fitted.width, fitted.height = header, width, height
    return fitted


def resized_camera_info(info: CameraInfo, width: int, height: int) -> CameraInfo:
    """That of the same images in another size, of the same shape."""
    sx, sy = width / info.width, height / info.height
    # Pixel centres are at whole numbers, and the middle of the image stays the middle.
    scale = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    k, p = np.reshape(info.k, (3, 3)), np.reshape(info.p, (3, 4))
    return CameraInfo(
        header=info.header,
        width=width,
        height=height,
        distortion_model=info.distortion_model,
        d=info.d,
        k=(scale @ k if k.any() else k).reshape(-1).tolist(),
        r=info.r,
        p=(scale @ p if p.any() else p).reshape(-1).tolist(),
    )


def camera_info(state: LensState, width: int, height: int, header: Header) -> CameraInfo:
    """Intrinsics of an undistorted image with its principal point in the middle.

    The focal length in pixels is that of this focus: f / pixel pitch, times the magnification where it is
    known (focus breathing). If the lens is unknown K is zero, which means "not calibrated" in ROS.
    """
    info = CameraInfo(header=header, width=width, height=height)
    fx = state.focal_length_px
    if math.isnan(fx):
        return info
    cx, cy = (width - 1) / 2, (height - 1) / 2
    info.distortion_model = PLUMB_BOB
    info.d = [0.0] * 5
    info.k = [fx, 0.0, cx, 0.0, fx, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [fx, 0.0, cx, 0.0, 0.0, fx, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def calibrated_camera_info(camera: CameraModel, header: Header) -> CameraInfo:
    """Intrinsics of a calibrated camera for its raw images: with distortion, not rectified."""
    info = CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=[float(d) for d in camera.distortion],
    )
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    info.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
