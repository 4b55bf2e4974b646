"""The thin lens, against its formulas and at its edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dfd_ros.core import optics
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens, VergenceRange

focal_lengths = st.floats(1e-3, 0.2)
f_numbers = st.floats(0.9, 32)
distances = st.floats(0.02, 1e4)
anything = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def ranges(draw):
    near = draw(st.floats(0.02, 50))
    far = draw(st.one_of(st.floats(1.001, 1e3).map(lambda ratio: near * ratio), st.just(math.inf)))
    return VergenceRange(near, far)


@given(distances, distances, focal_lengths, f_numbers)
def test_coc_is_the_formula(point, focus, f, n):
    assume(focus > 1.01 * f)
    expected = (f / n) * f * abs(point - focus) / (point * (focus - f))
    assert optics.coc(point, focus, f, n) == pytest.approx(expected, rel=1e-6, abs=1e-15)


@given(distances, distances, focal_lengths, f_numbers)
def test_coc_follows_from_the_thin_lens_equation(point, focus, f, n):
    """The cone of the aperture, cut by the sensor: c = A |v_focus - v_point| / v_point, 1/v = 1/f - 1/D."""
    assume(focus > 1.1 * f and point > 1.1 * f)
    sensor, image = 1 / (1 / f - 1 / focus), 1 / (1 / f - 1 / point)
    expected = f / n * abs(sensor - image) / image
    assert optics.coc(point, focus, f, n) == pytest.approx(expected, rel=1e-5, abs=1e-12)


@given(distances, distances, focal_lengths, f_numbers)
def test_sign_says_nearer_than_the_focus(point, focus, f, n):
    assume(focus > f)
    signed = optics.coc_signed(point, focus, f, n)
    assert np.sign(signed) == np.sign(1 / point - 1 / focus)


@given(focal_lengths, f_numbers, distances)
def test_infinity_is_the_limit(f, n, distance):
    assume(distance > f)
    assert optics.coc(math.inf, distance, f, n) == pytest.approx(optics.coc(1e12, distance, f, n), rel=1e-6)
    assert optics.coc(distance, math.inf, f, n) == pytest.approx(f * f / n / distance)
    assert optics.coc(math.inf, math.inf, f, n) == 0


@pytest.mark.parametrize(
    'point, focus, f, n',
    [
        (1.0, 0.05, 0.05, 2.0),  # focus at the focal length: no image
        (1.0, 0.04, 0.05, 2.0),  # focus inside the focal length
        (0.0, 1.0, 0.05, 2.0),
        (-1.0, 1.0, 0.05, 2.0),
        (1.0, 2.0, 0.0, 2.0),
        (1.0, 2.0, 0.05, 0.0),
        (math.nan, 2.0, 0.05, 2.0),
        (1.0, math.nan, 0.05, 2.0),
        (1.0, 2.0, math.nan, 2.0),
        (1.0, 2.0, 0.05, math.nan),
    ],
)
def test_what_cannot_be_is_nan(point, focus, f, n):
    assert math.isnan(optics.coc(point, focus, f, n))
    assert math.isnan(optics.coc_signed(point, focus, f, n))
    assert math.isnan(optics.coc_px(point, focus, f, n, 1e-6))


@given(anything, anything, anything, anything, anything)
def test_nothing_raises(a, b, c, d, e):
    for value in (
        optics.vergence(a),
        optics.distance(a),
        optics.coc_signed(a, b, c, d),
        optics.coc(a, b, c, d),
        optics.coc_px(a, b, c, d, e),
        optics.magnification(a, b),
    ):
        assert type(value) is float


@given(st.lists(distances, min_size=1, max_size=5), distances, focal_lengths, f_numbers)
def test_floats_arrays_and_tensors_agree(points, focus, f, n):
    plain = [optics.coc_px(p, focus, f, n, 2e-6) for p in points]
    array = optics.coc_px(np.array(points), focus, f, n, 2e-6)
    tensor = optics.coc_px(torch.tensor(points, dtype=torch.float64), focus, f, n, 2e-6)
    np.testing.assert_allclose(array, plain)
    np.testing.assert_allclose(tensor.numpy(), plain)


@pytest.mark.parametrize(
    'function',
    [
        optics.vergence,
        optics.distance,
        lambda x: optics.coc_signed(x, 2.0, 0.05, 2.0),
        lambda x: optics.coc_px(x, 2.0, 0.05, 2.0, 1e-6),
        lambda x: optics.magnification(x, 0.05),
        lambda x: optics.coc(1.0, x, 0.05, 2.0),
        VergenceRange(0.5, 4).normalise,
        VergenceRange(0.5, 4).denormalise,
    ],
)
def test_kind_and_precision_are_kept(function):
    assert type(function(1.5)) is float
    assert type(function(2)) is float
    assert function(np.float32(1.5)).dtype == np.float32
    for dtype in (np.float32, np.float64):
        assert function(np.array([1.5, 0.0], dtype)).dtype == dtype
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert function(torch.tensor([1.5, 0.0], dtype=dtype)).dtype == dtype
    np.testing.assert_allclose(function(torch.tensor([1, 2])), function(np.array([1, 2])), rtol=1e-5)


@given(distances)
def test_vergence_and_back(d):
    assert optics.distance(optics.vergence(d)) == pytest.approx(d)


def test_vergence_at_its_edges():
    assert optics.vergence(math.inf) == 0
    assert optics.distance(0.0) == math.inf
    for bad in (0.0, -1.0, math.nan):
        assert math.isnan(optics.vergence(bad))
    assert math.isnan(optics.distance(-0.1))
    assert math.isnan(optics.distance(math.nan))


@given(focal_lengths, st.floats(1.1, 1e6))
def test_magnification_is_image_distance_over_focal_length(f, ratio):
    focus = f * ratio
    assert optics.magnification(focus, f) == pytest.approx(1 / (1 / f - 1 / focus) / f, rel=1e-6)
    assert optics.magnification(math.inf, f) == 1
    assert math.isnan(optics.magnification(f, f))


@given(ranges(), st.floats(0, 1))
def test_range_there_and_back(range_, u):
    assert range_.normalise(range_.denormalise(u)) == pytest.approx(u, abs=1e-6)
    assert range_.normalise(range_.near) == pytest.approx(1)
    assert range_.normalise(range_.far) == pytest.approx(0)


def test_beyond_infinity_is_infinity():
    range_ = VergenceRange(0.5, math.inf)
    assert range_.denormalise(0.0) == math.inf
    assert range_.denormalise(-0.2) == math.inf
    assert math.isnan(range_.denormalise(math.nan))
    np.testing.assert_array_equal(range_.denormalise(np.array([-1.0, np.nan])), [math.inf, math.nan])


@pytest.mark.parametrize(
    'near, far', [(0, 1), (-1, 1), (2, 1), (1, 1), (math.nan, 1), (1, math.nan), (math.inf, math.inf), (1e-320, 1)]
)
def test_impossible_range_is_refused_in_one_line(near, far):
    with pytest.raises(InputError, match='^vergence range: near .* far .*$'):
        VergenceRange(near, far)


@given(ranges(), st.floats(0, 1), st.floats(0, 1), f_numbers)
def test_blur_scale_gives_the_coc_to_first_order(range_, u, v, n):
    """CoC = k |u - v| as f / F goes to 0."""
    f, pitch = range_.near * 1e-3, 2e-6
    lens = Lens(f, n, pitch)
    exact = lens.coc_px(range_.denormalise(u), range_.denormalise(v))
    assert exact == pytest.approx(lens.blur_scale(range_) * abs(u - v), rel=2e-3, abs=1e-6)


@pytest.mark.parametrize(
    'lens',
    [
        Lens(),
        Lens(0.05, math.nan, 1e-6),
        Lens(math.nan, 2.0, 1e-6),
        Lens(0.05, 2.0, math.nan),
        Lens(0.05, 0.0, 1e-6),
        Lens(0.05, 2.0, 0.0),
    ],
)
def test_unknown_lens_has_no_blur_scale(lens):
    assert math.isnan(lens.blur_scale(VergenceRange(0.5, 2)))
    assert math.isnan(lens.coc_px(1.0, 2.0))


def test_blur_scale_never_raises():
    for lens in (Lens(1e160, 2.0, 1e-6), Lens(0.05, math.inf, 1e-6), Lens(0.05, 2.0, math.inf)):
        assert math.isnan(lens.blur_scale(VergenceRange(0.5, 2)))  # networks take its logarithm


@given(st.floats(0.1, 4))
def test_scaled_lens_sees_scaled_blur(scale):
    lens = Lens(0.05, 2.0, 4e-6)
    assert lens.scaled(scale).coc_px(1.0, 2.0) == pytest.approx(scale * lens.coc_px(1.0, 2.0))
    range_ = VergenceRange(0.5, 2)
    assert lens.scaled(scale).blur_scale(range_) == pytest.approx(scale * lens.blur_scale(range_))
