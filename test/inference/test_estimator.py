"""The estimator, with networks that are simple enough to know what must come out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import dfd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sharpest_focus import SharpestFocus

import dfd_ros
from dfd_ros import networks
from dfd_ros.core import provenance, sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, VergenceRange, vergence
from dfd_ros.inference.backends import chosen_precision
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.evidence import MAX_REST, NO_ANSWER, NO_RESPONSE, ONE_FOCUS
from dfd_ros.inference.onnx_export import export_onnx
from dfd_ros.inference.swept_range import SweptRange
from dfd_ros.networks import Network, Prediction

RANGE = VergenceRange(0.5, 4.0)
HEIGHT, WIDTH = 96, 128


class Probe(Network):
    """Says what it was given: u = v, a CoC of 3 px, and in its state how many frames there have been."""

    def forward(self, image, focus, blur_scale, *state):
        self.size = tuple(image.shape[2:])
        self.blur_scale = float(blur_scale)
        like = torch.ones_like(image[:, :1])
        count = state[0] + 1 if state else like[:, :, ::2, ::2]
        self.count = float(count.max())
        return Prediction(like * focus, like * 0 - 3.0, like * -3.0), count


def textured(seed=0, height=HEIGHT, width=WIDTH):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return np.clip(128 + 160 * cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 255).astype(np.uint8)


LEFT, RIGHT = 0.25, 0.75


def frame(focus_distance, edge=WIDTH // 2, blur=8.0):
    """A textured scene that lies at u = 0.25 left of the edge and at u = 0.75 right of it."""
    scene, v = textured(), RANGE.normalise(focus_distance)
    left, right = (cv2.GaussianBlur(scene, (0, 0), 0.1 + blur * abs(u - v)) for u in (LEFT, RIGHT))
    return np.concatenate([left[:, :edge], right[:, edge:]], 1)


def zoomed(image, zoom):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, zoom)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


FOCI = sweeps.ramp(RANGE, 9)


def run(estimator, foci=FOCI, **lens) -> list[Estimate]:
    return [estimator.push(frame(focus), LensState(focus, **lens)) for focus in foci]


def halves_are_right(estimate, margin=12):
    left = estimate.vergence[margin:-margin, margin : WIDTH // 2 - margin]
    right = estimate.vergence[margin:-margin, WIDTH // 2 + margin : -margin]
    return np.mean(np.abs(left - LEFT) < 0.07), np.mean(np.abs(right - RIGHT) < 0.07)


def test_depth_is_metric():
    estimate = run(DepthEstimator(network=SharpestFocus(), range_=RANGE))[-1]
    assert min(halves_are_right(estimate)) > 0.95
    assert np.median(estimate.depth[:, :50]) == pytest.approx(RANGE.denormalise(LEFT), rel=0.02)
    assert np.median(estimate.depth[:, -50:]) == pytest.approx(RANGE.denormalise(RIGHT), rel=0.02)
    for name in ('depth', 'coc', 'confidence', 'vergence', 'log_scale'):
        map_ = getattr(estimate, name)
        assert map_.shape == (HEIGHT, WIDTH) and map_.dtype == np.float32
    assert estimate.range == RANGE and estimate.frames == len(FOCI)


def test_confidence_is_the_laplace_probability():
    estimate = run(DepthEstimator(network=SharpestFocus(), range_=RANGE))[-1]
    np.testing.assert_allclose(estimate.confidence, 1 - math.exp(-0.05 / 0.05), rtol=1e-5)
    errors = np.random.default_rng(0).laplace(scale=0.05, size=100_000)
    assert np.mean(np.abs(errors) < 0.05) == pytest.approx(estimate.confidence[0, 0], abs=0.01)
    assert np.isnan(estimate.masked_depth(0.7)).all()
    np.testing.assert_array_equal(estimate.masked_depth(0.6), estimate.depth)


@pytest.mark.parametrize('accepted', [0.02, 0.1, 0.3])
def test_no_more_errors_stay_than_are_accepted(accepted):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=(200, 200)).astype(np.float32)
    depth = np.where(rng.uniform(size=confidence.shape) < 0.9, np.float32(1), np.float32(np.nan))
    wrong = rng.uniform(size=confidence.shape) > confidence  # the confidence is right
    estimate = Estimate(depth, depth, confidence, depth, depth, RANGE, 5)
    kept = ~np.isnan(estimate.masked_depth(estimate.threshold(0.0, accepted)))
    assert wrong[kept].mean() == pytest.approx(accepted, abs=0.02)
    assert estimate.threshold(0.95, accepted) >= 0.95
    assert estimate.threshold(0.2) == 0.2
    sure_of_nothing = Estimate(depth, depth, 0 * confidence, depth, depth, RANGE, 5)
    assert np.isnan(sure_of_nothing.masked_depth(sure_of_nothing.threshold(0.0, accepted))).all()


def test_coc_follows_depth_if_the_lens_is_known():
    lens = Lens(0.05, 2.0, 1e-4)
    known = run(
        DepthEstimator(network=SharpestFocus(), range_=RANGE),
        focal_length=lens.focal_length,
        f_number=lens.f_number,
        pixel_pitch=lens.pixel_pitch,
    )[-1]
    np.testing.assert_allclose(known.coc, lens.coc_px(known.depth, FOCI[-1]), rtol=1e-3, atol=1e-3)
    assert known.coc.max() > 1
    unknown = run(DepthEstimator(network=Probe(), range_=RANGE), FOCI[:2])[-1]
    np.testing.assert_allclose(unknown.coc, 3.0, rtol=1e-6)


@pytest.mark.parametrize('distance, v', [(0.5, 1.0), (4.0, 0.0), (math.inf, -1 / 7), (0.4, 9 / 7), (0.05, 1.5)])
def test_focus_is_passed_as_vergence_even_out_of_range(distance, v):
    estimate = DepthEstimator(network=Probe(), range_=RANGE).push(textured(), LensState(distance))
    np.testing.assert_allclose(estimate.vergence, v, atol=1e-6)


def test_point_at_infinity_is_infinitely_far_and_not_nan():
    range_ = VergenceRange(0.5, math.inf)
    estimate = run(DepthEstimator(network=Probe(), range_=range_), (1.0, math.inf))[-1]
    assert np.isposinf(estimate.depth).all()
    assert (estimate.confidence > 0).all()


@pytest.mark.parametrize('resolution', [64, 100, 128, 1000, None])
def test_reduced_resolution_scales_the_lens(resolution):
    probe = Probe()
    estimator = DepthEstimator(network=probe, range_=RANGE, resolution=resolution)
    state = LensState(1.0, focal_length=0.05, f_number=2.0, pixel_pitch=1e-4)
    estimator.push(textured(), state)
    seen = min(resolution or 128, 128)
    assert probe.size == (round(96 * seen / 128), seen)
    assert probe.blur_scale == pytest.approx(state.lens.blur_scale(RANGE) * seen / 128, rel=1e-4)
    estimate = run(estimator, (1.0, 2.0))[-1]
    assert estimate.coc.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(estimate.coc, 3.0 * 128 / seen, rtol=1e-4)


def test_depth_at_half_resolution():
    estimate = run(DepthEstimator(network=SharpestFocus(), range_=RANGE, resolution=64))[-1]
    assert min(halves_are_right(estimate)) > 0.9


def test_memory_lasts_over_sweeps_and_reset_drops_it():
    estimator = DepthEstimator(network=SharpestFocus(), range_=RANGE)
    run(estimator)
    again = run(estimator, FOCI[:1])[0]
    assert again.frames == len(FOCI) + 1 and min(halves_are_right(again)) > 0.95
    estimator.reset()
    fresh = run(estimator, FOCI[:1])[0]
    assert fresh.frames == 1 and min(halves_are_right(fresh)) == 0


LENS = LensState(1.0, focal_length=0.05, f_number=2.0, pixel_pitch=1e-4, near=0.5, far=4.0, stamp=10.0)


@pytest.mark.parametrize(
    'change, resets',
    [
        ({}, False),
        ({'stamp': 11.9}, False),
        ({'stamp': 12.1}, True),
        ({'stamp': 9.9}, True),
        ({'stamp': 10.0}, False),
        ({'stamp': math.nan}, False),
        ({'focus_distance': 3.0}, False),
        ({'settled': False}, False),
        ({'magnification': 1.1}, False),
        ({'focal_length': 0.06}, True),
        ({'focal_length': 0.0501}, False),
        ({'f_number': 2.8}, True),
        ({'f_number': math.nan}, True),
        ({'pixel_pitch': 2e-4}, True),
        ({'near': 0.4}, True),
        ({'far': math.inf}, True),
    ],
)
def test_what_starts_anew(change, resets):
    probe = Probe()
    estimator = DepthEstimator(network=probe, registration=False)
    estimator.push(textured(), LENS)
    assert estimator.push(textured(), replace(LENS, **{'focus_distance': 2.0, **change})).frames == (1 if resets else 2)
    assert probe.count == (1 if resets else 2)
    assert estimator.resets == resets and bool(estimator.reset_reason) == resets


def test_new_resolution_starts_anew():
    estimator = DepthEstimator(network=Probe(), range_=RANGE)
    estimator.push(textured(), LensState(1.0))
    assert estimator.push(textured(0, 64, 80), LensState(1.0)).frames == 1


def test_reset_gap_is_a_parameter():
    estimator = DepthEstimator(network=Probe(), reset_gap=0.5)
    estimator.push(textured(), LENS)
    assert estimator.push(textured(), replace(LENS, stamp=10.6)).frames == 1


def test_range_of_the_parameter_goes_before_that_of_the_lens():
    assert DepthEstimator(network=Probe()).push(textured(), LENS).range == RANGE
    other = VergenceRange(1, 2)
    assert DepthEstimator(network=Probe(), range_=other).push(textured(), LENS).range == other


@pytest.mark.parametrize('foci', [FOCI + FOCI[:1], FOCI + FOCI[-2::-1]], ids=['jump back', 'ping-pong'])
def test_an_unknown_range_comes_from_the_first_sweep(foci):
    estimates = run(DepthEstimator(network=SharpestFocus()), foci)
    for estimate in estimates[: len(FOCI)]:
        assert estimate.range is None and np.isnan(estimate.depth).all() and not estimate.confidence.any()
    known = run(DepthEstimator(network=SharpestFocus(), range_=RANGE), foci)
    for learned, expected in zip(estimates[len(FOCI) :], known[len(FOCI) :]):
        assert learned.range.near == pytest.approx(RANGE.near)
        assert learned.range.far == pytest.approx(RANGE.far)
        np.testing.assert_allclose(learned.depth, expected.depth, rtol=1e-4)
        assert learned.frames == expected.frames


def test_a_camera_may_use_its_buffer_again():
    buffer = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    estimator = DepthEstimator(network=SharpestFocus())
    for focus in FOCI + FOCI[:1]:
        buffer[:] = frame(focus)
        estimate = estimator.push(buffer, LensState(focus))
    assert min(halves_are_right(estimate)) > 0.95


def test_learned_range_grows_with_jumps():
    foci = [FOCI[i] for i in (4, 3, 6, 8, 0, 2, 5, 1, 7)]
    estimates = run(DepthEstimator(network=SharpestFocus()), foci)
    known = run(DepthEstimator(network=SharpestFocus(), range_=RANGE), foci)
    assert estimates[2].range.far == pytest.approx(FOCI[3])
    np.testing.assert_allclose(estimates[-1].depth, known[-1].depth, rtol=1e-4)


def test_first_sweep_longer_than_what_is_kept():
    foci = sweeps.ramp(RANGE, 50) * 2
    probe = Probe()
    estimator = DepthEstimator(network=probe, registration=False)
    estimates = [estimator.push(textured(), LensState(focus)) for focus in foci]
    assert estimates[49].range is None and estimates[50].range is not None
    assert probe.count == DepthEstimator.MAX_REPLAY + 50
    assert estimates[-1].frames == 100


def test_static_focus_never_gives_depth():
    estimator = DepthEstimator(network=Probe(), registration=False)
    for i in range(80):
        assert np.isnan(estimator.push(textured(), LensState(1.0 + 1e-3 * (i % 2))).depth).all()


@given(st.lists(st.one_of(st.floats(0.05, 100), st.just(math.inf)), min_size=1, max_size=120))
def test_swept_range_ignores_at_most_one_outlier(foci):
    swept = SweptRange()
    for i, focus in enumerate(foci):
        range_ = swept.push(focus)
        if range_ is not None:
            covered = sorted(vergence(f) for f in foci[: i + 1])
            recent = sorted(vergence(f) for f in foci[max(0, i + 1 - SweptRange.MEMORY) : i + 1])
            slack = SweptRange.SLACK * range_.width + 1e-9
            assert 1 / range_.near >= recent[-2] - slack and 1 / range_.far <= recent[1] + slack
            assert covered[0] - 1e-9 <= 1 / range_.far and 1 / range_.near <= covered[-1] + 1e-9


@pytest.mark.parametrize('outlier', [0.05, 0.001, 60.0])
@pytest.mark.parametrize('at', [1, 3, 7, 18, 31])
def test_one_false_focus_distance_does_not_stay_in_the_range(outlier, at):
    swept, near, far = SweptRange(), 0.15, 1.5
    foci = sweeps.ramp(VergenceRange(near, far), 5) * 20
    foci[at] = outlier
    ranges = [swept.push(focus) for focus in foci]
    assert (ranges[-1].near, ranges[-1].far) == (pytest.approx(near), pytest.approx(far))
    # Known after two sweeps, and never left; before, an end that was seen once may be one.
    settled = at if at > 10 else 12 if outlier < near else at + 42
    assert all(range_ == ranges[-1] for range_ in ranges[settled:])


def test_the_range_follows_a_sweep_that_shrinks_or_grows():
    swept = SweptRange()
    for near, far in ((0.15, 1.5), (0.3, 1.0), (0.1, 3.0)):
        for focus in sweeps.ramp(VergenceRange(near, far), 5) * 12:
            range_ = swept.push(focus)
        assert (range_.near, range_.far) == (pytest.approx(near), pytest.approx(far))


# Evidence


def is_unknown(estimate):
    return np.isnan(estimate.depth).all() and np.isnan(estimate.coc).all() and not estimate.confidence.any()


def test_one_focus_says_nothing():
    estimator = DepthEstimator(network=Probe(), range_=RANGE)
    for i in range(20):
        estimate = estimator.push(textured(), LensState(1.0 + 1e-3 * (i % 2)))
        assert is_unknown(estimate) and estimate.unknown_because == ONE_FOCUS
    assert not is_unknown(estimator.push(textured(), LensState(2.0)))


@pytest.mark.parametrize('f_number, known', [(2.0, True), (200.0, False)])
def test_foci_count_as_two_where_their_difference_can_be_seen(f_number, known):
    """The second aperture is so small that the whole range changes the blur by less than half a pixel."""
    lens = {'focal_length': 0.02, 'f_number': f_number, 'pixel_pitch': 1e-5}
    assert is_unknown(run(DepthEstimator(network=Probe(), range_=RANGE), **lens)[-1]) != known


def test_depth_ages_into_unknown_once_the_focus_rests():
    estimator = DepthEstimator(network=SharpestFocus(), range_=RANGE)
    run(estimator)
    unknown = [is_unknown(estimate) for estimate in run(estimator, [FOCI[3]] * (MAX_REST + 5))]
    assert unknown == sorted(unknown) and unknown.index(True) == MAX_REST
    # The memory starts from the last sweep, not from what it read at rest.
    assert not is_unknown(run(estimator, FOCI[4:6])[-1])


def test_new_areas_are_unknown_until_seen_at_two_foci():
    """A pan by 36 px between two foci, then a rest, then another focus."""

    estimator = DepthEstimator(network=Probe(), range_=RANGE)
    width = structured(0).shape[1]
    for focus in (1.0, 2.0, 1.0, 2.0, 1.0):
        estimator.push(structured(0), LensState(focus))
    for shift in (12, 24, 36):
        panned = estimator.push(structured(shift), LensState(1.0))
    assert np.isnan(panned.depth[:, -24:]).all() and not panned.confidence[:, -24:].any()
    assert np.isfinite(panned.depth[:, : width - 36 - 16]).all()
    assert np.isfinite(estimator.push(structured(36), LensState(2.0)).depth[:, :-8]).all()


def test_frames_at_one_focus_enter_the_memory_once():
    probe = Probe()
    estimator = DepthEstimator(network=probe, range_=RANGE)
    run(estimator, [1.0, 1.0, 2.0, 2.0, 2.0, 1.0])
    assert probe.count == 3
    run(estimator, [1.001, 1.002, 1.003, 1.06])  # a slow motion is no rest
    assert probe.count == 4


@pytest.mark.slow(reason='dozens of frames')
def test_a_stuck_motor_is_noticed():
    foci = FOCI[::2] * 8
    moving, stuck = (DepthEstimator(network=SharpestFocus(), range_=RANGE) for _ in range(2))
    noise = np.random.default_rng(0)

    def shot(focus):
        return np.clip(frame(focus) + noise.normal(0, 2, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)

    for focus in foci:
        good, bad = moving.push(shot(focus), LensState(focus)), stuck.push(shot(FOCI[2]), LensState(focus))
    assert good.unknown_because == '' and moving.evidence.response > 0.5
    assert bad.unknown_because == NO_RESPONSE and is_unknown(bad) and abs(stuck.evidence.response) < 0.05


def test_a_network_that_gives_nan_is_named():
    class Broken(Probe):
        def forward(self, image, focus, blur_scale, *state):
            prediction, count = super().forward(image, focus, blur_scale, *state)
            return Prediction(*(map_ * math.nan for map_ in prediction)), count

    estimate = run(DepthEstimator(network=Broken(), range_=RANGE))[-1]
    assert is_unknown(estimate) and estimate.unknown_because == NO_ANSWER


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.5, 0.501, 1.0, 2.0, 4.0, 9.0, math.inf]), min_size=1, max_size=25), st.booleans())
def test_known_depth_was_seen_at_two_foci(foci, has_range):
    """Whatever comes in, and in whatever order."""
    lens = {'near': 0.5, 'far': 4.0} if has_range else {}
    estimator = DepthEstimator(network=Probe(), registration=False)
    for i, estimate in enumerate(run(estimator, foci, **lens)):
        recent = [min(max(RANGE.normalise(f), -0.5), 1.5) for f in foci[max(0, i - MAX_REST) : i + 1]]
        if max(recent) - min(recent) < 0.01:
            assert is_unknown(estimate) and estimate.unknown_because


def off_by(with_magnification):
    """A bar at u = 0.75, a lens that zooms by half between its ends: px that it is off in the last view."""
    estimator = DepthEstimator(network=SharpestFocus(), range_=RANGE, registration=False)
    for focus in FOCI * 2:
        magnification = 1 + 0.5 * RANGE.normalise(focus)
        image = frame(focus, edge=84)
        image[:, 100:] = frame(focus, edge=WIDTH)[:, 100:]
        state = LensState(focus, magnification=magnification if with_magnification else math.nan)
        estimate = estimator.push(zoomed(image, magnification), state)
    columns = np.nonzero(np.abs(estimate.vergence[24:-24, 80:120] - RIGHT) < 0.2)[1] + 80
    return abs(columns.mean() - (63.5 + magnification * (91.5 - 63.5)))


def test_focus_breathing_is_taken_out_by_the_magnification():
    assert off_by(with_magnification=True) < 3  # this network has cells of 4 px
    assert off_by(with_magnification=False) > 6


def structured(shift, seed=4):
    """Large and small structure, moved: something to register by."""
    draw = np.random.default_rng(seed)
    image = sum(
        cell
        * cv2.resize(
            draw.normal(size=(260 // cell, 340 // cell)).astype(np.float32), (340, 260), interpolation=cv2.INTER_CUBIC
        )
        for cell in (4, 12, 36)
    )
    image = np.clip(128 + 2 * image, 0, 255).astype(np.uint8)[40:-40, 40 + shift : -40 + shift or None]
    return np.repeat(image[:, :260, None], 3, 2)


def test_state_follows_the_view():
    """A marker in the state stays with the scene while the camera pans."""

    class Marker(Network):
        def forward(self, image, focus, blur_scale, *state):
            self.state = state[0] if state else torch.zeros(1, 1, image.shape[2] // 4, image.shape[3] // 4)
            if not state:
                self.state[0, 0, 20:24, 40:44] = 1
            u = F.interpolate(self.state, size=image.shape[2:])
            return Prediction(u, u * 0, u * 0), self.state

    def pan(**options):
        marker = Marker()
        estimator = DepthEstimator(network=marker, range_=RANGE, **options)
        for i in range(8):
            estimator.push(structured(3 * i), LensState(1.0 + i % 2))
        weight = marker.state[0, 0]
        assert torch.isfinite(weight).all()
        return float((weight.sum(0) * torch.arange(weight.shape[1])).sum() / weight.sum())

    assert pan(registration=False) == pytest.approx(41.5)
    assert pan() == pytest.approx(41.5 - 21 / 4, abs=0.5)


@pytest.mark.slow(reason='the whole network reads images of many sizes')
@settings(max_examples=10, deadline=None)
@example(36, 16, True)
@given(st.integers(16, 80), st.integers(16, 80), st.booleans())
def test_any_image_size_with_the_real_network(height, width, contiguous):
    torch.manual_seed(0)
    network = networks.create('stream', channels=(8, 8, 8, 8), hypotheses=4)
    estimator = DepthEstimator(network=network, range_=RANGE, device='cpu', precision='fp32')
    image = textured(0, height, width)
    image = image if contiguous else image[:, ::-1]
    image.flags.writeable = False
    for focus, magnification in zip(FOCI[:3], (1.0, 1.1, 1.2)):
        estimate = estimator.push(image, LensState(focus, magnification=magnification))
        assert estimate.depth.shape == (height, width)
        assert np.isfinite(estimate.vergence).all()
        # What the growing view has not shown at two foci yet, here a few rows at the edge, is unknown.
        assert (np.isfinite(estimate.coc) | np.isnan(estimate.depth)).all()
        assert np.isfinite(estimate.coc).mean() > 0.8 or estimate.unknown_because == ONE_FOCUS


@pytest.mark.slow(reason='the whole network reads several images')
def test_the_real_network_is_warped_where_it_pads():
    """States of an image that is padded to a multiple of 16 reach beyond it: the view must not slip."""
    torch.manual_seed(0)
    network = networks.create('stream', channels=(8, 8, 8, 8), hypotheses=4)
    for size in ((96, 128), (90, 121), (1080, 607)):  # the last is seen as 640x360, though 1080 * 360 / 607 is 641
        estimator = DepthEstimator(network=network, range_=RANGE, registration=False, precision='fp32')
        image = cv2.GaussianBlur(textured(1, *size), (0, 0), 3 * max(1, size[0] / 640))
        estimator.push(image, LensState(1.0, magnification=1.0))
        estimator.push(zoomed(image, 1.2), LensState(1.0, magnification=1.2))
        # The finest state remembers the sharpest image: it has to look like the current image.
        seen = size if size[0] < 640 else (640, 360)
        remembered = F.pixel_shuffle(estimator._state[0][:, 2:], 2)[0, :, : seen[0], : seen[1]]
        now = cv2.resize(zoomed(image, 1.2), seen[::-1], interpolation=cv2.INTER_AREA)
        now = torch.from_numpy(now).permute(2, 0, 1) / 255
        inner = (slice(None), slice(12, -12), slice(12, -12))
        assert (remembered[inner] - now[inner]).abs().mean() < 0.02


@pytest.fixture(scope='module')
def small_network(tmp_path_factory):
    torch.manual_seed(1)
    network = networks.create('stream', channels=(8, 8, 12, 12), hypotheses=4, hidden=(8, 8), context=8).eval()
    for parameter in network.parameters():  # heads start near zero: make them say something
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


@pytest.fixture(scope='module')
def any_size_file(small_network, tmp_path_factory):
    """The small network as `dfd export` writes it."""
    pytest.importorskip('onnxruntime')
    folder = tmp_path_factory.mktemp('onnx')
    networks.save(folder / 'small.safetensors', small_network)
    path = folder / 'made' / 'small.onnx'
    path.parent.mkdir()
    assert dfd('export', '--weights', folder / 'small.safetensors', '--out', path) == 0
    assert [p.name for p in path.parent.iterdir()] == ['small.onnx']
    return path


@pytest.mark.slow(reason='a network is exported for images of any size')
def test_an_exported_network_says_what_it_is_of(any_size_file):
    onnxruntime = pytest.importorskip('onnxruntime')
    found = onnxruntime.InferenceSession(any_size_file).get_modelmeta().custom_metadata_map
    assert found['weights sha256'] == provenance.file_hash(any_size_file.parents[1] / 'small.safetensors')
    assert json.loads(found['made_by']) == json.loads(found['weights made_by']) == provenance.made_by()


@pytest.fixture(scope='module')
def fixed_size_file(tmp_path_factory):
    pytest.importorskip('onnxruntime')
    path = tmp_path_factory.mktemp('onnx') / 'fixed.onnx'
    export_onnx(SharpestFocus(), path, (HEIGHT - 3, WIDTH))
    return path


def agree(one: DepthEstimator, other: DepthEstimator, size: tuple[int, int]) -> Estimate:
    """Push five frames into both, through zooms and with the aperture known and unknown."""
    for i, focus in enumerate(FOCI[:5]):
        state = LensState(focus, 0.05, 2.0, 1e-4, magnification=1 + 0.03 * i)
        state = state if i % 2 else replace(state, f_number=math.nan)
        image = textured(i, *size)
        a, b = one.push(image, state), other.push(image, state)
        np.testing.assert_allclose(a.vergence, b.vergence, atol=1e-3)
        np.testing.assert_allclose(a.log_scale, b.log_scale, atol=1e-3)
        np.testing.assert_allclose(a.coc, b.coc, rtol=1e-4, atol=1e-3)
    return a


@pytest.mark.slow(reason='a network is exported for images of any size')
@pytest.mark.parametrize('size', [(128, 256), (256, 128)])
def test_torch_and_onnx_agree(small_network, any_size_file, size):
    by_torch = DepthEstimator(network=small_network, range_=RANGE, device='cpu', precision='fp32')
    by_onnx = DepthEstimator(any_size_file, backend='onnx', network='stream', range_=RANGE, device='cpu')
    estimate = agree(by_torch, by_onnx, size)
    assert np.ptp(estimate.vergence) > 0.01


@pytest.mark.slow(reason='a network is exported for images of any size')
def test_onnx_of_any_size_pads_other_sizes(any_size_file):
    estimator = DepthEstimator(any_size_file, backend='onnx', range_=RANGE, device='cpu')
    estimate = estimator.push(textured(0, 90, 70), LensState(1.0))
    assert estimate.vergence.shape == (90, 70) and np.isfinite(estimate.vergence).all()


@pytest.mark.slow(reason='a network is exported, which loads onnxscript')
def test_onnx_of_a_fixed_size(fixed_size_file):
    by_onnx = DepthEstimator(fixed_size_file, backend='onnx', range_=RANGE)
    agree(DepthEstimator(network=SharpestFocus(), range_=RANGE, precision='fp32'), by_onnx, (HEIGHT, WIDTH))
    with pytest.raises(InputError, match='exported for images of 128x96, these have 64x48'):
        by_onnx.push(textured(0, 48, 64), LensState(1.0))


@pytest.mark.slow(reason='a network is exported, which loads onnxscript')
def test_onnx_of_another_kind_is_refused(fixed_size_file, tmp_path):
    path = fixed_size_file
    with pytest.raises(InputError, match='of the network ".*SharpestFocus", not of "other"'):
        DepthEstimator(path, backend='onnx', network='other')
    with pytest.raises(InputError, match='needs the weights as an ONNX file'):
        DepthEstimator(backend='onnx')
    with pytest.raises(InputError, match='nowhere.onnx: no such file'):
        DepthEstimator(tmp_path / 'nowhere.onnx', backend='onnx')
    cut = tmp_path / 'cut.onnx'
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match='cut.onnx: not a complete ONNX file'):
        DepthEstimator(cut, backend='onnx')
    cut.write_bytes(path.read_bytes().replace(b'SharpestFocus', b'SharpestFocu\xff'))
    with pytest.raises(InputError, match='cut.onnx: not a complete ONNX file'):
        DepthEstimator(cut, backend='onnx')
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'foreign.onnx')
    with pytest.raises(InputError, match='foreign.onnx: not an ONNX file of dfd_ros'):
        DepthEstimator(tmp_path / 'foreign.onnx', backend='onnx')


@pytest.mark.parametrize('feature', ['amx_bf16', 'avx512_bf16', 'avx512_fp16', ''])
def test_auto_precision_is_bf16_on_hardware_with_bf16(feature, monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {feature: bool(feature)}, raising=False)
    assert chosen_precision('auto', torch.device('cpu')) == ('bf16' if feature.endswith('bf16') else 'fp32')
    assert chosen_precision('fp32', torch.device('cpu')) == 'fp32'


@pytest.mark.parametrize(
    'has_bf16, capability, expected', [(True, (9, 0), 'bf16'), (False, (7, 2), 'fp16'), (False, (6, 1), 'fp32')]
)
def test_auto_precision_of_a_gpu(monkeypatch, has_bf16, capability, expected):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    assert chosen_precision('auto', torch.device('cuda')) == expected


def test_half_precision_is_nearly_as_good(small_network):
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    estimates = []
    for precision in ('fp32', 'fp16'):
        estimator = DepthEstimator(network=small_network, device='cpu', range_=RANGE, precision=precision)
        estimates.append([estimator.push(image, LensState(focus)) for focus in FOCI[:3]][-1])
        assert estimator.precision == precision
    off = np.abs(estimates[0].vergence - estimates[1].vergence)
    assert 0 < off.max() < 0.02


@pytest.mark.slow(reason='bf16 without its instructions is slow')
def test_bf16_is_close_to_fp32(small_network):
    exact = DepthEstimator(network=small_network, range_=RANGE, device='cpu', precision='fp32')
    rough = DepthEstimator(network=small_network, range_=RANGE, device='cpu', precision='bf16')
    a, b = run(exact)[-1], run(rough)[-1]
    assert b.vergence.dtype == np.float32
    assert 0 < np.abs(a.vergence - b.vergence).mean() < 0.02


@pytest.mark.parametrize(
    'options, says',
    [
        ({'backend': 'tensorflow'}, "backend 'tensorflow': give torch or onnx"),
        ({'weights': 'stream.onnx'}, 'weights stream.onnx: an ONNX file, which needs the backend onnx'),
        ({'device': 'gpu'}, "device 'gpu': give auto"),
        ({'device': 'cuda:99'}, "device 'cuda:99': this machine has"),
        ({'device': 'meta'}, "device 'meta': give auto"),
        ({'precision': 'fp8'}, "precision 'fp8'"),
        ({'resolution': 3}, 'resolution 3: must be at least'),
        ({'reset_gap': 0}, 'reset_gap 0: must be'),
        ({'range_': (0.1, 2.0)}, 'range_ (0.1, 2.0): must be a VergenceRange(near, far)'),
        ({'network': 'poolnet'}, 'network "poolnet": no weights ship for it'),
        ({'network': 'poolnets'}, 'no network "poolnets": choose one of'),
        ({'weights': 'x.safetensors'}, 'not both'),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(InputError) as caught:
        DepthEstimator(**{'network': Probe(), **options})
    assert says in str(caught.value)


def test_weights_that_cannot_be(tmp_path, small_network):
    with pytest.raises(InputError, match='nowhere.safetensors'):
        DepthEstimator(tmp_path / 'nowhere.safetensors')
    good = tmp_path / 'good.safetensors'
    networks.save(good, small_network)
    DepthEstimator(good, network='stream')
    with pytest.raises(InputError, match='good.safetensors'):
        DepthEstimator(good, network='other')
    good.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(InputError, match='good.safetensors'):
        DepthEstimator(good)


@pytest.mark.parametrize(
    'image, says',
    [
        (np.zeros((48, 64), np.uint8), 'uint8 (48, 64), must be'),
        (np.zeros((48, 64, 4), np.uint8), 'uint8 (48, 64, 4)'),
        (np.zeros((48, 64, 3), np.float32), 'float32 (48, 64, 3)'),
        (np.zeros((0, 64, 3), np.uint8), '64x0 pixels'),
        (np.zeros((15, 64, 3), np.uint8), '64x15 pixels'),
        ([[1]], 'list, must be'),
    ],
)
def test_image_that_cannot_be(image, says):
    estimator = DepthEstimator(network=Probe(), range_=RANGE)
    estimator.push(textured(), LensState(1.0))
    with pytest.raises(InputError) as caught:
        estimator.push(image, LensState(1.0))
    assert says in str(caught.value)
    assert estimator.push(textured(), LensState(1.0)).frames == 2


@pytest.mark.parametrize(
    'state, says',
    [
        (LensState(math.nan), 'focus_distance nan'),
        (LensState(0.0), 'focus_distance 0.0'),
        (LensState(-1.0), 'focus_distance -1.0'),
        (LensState(1.0, near=2.0, far=1.0), 'near 2.0 m must be'),
    ],
)
def test_lens_state_that_cannot_be(state, says):
    estimator = DepthEstimator(network=Probe())
    with pytest.raises(InputError) as caught:
        estimator.push(textured(), state)
    assert says in str(caught.value)


@pytest.mark.parametrize('lens', [{'f_number': math.inf}, {'pixel_pitch': math.inf}, {'magnification': math.inf}])
def test_what_is_infinite_in_a_lens_state_is_unknown(small_network, lens):
    estimator = DepthEstimator(network=small_network, range_=RANGE, precision='fp32')
    known = {'focal_length': 0.05, 'f_number': 2.0, 'pixel_pitch': 5e-6, 'magnification': 1.0}
    for focus, change in zip(FOCI[:3], ({}, lens, {})):
        estimate = estimator.push(textured(), LensState(focus, **{**known, **change}))
        assert np.isfinite(estimate.vergence).all()
        # What the growing view has not shown at two foci yet, here a few rows at the edge, is unknown.
        assert (np.isfinite(estimate.coc) | np.isnan(estimate.depth)).all()
        assert np.isfinite(estimate.coc).mean() > 0.8 or estimate.unknown_because == ONE_FOCUS


# Whole stacks


def test_a_stack_equals_its_frames_one_by_one():
    stack = FocalStack(
        [frame(focus) for focus in FOCI], [LensState(focus, stamp=9.0 * i) for i, focus in enumerate(FOCI)]
    )
    estimator = DepthEstimator(network=SharpestFocus(), range_=RANGE)
    by_frame = run(DepthEstimator(network=SharpestFocus(), range_=RANGE))
    for _ in range(2):
        estimates = list(estimator.estimate_frames(stack))
        assert [estimate.frames for estimate in estimates] == [*range(1, len(FOCI) + 1)]
        np.testing.assert_array_equal(estimates[-1].depth, by_frame[-1].depth)
    twice = estimator.estimate_stack(stack, sweeps=2)
    assert twice.frames == 2 * len(FOCI) and min(halves_are_right(twice)) > 0.95


@pytest.mark.parametrize(
    'limits, range_',
    [({}, VergenceRange(min(FOCI), max(FOCI))), ({'near': 0.25, 'far': 8.0}, VergenceRange(0.25, 8.0))],
)
def test_a_stacks_range_is_its_lens_range_or_what_it_covers(limits, range_):
    stack = FocalStack([frame(focus) for focus in FOCI[::4]], [LensState(focus, **limits) for focus in FOCI[::4]])
    assert DepthEstimator(network=Probe()).estimate_stack(stack).range == range_
    assert DepthEstimator(network=Probe(), range_=RANGE).estimate_stack(stack).range == RANGE


def test_the_public_names():
    assert dfd_ros.DepthEstimator is DepthEstimator and dfd_ros.FocalStack is FocalStack
