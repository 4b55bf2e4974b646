"""A focal stack as a pinhole camera would have taken it, by the calibration of its camera."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack


def undistorted(stack: FocalStack, calibration: Calibration) -> tuple[FocalStack, float]:
    """The stack without distortion, black where the lens saw nothing, and the focal length of its last frame (px).

    The pixels are square and the principal point is in the middle, as `PointCloud.of_depth` takes it. Frames keep their
    focus breathing.

    Raises:
        InputError: the calibration has no focus camera, or is of images of another shape.
    """
    import cv2

    height, width = stack.images[0].shape[:2]
    images, depth, focal_length = [], stack.depth, math.nan
    for number, (image, state) in enumerate(stack):
        camera = calibration.camera_at(state.focus_distance, width, height)
        if camera is None:
            raise InputError('calibration: no focus camera in it; give one with intrinsics')
        focal_length = camera.fx
        view = np.array([[focal_length, 0, (width - 1) / 2], [0, focal_length, (height - 1) / 2], [0, 0, 1]])
        x, y = camera.projection.maps(view, (width, height), cv2.CV_32FC1)
        images.append(cv2.remap(image, x, y, cv2.INTER_LINEAR))
        if depth is not None and number == len(stack) - 1:  # the view of the truth; the nearest, not a mean of two
            depth = cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderValue=math.nan)
    return replace(stack, images=images, depth=depth), focal_length
