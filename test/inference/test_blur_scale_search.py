"""The search for an unknown blur scale, with networks whose likelihood is known."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.blur_scale_search import BlurScaleSearch
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks import Network, Prediction

FOCI = (0.0, 0.25, 0.5, 0.75, 1.0)


class Likely(Network):
    """Is the surer of itself, the nearer log k is to that of `true`; `flat` = not at all. `unsure` is added."""

    reads_blur_scale = True

    def __init__(self, true: float = 10.0, flat: bool = False, unsure: float = 0.0):
        super().__init__()
        self.true, self.flat, self.unsure = true, flat, unsure
        self.blur_scales: list[float] = []
        self.sizes: set[tuple[int, int]] = set()

    def forward(self, image, focus, blur_scale, *state):
        k = float(blur_scale)
        self.blur_scales.append(k)
        self.sizes.add(tuple(image.shape[2:]))
        error = self.unsure + (-3.2 if math.isnan(k) or self.flat else -4.0 + math.log(k / self.true) ** 2)
        like = torch.ones_like(image[:, :1])
        return Prediction(like * focus, like * error, like * 3.0), like


class AsBackend:
    device = torch.device('cpu')

    def __init__(self, network):
        self.network = network

    def __call__(self, *arguments):
        return self.network(*arguments)


def image(seed=0, height=96, width=128):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return np.clip(128 + 160 * cv2.GaussianBlur(noise, (0, 0), 1.2), 0, 255).astype(np.uint8)


def stack(foci=FOCI):
    return [(image(), focus, Similarity()) for focus in foci]


@settings(max_examples=20, deadline=None)
@given(st.floats(3.2, 39.0))
def test_the_most_likely_blur_scale_is_found(true):
    found = BlurScaleSearch(AsBackend(Likely(true))).find(iter(stack()))
    assert found == pytest.approx(true, rel=0.02)


def test_a_network_that_no_blur_scale_makes_surer_leaves_it_unknown():
    assert math.isnan(BlurScaleSearch(AsBackend(Likely(flat=True))).find(iter(stack())))


def test_what_shows_no_blur_leaves_it_unknown():
    """A plain wall: the network is unsure whatever it is told, so no blur scale is tried."""
    network = Likely(unsure=0.5)
    assert math.isnan(BlurScaleSearch(AsBackend(network)).find(iter(stack())))
    assert len(network.blur_scales) == len(FOCI)


def test_one_focus_is_not_enough():
    network = Likely()
    assert math.isnan(BlurScaleSearch(AsBackend(network)).find(iter(stack([0.5] * 5))))
    assert not network.blur_scales


def test_a_stream_costs_one_run_a_frame_and_pauses_when_it_has_an_answer():
    network = Likely(7.0)
    search = BlurScaleSearch(AsBackend(network))
    runs = []
    for i in range(120):
        before = len(network.blur_scales)
        search.push(image(), FOCI[i % len(FOCI)], Similarity())
        runs.append(len(network.blur_scales) - before)
    assert max(runs) == 1 and runs[-1] == 0
    assert sum(runs) == search.MIN_FRAMES * (1 + len(search.CANDIDATES))
    assert search.blur_scale == pytest.approx(7.0, rel=0.02)
    for i in range(search.PAUSE + 120):
        search.push(image(), FOCI[i % len(FOCI)], Similarity())
    assert len(network.blur_scales) == 2 * sum(runs)  # as often again


@pytest.mark.slow(reason='the shipped network is run for many blur scales')
@pytest.mark.parametrize('steps', [4, 9, 30])
def test_any_spacing_of_the_focus_will_do(steps):
    network = Likely(7.0)
    search = BlurScaleSearch(AsBackend(network))
    for i in range(40 * steps):
        search.push(image(), abs((i + steps) % (2 * steps) - steps) / steps, Similarity())
    assert search.blur_scale == pytest.approx(7.0, rel=0.02)
    found = BlurScaleSearch(AsBackend(network)).find(iter(stack(np.linspace(0, 1, steps + 1))))
    assert found == pytest.approx(7.0, rel=0.02)


def test_frames_are_read_in_the_view_of_the_newest():
    """Each frame of a camera that moves shows the same part of the scene."""
    seen = []

    class Watching(Likely):
        def forward(self, image, focus, blur_scale, *state):
            if math.isnan(float(blur_scale)):
                seen.append(image)
            return super().forward(image, focus, blur_scale, *state)

    scene = image(height=96, width=200)
    moved = [(scene[:, 8 * i : 8 * i + 128], focus, Similarity(dx=8.0)) for i, focus in enumerate(FOCI)]
    BlurScaleSearch(AsBackend(Watching())).find(iter(moved))
    assert len(seen) == len(FOCI)
    for earlier in seen[:-1]:
        assert (earlier - seen[-1])[..., :92].abs().max() < 0.02  # what all frames have seen


def test_only_a_window_of_a_large_image_is_read_and_it_is_where_sharpness_varies():
    network = Likely()
    search = BlurScaleSearch(AsBackend(network))
    plain, textured = np.full((480, 640, 3), 128, np.uint8), np.full((480, 640, 3), 128, np.uint8)
    textured[200:, 350:] = image(height=280, width=290)
    search.find(iter([(textured, 0.0, Similarity()), (plain, 1.0, Similarity())]))
    assert network.sizes == {search.WINDOW}
    rows, columns = search.window
    assert rows.start >= 180 and columns.start >= 330


@pytest.mark.parametrize('size', [(120, 160), (64, 64), (90, 127), (250, 300), (263, 511), (33, 640)])
def test_images_of_any_size_are_searched(size):
    network = Likely(7.0)
    frames = ((image(height=size[0], width=size[1]), focus, Similarity()) for focus in FOCI)
    assert BlurScaleSearch(AsBackend(network)).find(frames) == pytest.approx(7.0, rel=0.02)
    assert network.sizes == {(min(256, size[0]), min(256, size[1]))}


# In the estimator

RANGE = VergenceRange(0.25, math.inf)
LENS = {'focal_length': 0.004, 'f_number': 1.8, 'pixel_pitch': 5e-6}


def focal_stack(**lens):
    return FocalStack([image(i) for i in range(5)], [LensState(RANGE.denormalise(v), **lens) for v in FOCI])


def test_a_stack_of_an_unknown_lens_is_read_with_the_blur_scale_that_was_found():
    network = Likely(12.0)
    estimator = DepthEstimator(network=network, device='cpu', range_=RANGE)
    estimator.estimate_stack(focal_stack())
    assert network.blur_scales[-5:] == [pytest.approx(12.0, rel=0.02)] * 5
    assert estimator.found_blur_scale == pytest.approx(12.0, rel=0.02)


def test_a_known_lens_is_believed():
    network = Likely(12.0)
    estimator = DepthEstimator(network=network, device='cpu', range_=RANGE)
    estimator.estimate_stack(focal_stack(**LENS))
    assert len(network.blur_scales) == 5 and 12.0 not in network.blur_scales
    assert math.isnan(estimator.found_blur_scale)


def test_a_network_that_ignores_the_blur_scale_is_not_asked():
    network = Likely(12.0)
    network.reads_blur_scale = False
    DepthEstimator(network=network, device='cpu', range_=RANGE).estimate_stack(focal_stack())
    assert len(network.blur_scales) == 5


def test_a_stream_of_an_unknown_lens_finds_it_and_a_new_lens_starts_anew():
    network = Likely(12.0)
    estimator = DepthEstimator(network=network, device='cpu', range_=RANGE)
    for i in range(60):
        v = FOCI[i % len(FOCI)]
        estimator.push(image(), LensState(RANGE.denormalise(v)))
    assert estimator.found_blur_scale == pytest.approx(12.0, rel=0.02)
    estimator.push(image(), LensState(RANGE.denormalise(0.0), **LENS))
    assert math.isnan(estimator.found_blur_scale)


def test_the_found_blur_scale_is_in_pixels_of_the_image():
    network = Likely(12.0)
    estimator = DepthEstimator(network=network, device='cpu', range_=RANGE, resolution=64)
    estimator.estimate_stack(focal_stack())
    assert estimator.found_blur_scale == pytest.approx(24.0, rel=0.02)
