"""Whatever comes in, depth that is given as known was seen at two foci at least."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros import networks
from dfd_ros.core.lens_state import LensState
from dfd_ros.inference.estimator import DepthEstimator

LENS = LensState(1.0, 0.0043, 1.8, 2e-6, near=0.3, far=math.inf)
DISTINCT = 0.04  # of the range in vergence
MARGIN = 12  # px, to which the view of the memory and its cells are exact


@dataclass(frozen=True)
class Shot:
    """A frame: focus and magnification, image, and what interrupts the stream before it."""

    focus: float
    magnification: float
    image: int
    change: str


SHOTS = st.builds(
    Shot,
    st.sampled_from([math.inf, 3.0, 1.0, 1.001, 0.98, 0.5, 0.35, 0.3]),
    st.sampled_from([1.0, 1.0, 1.6, 0.6]),
    st.integers(0, 3),
    st.sampled_from([''] * 12 + ['gap', 'back', 'size', 'lens']),
)


@pytest.fixture(scope='module')
def estimator():
    torch.manual_seed(0)
    tiny = networks.create('stream', channels=[8] * 4, hypotheses=6, kinds=[1, 2, 1], hidden=[4, 4])
    return DepthEstimator(network=tiny, device='cpu', registration=False, resolution=None)


def seen_at_two_foci(shots: list[Shot], height: int, width: int) -> np.ndarray:
    """(H, W) bool: pixels of the last of these shots whose place in the scene was in view at two foci, by geometry."""
    y, x = (abs(np.arange(n) - (n - 1) / 2) for n in (height, width))
    foci = []
    for shot in shots:
        zoom = shot.magnification / shots[-1].magnification
        in_view = (y * zoom <= height / 2 + MARGIN)[:, None] & (x * zoom <= width / 2 + MARGIN)
        foci.append(np.where(in_view, LENS.range.normalise(shot.focus), np.nan))
    with np.errstate(invalid='ignore'):
        return np.fmax.reduce(foci) - np.fmin.reduce(foci) >= DISTINCT


@pytest.mark.slow(reason='the shipped network sees many random sweeps')
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(SHOTS, min_size=2, max_size=12))
def test_known_depth_was_seen_at_two_foci(estimator, shots):
    images = np.random.default_rng(0).integers(0, 255, (4, 80, 96, 3), dtype=np.uint8)
    estimator.reset()
    since_reset: list[Shot] = []
    stamp, f_number, height = 100.0, 1.8, 64
    for shot in shots:
        stamp += {'gap': 5.0, 'back': -1.0}.get(shot.change, 0.03)
        height = 144 - height if shot.change == 'size' else height
        f_number = 4.6 - f_number if shot.change == 'lens' else f_number
        since_reset = [shot] if shot.change else [*since_reset, shot]
        state = replace(
            LENS, focus_distance=shot.focus, magnification=shot.magnification, stamp=stamp, f_number=f_number
        )
        estimate = estimator.push(images[shot.image, :height], state)
        known = ~np.isnan(estimate.depth) | (estimate.confidence > 0)
        unfounded = known & ~seen_at_two_foci(since_reset, height, 96)
        assert not unfounded.any(), f'{unfounded.sum()} pixels after {len(since_reset)} frames'


def test_it_is_known_after_two_foci(estimator):
    """The property above would hold for an estimator that never knows anything."""
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    estimator.reset()
    for image, focus in zip(images, (2.0, 0.5)):
        estimate = estimator.push(image, replace(LENS, focus_distance=focus, magnification=1.0))
    assert np.isfinite(estimate.depth).mean() > 0.5
