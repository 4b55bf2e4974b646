"""The steps of dfd calibrate that need intrinsics, with a focus camera that is a fisheye: corners by projection."""

import cv2
import numpy as np
import pytest

from dfd_ros.calibration.board import View
from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.calibration.extrinsics import calibrate_extrinsics
from dfd_ros.core.geometry import matrix_from_rpy, rigid_transform

FISHEYE = CameraModel(640, 480, 290.0, 291.0, 322.0, 238.0, (-0.01, 0.04, -0.03, 0.007), distortion_model='equidistant')
RGBD = CameraModel(640, 480, 520.0, 521.0, 318.0, 242.0, (0.05, -0.08, -0.001, 0.0005, 0.0))
POSE = rigid_transform(matrix_from_rpy(0.02, -0.05, 0.01), (0.06, -0.004, 0.01))
"""RGB-D camera to focus camera."""
POINTS = np.stack([*np.meshgrid(np.arange(9) * 0.03, np.arange(6) * 0.03)], -1).reshape(-1, 2)
POINTS = np.append(POINTS, np.zeros((len(POINTS), 1)), 1).astype(np.float32)


def view(camera, name, board, rng):
    """The board through OpenCV's own projection, found to a tenth of a pixel."""
    points = (POINTS @ board[:3, :3].T + board[:3, 3]).astype(np.float64)
    still, d = np.zeros(3), np.array(camera.distortion)
    project = cv2.fisheye.projectPoints if camera is FISHEYE else cv2.projectPoints
    pixels = project(points[:, None], still, still, camera.matrix, d)[0].reshape(-1, 2)
    corners = (pixels + rng.normal(0, 0.1, pixels.shape)).astype(np.float32)
    return View(name, np.arange(len(POINTS)), corners, POINTS)


def test_extrinsics_of_a_fisheye():
    rng = np.random.default_rng(0)
    views = {FISHEYE: [], RGBD: []}
    for number in range(8):
        tilt = matrix_from_rpy(*rng.uniform(-0.5, 0.5, 2), rng.uniform(-1, 1))
        board = rigid_transform(tilt, (*rng.uniform(-0.2, 0.05, 2), rng.uniform(0.45, 0.7)))
        views[RGBD].append(view(RGBD, f'{number}', board, rng))
        views[FISHEYE].append(view(FISHEYE, f'{number}', POSE @ board, rng))
    found = calibrate_extrinsics(views[FISHEYE], FISHEYE, views[RGBD], RGBD, 'parent', 'child').extrinsics
    np.testing.assert_allclose(found.translation, POSE[:3, 3], atol=5e-4)
    assert found.residual_px == pytest.approx(0.14, abs=0.06)
