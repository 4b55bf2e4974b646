"""Records a sweep by value from a camera with a focus motor, for the calibration of that motor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import FocusDevice

DRIVER_QUEUE = 4  # frames that a driver may hold from before the motor stopped
TOLERANCE = 0.05  # of the range of values: a motor rounds a value to its own steps, whole numbers by half a step


def record_sweep(
    device: FocusDevice, values: Sequence[float] | np.ndarray, *, distance: float = math.nan, settle_time: float = 0.5
) -> Sweep:
    """An image at each of `values` of the focus motor.

    The values of the result are those that the motor had: it rounds to its own steps. Values that it rounds to one
    step give one image.

    Args:
        distance: m, of the target; NaN = unknown.
        settle_time: s, time until the motor is at rest.

    Raises:
        InputError: the motor does not take a value, or the camera gives no image.
    """
    tolerance = TOLERANCE * float(np.ptp(values))
    if np.array_equal(values, np.round(values)):
        tolerance = max(tolerance, 0.5)
    found: dict[float, np.ndarray] = {}
    with tqdm(values, desc='sweep', unit='image') as progress:
        for value in progress:
            device.move_focus(value, tolerance)
            time.sleep(settle_time)
            image = _image(device)
            stands_at = device.focus
            if abs(stands_at - value) > tolerance:
                raise InputError(f'{device.name}: the focus has left the value {value:g} for {stands_at:g}')
            found.setdefault(stands_at, image)
    order = sorted(found)
    falling = bool(values[0] > values[-1])
    return Sweep(device.name, np.array(order, float), [found[value] for value in order], distance, falling)


def _image(device: FocusDevice) -> np.ndarray:
    for left in reversed(range(DRIVER_QUEUE + 1)):
        image = device.retrieve() if device.grab() is not None else None
        if image is None:
            break
        if not left:
            return image
    raise InputError(f'{device.name}: the camera gives no image')
