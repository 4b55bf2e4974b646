"""Rays, pixels and maps of all models of distortion against OpenCV's projection, for cameras drawn at random."""

import cv2
import numpy as np
import pytest

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_distortion import EQUIDISTANT, PLUMB_BOB, RATIONAL, Projection, known_model

SIZE = 160, 120
PIXELS = np.stack(np.meshgrid(np.arange(0, SIZE[0], 3.0), np.arange(0, SIZE[1], 3.0)), -1).reshape(-1, 2)
STILL = np.zeros(3)


def camera(model, seed):
    """A camera as there are real ones: fisheye of up to 160 degrees, others of up to 90."""
    rng = np.random.default_rng(seed)
    f = rng.uniform(0.38, 1.0) if model == EQUIDISTANT else rng.uniform(0.6, 1.5)
    matrix = np.array([[f * SIZE[0], 0, 79 + rng.uniform(-5, 5)], [0, 1.01 * f * SIZE[0], 60.0], [0, 0, 1]])
    radial = rng.uniform(-0.2, 0.1), rng.uniform(-0.02, 0.05)
    return Projection(
        matrix,
        {
            PLUMB_BOB: (*radial, *rng.uniform(-2e-3, 2e-3, 2), 0.01),
            RATIONAL: (*radial, *rng.uniform(-2e-3, 2e-3, 2), 0.01, *rng.uniform(0, 0.1, 3)),
            EQUIDISTANT: tuple(rng.uniform(-0.02, 0.02, 4) / [1, 2, 4, 8]),
        }[model],
        model,
    )


def seen(camera, rays):
    """Pixels by OpenCV alone."""
    points = np.append(rays, np.ones((len(rays), 1)), 1)
    d = np.array(camera.coefficients)
    if camera.model == EQUIDISTANT:
        return cv2.fisheye.projectPoints(points[:, None], STILL, STILL, camera.matrix, d)[0].reshape(-1, 2)
    return cv2.projectPoints(points, STILL, STILL, camera.matrix, d)[0].reshape(-1, 2)


cameras = pytest.mark.parametrize('model', [PLUMB_BOB, RATIONAL, EQUIDISTANT])
draws = pytest.mark.parametrize('seed', range(8))


@cameras
@draws
def test_rays_of_pixels_are_projected_onto_them(model, seed):
    one = camera(model, seed)
    rays = one.rays(PIXELS)
    usable = np.isfinite(rays).all(1)
    assert usable.mean() > 0.95
    np.testing.assert_allclose(seen(one, rays[usable]), PIXELS[usable], atol=1e-3)
    np.testing.assert_allclose(one.pixels(rays[usable]), seen(one, rays[usable]), atol=1e-9)


@cameras
@draws
def test_maps_say_where_a_pixel_of_the_pinhole_camera_lies(model, seed):
    one = camera(model, seed)
    view = np.array([[120.0, 0, 77], [0, 118, 61], [0, 0, 1]])
    turn = cv2.Rodrigues(np.array([0.02, -0.05, 0.03]))[0]
    x, y = one.maps(view, SIZE, cv2.CV_32FC1, turn)
    rays = np.append((PIXELS - view[:2, 2]) / view[[0, 1], [0, 1]], np.ones((len(PIXELS), 1)), 1) @ turn
    columns, rows = PIXELS.astype(int).T
    expected = seen(one, rays[:, :2] / rays[:, 2:])
    np.testing.assert_allclose(np.stack([x[rows, columns], y[rows, columns]], -1), expected, atol=2e-3)


@cameras
def test_pinhole_pixels_are_those_without_distortion(model):
    one = camera(model, 3)
    rays = np.array([[0.1, -0.2], [-0.3, 0.25], [0.0, 0.0]])
    expected = rays * one.matrix[[0, 1], [0, 1]] + one.matrix[:2, 2]
    np.testing.assert_allclose(one.pinhole_pixels(seen(one, rays)), expected, atol=1e-3)


def test_a_camera_without_distortion_is_a_pinhole():
    one = Projection(np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]]))
    np.testing.assert_allclose(one.rays(np.array([[180.0, 10.0]])), [[1.0, -0.5]])
    np.testing.assert_allclose(one.pixels(np.array([[1.0, -0.5]])), [[180.0, 10.0]])


def test_pixels_that_no_ray_in_front_reaches_have_none():
    matrix = np.array([[60.0, 0, 80], [0, 60, 60], [0, 0, 1]])
    corner, middle = Projection(matrix, (0.0, 0.0, 0.0, 0.0), EQUIDISTANT).rays(np.array([[200.0, 60.0], [81.0, 60.0]]))
    assert np.isnan(corner).all() and middle == pytest.approx([np.tan(1 / 60), 0], abs=1e-6)
    # A polynomial that turns back at a radius of 0.77: nothing is imaged at 1.
    barrel = Projection(matrix, (-0.56, 0.0, 0.0, 0.0, 0.0)).rays(np.array([[140.0, 60.0], [90.0, 60.0]]))
    assert np.isnan(barrel[0]).all() and np.isfinite(barrel[1]).all()


def test_names_of_models():
    assert known_model('fisheye', 4, 'x') == known_model('equidistant', 4, 'x') == EQUIDISTANT
    assert known_model('', 5, 'x') == known_model('rational_polynomial', 5, 'x') == PLUMB_BOB
    assert known_model('plumb_bob', 8, 'x') == RATIONAL


@pytest.mark.parametrize(
    'name, count, said',
    [
        ('division', 1, "^/info: distortion model 'division' is not known; there are plumb_bob, .* and equidistant!$"),
        ('equidistant', 5, '^/info: D has 5 coefficients, must be 4 of the model equidistant$'),
        ('plumb_bob', 3, '^/info: D has 3 coefficients, must be 4, 5, 8, 12, 14 of the model plumb_bob$'),
    ],
)
def test_unknown_models_are_refused(name, count, said):
    with pytest.raises(InputError, match=said):
        known_model(name, count, '/info', '!')
