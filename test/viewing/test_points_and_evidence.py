"""What the live page computes: points in space, the pixel that a ray meets, sharpness, and the evidence of a pixel."""

import math

import cv2
import numpy as np
import pytest

from dfd_ros.core import laplace
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.viewing import point_cloud_of_depth
from dfd_ros.viewing.evidence_curve import evidence_curve
from dfd_ros.viewing.sharpness_history import FOCI, SharpnessHistory
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

CAMERA = Pinhole(100.0, 110.0, 31.5, 23.5)
RANGE = VergenceRange(0.25, 1.0)


def test_points_stand_where_a_pinhole_sees_them():
    depth = np.full((48, 64), np.nan, np.float32)
    depth[10, 20], depth[11, 21], depth[12, 22], depth[13, 23] = 0.5, np.inf, -1.0, 2000.0
    points, pixels = point_cloud_of_depth.points_of(depth, CAMERA, 1)
    assert pixels.tolist() == [[20, 10]]
    np.testing.assert_allclose(points, [[0.5 * (20 - 31.5) / 100, 0.5 * (10 - 23.5) / 110, 0.5]], rtol=1e-6)


@pytest.mark.parametrize('step', [1, 2, 3, 5])
def test_decimated_points_are_a_subset(step):
    depth = np.random.default_rng(0).uniform(0.3, 2, (48, 64)).astype(np.float32)
    every, of_every = point_cloud_of_depth.points_of(depth, CAMERA, 1)
    points, pixels = point_cloud_of_depth.points_of(depth, CAMERA, step)
    place = {tuple(pixel): point for pixel, point in zip(of_every.tolist(), every.tolist())}
    assert 0 < len(points) <= len(every) / step**2 * 1.3
    for point, pixel in zip(points.tolist(), pixels.tolist()):
        assert place[tuple(pixel)] == point


def test_steps_keep_the_number_of_points():
    assert point_cloud_of_depth.step_of(640 * 480, 20_000) == 4
    assert point_cloud_of_depth.step_of(100, 20_000) == 1


def test_a_ray_meets_the_nearest_point():
    points = np.array([[0, 0, 1], [0, 0, 2], [0.5, 0, 1]], np.float32)
    assert point_cloud_of_depth.met_by(np.zeros(3), np.array([0, 0, 3.0]), points) == 0
    assert point_cloud_of_depth.met_by(np.array([0, 0, 3.0]), np.array([0, 0, -1.0]), points) == 1
    assert point_cloud_of_depth.met_by(np.zeros(3), np.array([0.5, 0.001, 1.0]), points) == 2
    assert point_cloud_of_depth.met_by(np.zeros(3), np.array([0, 1.0, 0]), points) is None
    assert point_cloud_of_depth.met_by(np.zeros(3), np.array([0, 0, -1.0]), points) is None
    assert point_cloud_of_depth.met_by(np.zeros(3), np.array([0, 0, 1.0]), points[:0]) is None


def test_the_pinhole_of_a_lens():
    known = LensState(1.0, 4e-3, 2.0, 8e-6, magnification=1.02)
    assert Pinhole.of_lens(48, 64, known) == pytest.approx((510.0, 510.0, 31.5, 23.5, True))
    unknown = Pinhole.of_lens(48, 64, LensState(1.0))
    assert not unknown.is_known and 2 * math.atan(32 / unknown.fx) == pytest.approx(math.radians(60))


def test_shown_depth_is_confident():
    depth, confidence = np.ones((2, 2), np.float32), np.array([[0.1, 0.5], [0.9, 0.3]], np.float32)
    frame = ViewedFrame(np.zeros((2, 2, 3), np.uint8), CAMERA, depth=depth, confidence=confidence, threshold=0.4)
    np.testing.assert_array_equal(np.isnan(frame.shown_depth), [[True, False], [False, True]])


def blurred(sigma):
    texture = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    return cv2.GaussianBlur(texture, (0, 0), sigma) if sigma else texture


def test_sharpness_peaks_at_the_sharpest_focus():
    history = SharpnessHistory()
    for distance, sigma in ((1.0, 3.0), (0.5, 0.0), (0.25, 2.0), (1.0, 4.0)):
        history.push(blurred(sigma), distance)
    foci, sharpness = history.at(80, 60)
    np.testing.assert_allclose(foci, [1, 2, 4])  # the newest of each
    assert sharpness.argmax() == 1 and sharpness[1] > 5 * max(sharpness[0], sharpness[2])
    assert [len(part) for part in history.at(0, 119)] == [3, 3]
    history.push(blurred(0)[:100], 2.0)
    assert len(history.at(0, 0)[0]) == 1, 'another size is another camera'


def test_the_history_is_bounded():
    history = SharpnessHistory()
    history.push(blurred(0), math.nan)
    history.push(blurred(0), math.inf)
    for i in range(3 * FOCI):
        history.push(blurred(0), 1 / (0.5 + 0.1 * i))
    assert len(history.at(10, 10)[0]) == FOCI


def test_evidence_has_its_peaks_at_focus_and_estimate():
    foci, sharpness = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 4.0, 2.0, 1.0])
    curve = evidence_curve(foci, sharpness, RANGE, 0.4, 0.9)
    assert (np.diff(curve.vergence) > 0).all() and curve.vergence[0] == 1 and curve.vergence[-1] == 4
    assert curve.vergence[curve.sharpness.argmax()] == 2 and curve.sharpness.max() == 1
    assert curve.vergence[curve.estimate.argmax()] == pytest.approx(2.5) and curve.estimate.max() == pytest.approx(1)
    # Laplace: nine tenths of it within 0.05 of the range.
    inside = np.abs(curve.vergence - 2.5) < 0.05 * RANGE.width
    assert curve.estimate[~inside].max() <= math.exp(-0.05 / laplace.scale_of(0.9)) + 1e-6


def test_evidence_of_nothing():
    nothing = np.zeros(0)
    curve = evidence_curve(nothing, nothing, VergenceRange(0.5, math.inf), math.nan, 0.0)
    assert not curve.sharpness.any() and not curve.estimate.any() and np.isfinite(curve.vergence).all()
    at_infinity = evidence_curve(nothing, nothing, VergenceRange(0.5, math.inf), math.inf, 0.5)
    assert at_infinity.vergence[at_infinity.estimate.argmax()] == 0
    not_confident = evidence_curve(nothing, nothing, RANGE, 0.5, 0.0)
    np.testing.assert_array_equal(not_confident.estimate, 1)


@pytest.mark.parametrize('scale', [0.01, 0.05, 0.4])
def test_confidence_and_scale_say_the_same(scale):
    confidence = 1 - math.exp(-laplace.CONFIDENT_ERROR / scale)
    assert laplace.scale_of(confidence) == pytest.approx(scale)
