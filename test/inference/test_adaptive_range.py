"""Sweeps of the depths that there are."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sharpest_focus import SharpestFocus

from dfd_ros import networks
from dfd_ros.core import sweeps
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.adaptive_range import AdaptiveRange
from dfd_ros.inference.backends import TorchBackend
from dfd_ros.inference.blur_scale_search import BlurScaleSearch
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.evidence import ONE_FOCUS, Evidence
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

LENS = VergenceRange(0.1, math.inf)
FRAMES = 5


@dataclass
class Scene:
    """A wall that fills vergences `far` to `near` (0..1 over the range of the lens), as a network sees it that is sure
    of what lies in the range that it sweeps, and of nothing else."""

    far: float
    near: float
    frames: int = 0

    def estimate(self, range_: VergenceRange) -> Estimate:
        self.frames += 1
        u = range_.normalise(LENS.denormalise(np.linspace(self.far, self.near, 400).reshape(20, 20)))
        confidence = np.where((u > -0.1) & (u < 1.1), 0.9, 0.1).astype(np.float32)
        u = u.clip(-0.06, 1.06).astype(np.float32)
        depth = range_.denormalise(u)
        return Estimate(depth, depth, confidence, u, u * 0 - 3, range_, self.frames)


def swept(adaptive: AdaptiveRange, scene: Scene, count: int, lens: VergenceRange = LENS) -> list[tuple[float, float]]:
    """Vergences of the ends of the next sweeps, 0..1 over the range of the lens."""
    ranges = []
    for _ in range(count):
        range_ = adaptive.range or lens
        ranges.append((float(LENS.normalise(range_.far)), float(LENS.normalise(range_.near))))
        for focus in sweeps.ramp(range_, FRAMES):
            if adaptive.push(focus, scene.estimate(range_), lens) != range_:
                break
    return ranges


WHOLE = pytest.approx((0.0, 1.0))


def test_only_the_depths_that_there_are_are_swept_and_everything_now_and_then():
    ranges = swept(AdaptiveRange(), Scene(0.3, 0.5), 13)
    assert ranges[0] == ranges[6] == ranges[12] == WHOLE
    for far, near in ranges[1:6] + ranges[7:12]:
        assert 0.2 <= far < 0.3 and 0.5 < near <= 0.6
    assert ranges[1][1] - ranges[1][0] > ranges[5][1] - ranges[5][0]  # finer, once it is known better


@pytest.mark.parametrize('scene', [Scene(0.0, 1.0), Scene(0.05, 0.9)])
def test_a_scene_that_fills_the_range_is_swept_as_ever(scene):
    assert swept(AdaptiveRange(), scene, 5) == [WHOLE] * 5


@pytest.mark.parametrize('end', [0.0, 1.0])
def test_the_ends_of_the_lens_are_swept_exactly(end):
    adaptive, scene = AdaptiveRange(), Scene(max(0.0, end - 0.2), min(1.0, end + 0.2))
    swept(adaptive, scene, 2)
    assert adaptive.range is not None
    assert (adaptive.range.near == LENS.near, adaptive.range.far == LENS.far) == (end == 1.0, end == 0.0)


def test_a_wall_at_one_distance_is_swept_as_widely_as_its_blur_needs():
    (_, (far, near)) = swept(AdaptiveRange(), Scene(0.5, 0.5), 2)
    assert near - far >= AdaptiveRange.MIN_WIDTH and far < 0.5 < near


@pytest.mark.parametrize('narrow_sweeps', [1, 3])
def test_where_depth_becomes_unsure_everything_is_swept_at_once(narrow_sweeps):
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    swept(adaptive, scene, 1 + narrow_sweeps)
    frames, scene.far, scene.near = scene.frames, 0.7, 0.9
    swept(adaptive, scene, 1)
    assert adaptive.range == LENS and scene.frames == frames + 1
    swept(adaptive, scene, 1)
    assert adaptive.range is not None
    assert LENS.normalise(adaptive.range.far) < 0.7 and LENS.normalise(adaptive.range.near) > 0.9


def test_a_first_sweep_of_a_part_that_is_unsure_is_followed_by_everything():
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    swept(adaptive, scene, 1)
    scene.far, scene.near = 0.7, 0.9
    assert swept(adaptive, scene, 2)[1] == WHOLE


def test_what_moves_within_reach_is_followed():
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    for _ in range(20):
        swept(adaptive, scene, 1)
        assert adaptive.range is not None
        assert LENS.normalise(adaptive.range.far) < scene.far and LENS.normalise(adaptive.range.near) > scene.near
        scene.far, scene.near = scene.far + 0.01, scene.near + 0.01


def test_another_lens_or_an_empty_memory_begins_with_everything():
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    swept(adaptive, scene, 2)
    other = VergenceRange(0.2, math.inf)
    assert adaptive.push(1.0, scene.estimate(LENS), other) == other
    swept(adaptive, scene, 2, other)
    scene.frames = 0
    assert adaptive.push(1.0, scene.estimate(other), other) == other


def test_nothing_to_see_is_swept_as_ever():
    adaptive, scene = AdaptiveRange(), Scene(2.0, 3.0)  # unsure everywhere
    assert swept(adaptive, scene, 3) == [WHOLE] * 3


def test_a_sweep_that_never_reaches_an_end_is_over_some_time():
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    for i in range(AdaptiveRange.MAX_FRAMES):
        range_ = adaptive.push((1.0, 2.0)[i % 2], scene.estimate(adaptive.range or LENS), LENS)
    assert range_ != LENS


def test_a_focus_that_is_held_elsewhere_ends_no_sweep():
    adaptive, scene = AdaptiveRange(), Scene(0.3, 0.5)
    swept(adaptive, scene, 1)
    part = adaptive.range
    assert part is not None and part != LENS
    for _ in range(3 * FRAMES):
        adaptive.push(LENS.near, scene.estimate(part), LENS)
        adaptive.push(part.far, scene.estimate(part), LENS)
    assert adaptive.range == part


# The memory in another range.


class Kept(SharpestFocus):
    def rescaled_state(self, state, scale, offset):
        best, at = state[0].split(1, 1)
        return [torch.cat([best, torch.where(best > 0, scale * at + offset, at)], 1)]


def test_the_memory_is_kept_in_another_range():
    """Each place was sharpest at a focus; that it was, is still known when this focus has another v."""

    whole, part = VergenceRange(0.15, 1.5), VergenceRange(0.2, 0.5)
    camera = SyntheticCamera(128, 96, 3, part.near, part.far, lens_range=whole)

    def stream(network):
        estimator = DepthEstimator(network=network, range_=whole, registration=False)
        for focus in sweeps.ramp(whole, 9)[:-1]:
            image, _, state = camera.capture(0.0, focus)
            before = estimator.push(image, state)
        estimator.change_range(part)
        _, _, state = camera.capture(0.0, part.far)
        return before, estimator.push(np.zeros_like(image), state)  # a frame that reveals nothing

    before, after = stream(Kept())
    assert after.range == part
    same = np.abs(1 / after.depth - 1 / before.depth) < 0.02
    assert same.mean() > 0.9
    _, anew = stream(SharpestFocus())
    assert np.isnan(anew.depth).all()  # one focus reveals nothing


def tiny_stream():
    torch.manual_seed(0)
    return networks.create('stream', channels=[8] * 4, hypotheses=16, kinds=[1, 2, 1], hidden=[4, 4], context=8).eval()


@torch.inference_mode()
def test_the_state_of_the_network_in_another_range():
    network = tiny_stream()
    foci = torch.tensor([[0.3, 0.45, 0.4, 0.6]])
    images = torch.rand(1, 4, 3, 128, 128)
    *_, state = network.sequence(images, foci, torch.tensor([20.0]))
    assert all(torch.equal(a, b) for a, b in zip(state[:1], network.rescaled_state(state, 1.0, 0.0)))

    scale, offset = 2.0, -0.5  # 0.25 to 0.75 becomes 0 to 1
    new = network.rescaled_state(state, scale, offset)
    assert [map_.shape for map_ in new] == [map_.shape for map_ in state]
    # Where the best focus is stored, it is what a sweep in the other range would have stored.
    *_, other = network.sequence(images, scale * foci + offset, torch.tensor([10.0]))
    torch.testing.assert_close(new[0], other[0])
    torch.testing.assert_close(new[1][:, :8], other[1][:, :8])
    torch.testing.assert_close(new[1][:, -6:], other[1][:, -6:])
    # The evidence for a hypothesis is the old one for the same vergence.
    memory, place = network.memory8, 11  # u of the new range
    u = (memory.hypotheses[place] - offset) / scale
    evidence, old = (s[2][:, : 2 * 16].unflatten(1, (16, 2)) for s in (new, state))
    below = int((memory.hypotheses <= u).sum()) - 1
    share = (u - memory.hypotheses[below]) / (memory.hypotheses[1] - memory.hypotheses[0])
    torch.testing.assert_close(evidence[:, place], old[:, below].lerp(old[:, below + 1], share))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-0.5, 1.5), min_size=2, max_size=12), st.floats(0.3, 4.0), st.floats(-1.0, 0.5))
def test_what_was_seen_is_known_in_another_range_too(foci, scale, offset):
    """The evidence of a stream whose range changes is that of the same stream in the new range, but for limits."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    changed, other = Evidence(), Evidence()
    for focus in foci:
        changed.push(image, focus, math.nan)
        other.push(image, min(max(scale * focus + offset, -0.5), 1.5), math.nan)
    changed.rescale(scale, offset)
    torch.testing.assert_close(changed.foci_seen, other.foci_seen, atol=1e-5, rtol=1e-5)
    for evidence in (changed, other):
        evidence.push(image, 0.5, math.nan)
    assert changed.spread == pytest.approx(other.spread)


def test_a_stuck_motor_is_noticed_while_ranges_change():
    """The images follow the focus, or do not, whatever range it is expressed in."""
    draw = np.random.default_rng(0)
    wall = torch.from_numpy(draw.uniform(size=(1, 3, 96, 96)).astype(np.float32))

    def photograph(focus):
        blurred = wall
        for _ in range(round(12 * abs(focus - 0.4))):
            blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(blurred, (1, 1, 1, 1), 'replicate'), 3, 1)
        return (blurred + 0.01 * torch.from_numpy(draw.normal(size=wall.shape).astype(np.float32))).clamp(0, 1)

    def stream(is_stuck):
        evidence, problems = Evidence(), []
        parts = [(0.0, 1.0), (0.23, 0.56), (0.33, 0.47), (0.33, 0.47)] * 5
        for (far, near), (next_far, next_near) in itertools.pairwise(parts):
            for focus in np.linspace(far, near, 5).tolist():
                v = (focus - far) / (near - far)
                problems.append(evidence.push(photograph(0.3 if is_stuck else focus), v, math.nan))
            width = next_near - next_far
            evidence.rescale((near - far) / width, (far - next_far) / width)
        return evidence, problems

    evidence, problems = stream(is_stuck=False)
    assert not any(problems[1:]) and evidence.response > 0.8
    _, problems = stream(is_stuck=True)
    assert problems[-1]


def test_no_lens_state_is_blamed_for_a_change_of_the_range():
    """Foci that lie far outside of one range are apart in another."""
    whole = VergenceRange(0.15, 1.5)
    camera = SyntheticCamera(160, 120, 0, 0.25, 0.35, blur_scale=160.0, lens_range=whole)
    estimator = DepthEstimator(network=Kept(), range_=whole)
    parts = [(0.0, 1.0), (0.25, 0.55), *[(0.33, 0.47)] * 4]
    estimates = []
    for sweep, (far, near) in enumerate(parts * 3):
        range_ = VergenceRange(whole.denormalise(near), whole.denormalise(far))
        estimator.change_range(range_)
        for i, focus in enumerate(sweeps.ramp(range_, FRAMES)):
            image, _, state = camera.capture(0.1 * (FRAMES * sweep + i), focus)
            estimates.append(estimator.push(image, state))
    assert not {estimate.unknown_because for estimate in estimates[FRAMES * len(parts) :]} - {'', ONE_FOCUS}
    assert estimator.evidence.response > 0.7


def test_the_blur_scale_is_that_of_the_range():
    search = BlurScaleSearch(TorchBackend(tiny_stream(), torch.device('cpu')))
    candidates = np.log(BlurScaleSearch.CANDIDATES)
    search.blur_scale = 20.0
    search._curves.append((candidates - math.log(20.0)) ** 2 - 1)
    search.rescale(2.0, -0.3)
    assert search.blur_scale == 10.0  # half as much blur across half the range
    assert candidates[np.argmin(search._curves[0])] == pytest.approx(math.log(10.0), abs=0.3)
