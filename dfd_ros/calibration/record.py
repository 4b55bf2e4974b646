"""Records a sweep by control value from a V4L2 camera, for the calibration of its focus motor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from dfd_ros.calibration.board import opencv
from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.core.errors import InputError

DRIVER_QUEUE = 4  # frames that a driver may hold from before the motor stopped


def open_camera(device: str, width: int = 0, height: int = 0):
    """A V4L2 device (path or number) as OpenCV's capture. Raises `InputError` if it cannot be opened."""
    cv2 = opencv()
    capture = cv2.VideoCapture(int(device) if device.isdigit() else device, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise InputError(f'{device}: cannot open the camera; is it plugged in, and may you read it (group video)?')
    for name, value in ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height)):
        if value:
            capture.set(name, value)
    return capture


def record_sweep(
    capture, values: Sequence[float], *, distance: float = math.nan, settle_time: float = 0.5, name: str = 'sweep'
) -> Sweep:
    """An image at each control value of the focus motor.

    Args:
        capture: OpenCV's VideoCapture.
        distance: m, of the target; NaN = unknown.
        settle_time: s, time until the motor is at rest.

    Raises:
        InputError: the camera has no controllable focus motor, or gives no image.
    """
    cv2 = opencv()
    capture.set(cv2.CAP_PROP_AUTOFOCUS, 0)
    images = []
    with tqdm(values, desc='sweep', unit='image') as progress:
        for value in progress:
            if not capture.set(cv2.CAP_PROP_FOCUS, float(value)):
                raise InputError(
                    f'{name}: the camera rejects the focus value {value:g}; v4l2-ctl --list-ctrls '
                    'shows the limits of focus_absolute'
                )
            time.sleep(settle_time)
            for _ in range(DRIVER_QUEUE + 1):
                received, image = capture.read()
                if not received:
                    raise InputError(f'{name}: the camera gives no image')
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return Sweep(name, np.asarray(values, float), images, distance)
