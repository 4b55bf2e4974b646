"""A stack through a lens with distortion becomes that of a pinhole camera."""

import cv2
import numpy as np
import pytest

from dfd_ros.calibration.calibration_file import Calibration, CameraModel
from dfd_ros.calibration.undistorted_stack import undistorted
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState

WIDTH, HEIGHT = 160, 120
STATES = [LensState(2.0), LensState(0.5)]


def pattern(rays):
    """(..., 3) uint8 seen along rays, x/z and y/z."""
    waves = [np.sin(9 * rays[..., 0] + k) + np.sin(11 * rays[..., 1] + 2 * k) for k in range(3)]
    return (120 + 50 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize(
    'model, d', [('plumb_bob', (-0.2, 0.05, 0.001, -0.002, 0.0)), ('equidistant', (0.03, -0.01, 0.0, 0.0))]
)
def test_straight_lines_become_straight(model, d):
    camera = CameraModel(WIDTH, HEIGHT, 130.0, 133.0, 82.0, 57.0, d, distortion_model=model)
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).reshape(-1, 1, 2).astype(float)
    undistort = cv2.fisheye.undistortPoints if model == 'equidistant' else cv2.undistortPoints
    raw = undistort(pixels, camera.matrix, np.array(d)).reshape(HEIGHT, WIDTH, 2)
    depth = np.hypot(*np.moveaxis(raw, -1, 0)).astype(np.float32) + 1
    stack = FocalStack([pattern(raw)] * 2, STATES, depth)
    found, focal_length = undistorted(stack, Calibration(focus_camera=camera))
    rays = (pixels.reshape(HEIGHT, WIDTH, 2) - [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]) / focal_length
    assert focal_length == 130
    seen = found.images[1].min(-1) > 0
    assert seen.mean() > 0.9
    assert np.abs(found.images[1].astype(float) - pattern(rays))[seen].mean() < 2
    assert np.abs(stack.images[1].astype(float) - pattern(rays))[seen].mean() > 8  # what it is for
    known = np.isfinite(found.depth)
    assert (known == seen).mean() > 0.98  # but for pixels at the border
    np.testing.assert_allclose(found.depth[known], (np.hypot(*np.moveaxis(rays, -1, 0)) + 1)[known], atol=0.01)


def test_calibrations_that_do_not_fit():
    stack = FocalStack([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2, STATES)
    with pytest.raises(InputError, match='no focus camera in it'):
        undistorted(stack, Calibration())
    portrait = CameraModel(HEIGHT, WIDTH, 130.0, 130.0, 60.0, 80.0)
    with pytest.raises(InputError, match='for images of 120x160, these have 160x120'):
        undistorted(stack, Calibration(focus_camera=portrait))
