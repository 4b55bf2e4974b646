"""The camera of the demo: one consistent scene, photographed as commanded."""

import itertools
import math

import numpy as np
import pytest

from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

NEAR, FAR = 0.2, 2.0


@pytest.fixture(scope='module')
def camera():
    return SyntheticCamera(192, 128, seed=3, near=NEAR, far=FAR)


def sharpness(image: np.ndarray, where: np.ndarray) -> float:
    grey = image.astype(float).mean(2)
    return float(((grey[1:, 1:] - grey[:-1, :-1]) ** 2)[where[1:, 1:]].mean())


def test_a_frame_is_whole(camera):
    image, depth, state = camera.capture(0.0, 0.5)
    assert image.shape == (128, 192, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert depth.shape == (128, 192) and depth.dtype == np.float32
    assert np.isfinite(depth).all() and depth.min() > 0
    assert state.focus_distance == 0.5 and state.stamp == 0.0 and state.settled
    assert (state.range.near, state.range.far) == (NEAR, FAR)


def test_the_lens_is_plausible_and_blurs_as_its_state_says(camera):
    _, depth, state = camera.capture(0.0, FAR)
    assert 1 < state.f_number < 32
    k = state.lens.blur_scale(state.range)
    nearest = float(depth.min())
    coc = state.lens.coc_px(nearest, state.focus_distance)
    assert coc == pytest.approx(k * abs(state.range.normalise(nearest) - 0.0), rel=0.2)
    assert coc > 1


def test_what_is_in_focus_is_sharp(camera):
    _, depth, _ = camera.capture(0.0, NEAR)
    near, far = depth < np.quantile(depth, 0.08), depth > np.quantile(depth, 0.5)
    focused = {
        name: camera.capture(0.0, float(np.median(depth[where])))[0] for name, where in (('near', near), ('far', far))
    }
    assert sharpness(focused['near'], near) > 1.3 * sharpness(focused['far'], near)
    assert sharpness(focused['far'], far) > 1.3 * sharpness(focused['near'], far)


def test_focus_does_not_move_the_scene_but_time_does(camera):
    _, depth, _ = camera.capture(1.0, NEAR)
    _, refocused, _ = camera.capture(1.0, FAR)
    _, later, _ = camera.capture(3.0, FAR)
    np.testing.assert_array_equal(depth, refocused)
    assert not np.array_equal(depth, later)


@pytest.mark.slow(reason='photographs are rendered')
def test_the_scene_moves_slowly_and_comes_back(camera):
    depths = [camera.capture(t / 10, 0.5)[1] for t in range(5)]
    for one, next_ in itertools.pairwise(depths):
        changed = np.abs(1 / one - 1 / next_) > 0.2
        assert changed.mean() < 0.1
    a, b = camera.capture(0.0, 0.5)[1], camera.capture(3 * camera.PERIOD, 0.5)[1]
    np.testing.assert_allclose(a, b, rtol=1e-3)  # of its motion, three periods are whole turns


def test_focus_is_kept_within_what_the_lens_can(camera):
    assert camera.capture(0.0, 0.01)[2].focus_distance == NEAR
    assert camera.capture(0.0, math.inf)[2].focus_distance == FAR


@pytest.mark.slow(reason='photographs are rendered')
def test_a_seed_gives_the_same_camera_again():
    first, again, other = (SyntheticCamera(64, 48, seed=seed) for seed in (5, 5, 6))
    for time_s, focus in ((0.0, 0.3), (0.5, 1.0)):
        a, b, c = (camera.capture(time_s, focus) for camera in (first, again, other))
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
        assert not np.array_equal(a[1], c[1])


def test_noise_is_new_in_every_frame(camera):
    a, b = camera.capture(0.0, 0.5)[0].astype(int), camera.capture(0.0, 0.5)[0].astype(int)
    difference = np.abs(a - b)
    assert 0 < difference.mean() < 8
