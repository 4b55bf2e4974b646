"""Maps of the size of the image from what a network gives in its own, each only when it is read."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference import upsampling
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.result_maps import FIELDS, ResultMaps
from dfd_ros.inference.upsampling import Upsampling
from dfd_ros.networks import Network, Prediction

SIZE = HEIGHT, WIDTH = 96, 128
RANGE = VergenceRange(0.3, 3.0)
KNOWN, UNKNOWN = LensState(0.5, 0.004, 1.8, 2e-6), LensState(0.5, 0.004, math.nan, 2e-6)


def reduced(image, factor=4):
    return cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def noise(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def upsampled(maps, guide):
    by = Upsampling(maps, reduced(guide, guide.shape[0] // maps.shape[1]), guide)
    return torch.stack([by(channel) for channel in range(len(maps))])


def test_upsampling_finds_the_edge_of_the_image():
    """A slanted edge in depth and image: nearer to the truth than bilinear, and no further off anywhere."""
    y, x = np.mgrid[:240, :320].astype(np.float32)
    inside = (x + 0.4 * y > 190).astype(np.float32)
    guide = 255 * (0.3 + 0.4 * inside) + 5 * np.random.default_rng(0).normal(size=inside.shape)
    truth = torch.from_numpy(0.2 + 0.6 * inside)
    small = F.interpolate(truth[None, None], scale_factor=0.25, mode='area')
    ours = (upsampled(small[0], guide.round().astype(np.uint8))[0] - truth).abs()
    plain = (F.interpolate(small, size=truth.shape, mode='bilinear')[0, 0] - truth).abs()
    assert ours.mean() < 0.35 * plain.mean()
    assert ours.max() <= plain.max() + 0.05


def test_upsampling_copies_no_texture_and_adds_no_values():
    flat = torch.full((2, 24, 32), 0.7)
    torch.testing.assert_close(upsampled(flat, noise()), torch.full((2, *SIZE), 0.7))
    rough = torch.rand(2, 24, 32)
    for before, after in zip(rough, upsampled(rough, noise())):
        assert before.min() <= after.min() and after.max() <= before.max()


def test_upsampling_leaves_unknown_what_is_and_nothing_else():
    guide, maps = noise(32, 32), torch.rand(2, 16, 16, generator=torch.manual_seed(0))
    known = upsampled(maps, guide)
    maps[0, :, :4] = math.nan
    partly = upsampled(maps, guide)
    assert torch.isnan(partly[0, :, :10]).all() and not torch.isnan(partly[0, :, 10:]).any()
    inner = slice(14, -4)
    assert (partly[0, :, inner] - known[0, :, inner]).abs().max() < 0.02  # by the range of what is left
    torch.testing.assert_close(partly[1], known[1])
    maps[0] = math.nan
    assert torch.isnan(upsampled(maps, guide)[0]).all()


def test_upsampling_scales_as_it_goes():
    maps = torch.rand(1, 24, 32)
    by = Upsampling(maps, reduced(noise()), noise())
    torch.testing.assert_close(by(0, -2.0, 0.5), 0.5 - 2 * by(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize('lens_state', [KNOWN, UNKNOWN])
@pytest.mark.parametrize('whole', [False, True])
def test_maps_are_those_of_their_formulas(monkeypatch, lens_state, whole):
    """In one piece and in strips, of which the last one is shorter."""
    maps = torch.rand(3, 24, 32, generator=torch.manual_seed(0)) - 0.2  # u below 0 is beyond the far end
    maps[1] = maps[1] - 3
    maps[0, 5:8, 5:8] = math.nan
    seen = torch.ones(12, 16, dtype=torch.bool)
    seen[:, -2:] = False
    prediction = maps if lens_state is UNKNOWN else maps[:2]
    far = VergenceRange(0.3, math.inf)
    maps_of = ResultMaps(prediction, lens_state, far, seen, 4.0, (reduced(noise()), noise()))
    found = maps_of.estimate(1)
    u, log_scale, coc = upsampled(maps, noise()).numpy()
    monkeypatch.setattr(upsampling, 'STRIP', 1 << 20 if whole else 7 * WIDTH)
    np.testing.assert_allclose(found.vergence, u, atol=1e-4)
    np.testing.assert_allclose(found.log_scale, log_scale, atol=1e-4)
    unknown = np.isnan(u)
    unknown[:, -16:] = True
    depth = np.where(unknown, np.nan, far.denormalise(u))
    assert np.isinf(depth).any() and np.isnan(depth[24, 24])
    np.testing.assert_allclose(1 / found.depth, 1 / depth, atol=1e-4)
    confidence = np.where(unknown, 0, 1 - np.exp(-0.05 / np.exp(log_scale)))
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-5)
    if lens_state is KNOWN:
        expected = lens_state.lens.coc_px(depth, lens_state.focus_distance)
    else:
        expected = np.where(unknown, np.nan, 4 * np.abs(coc))
    np.testing.assert_allclose(found.coc, expected, rtol=1e-3, atol=1e-2)


class Flat(Network):
    def forward(self, image, focus, blur_scale, *state):
        like = torch.ones_like(image[:, :1])
        return Prediction(0.5 * like, -4 * like, like), *state


@pytest.fixture
def computed(monkeypatch):
    """The names and sizes of the maps that are computed."""
    names, compute = [], ResultMaps._compute

    def counted(self, name):
        map_ = compute(self, name)
        names.append((name, map_.shape))
        return map_

    monkeypatch.setattr(ResultMaps, '_compute', counted)
    return names


def estimate(resolution=32, foci=(3.0, 0.3), **options) -> Estimate:
    estimator = DepthEstimator(network=Flat(), device='cpu', range_=RANGE, resolution=resolution, **options)
    image = np.dstack([noise()] * 3)
    return [estimator.push(image, LensState(focus)) for focus in foci][-1]


def test_a_map_is_computed_when_it_is_read_and_once(computed):
    found = estimate()
    assert not computed
    assert found.depth is found.depth and found.depth.shape == SIZE
    assert computed == [('depth', SIZE)]
    assert {getattr(found, name).shape for name in FIELDS} == {SIZE}
    assert len(computed) == len(FIELDS)


def test_statistics_need_no_map_of_the_size_of_the_image(computed):
    found = estimate()
    assert found.reduced.depth.shape == (24, 32)
    assert found.threshold(0.0, 0.5) == 0
    assert {size for _, size in computed} == {(24, 32)}
    np.testing.assert_allclose(found.reduced.depth.mean(), found.depth.mean(), rtol=1e-5)
    whole = estimate(resolution=None)
    assert whole.reduced is whole


def test_the_image_may_change_before_a_map_is_read():
    """Cameras use their buffers again."""
    estimator = DepthEstimator(network=Flat(), device='cpu', range_=RANGE, resolution=32)
    image = np.dstack([noise()] * 3)
    _, second = (estimator.push(image, LensState(focus)) for focus in (3.0, 0.3))
    expected = second.vergence.copy()
    again = estimator.push(image, LensState(3.0))
    image[:] = 0
    np.testing.assert_array_equal(again.vergence, expected)


def test_nothing_is_known_of_what_is_withheld(computed):
    found = estimate(foci=(0.3,))  # at one focus
    assert found.unknown_because and not computed
    withheld = estimate().without_depth('because')
    for kind in (found, found.reduced, withheld, withheld.reduced):
        assert np.isnan(kind.depth).all() and np.isnan(kind.coc).all() and not kind.confidence.any()
    relative = estimate().without_metres()
    assert np.isnan(relative.depth).all() and relative.range is None and not relative.is_metric
    np.testing.assert_allclose(relative.vergence, 0.5)
    assert np.isnan(relative.reduced.depth).all()


def test_all_in_focus_needs_two_maps(computed):
    assert estimate(all_in_focus=True).all_in_focus is not None
    assert {name for name, _ in computed} == {'coc', 'confidence', 'depth'}  # where depth is withheld, it is too
