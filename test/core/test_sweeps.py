"""Sweeps cover the range, in the order they promise."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, vergence

ranges = st.builds(
    lambda near, ratio: VergenceRange(near, near * ratio),
    st.floats(0.02, 50),
    st.one_of(st.floats(1.01, 1e3), st.just(math.inf)),
)
frame_counts = st.integers(2, 40)


def steps(distances):
    return [vergence(b) - vergence(a) for a, b in itertools.pairwise(distances)]


@given(ranges, frame_counts, st.integers(0, 9))
@pytest.mark.parametrize(
    'sweep',
    [
        lambda r, n, _: sweeps.ramp(r, n),
        lambda r, n, _: sweeps.ping_pong(r, n),
        lambda r, n, _: sweeps.ramp(r, n, near_to_far=True),
        lambda r, n, seed: sweeps.jumps(r, n, seed=seed),
        lambda r, n, seed: sweeps.uneven(r, n, seed=seed),
        lambda r, n, seed: sweeps.uneven(r, n, near_to_far=True, seed=seed),
    ],
)
def test_every_sweep_covers_its_range_and_does_not_leave_it(sweep, range_, frames, seed):
    distances = sweep(range_, frames, seed)
    assert min(distances) == range_.near and max(distances) == range_.far
    assert len(set(distances)) == frames


@given(ranges, frame_counts)
def test_ramp_has_even_steps_of_vergence_towards_the_near_end(range_, frames):
    even = [range_.width / (frames - 1)] * (frames - 1)
    assert steps(sweeps.ramp(range_, frames)) == pytest.approx(even, rel=1e-4)
    assert sweeps.ramp(range_, frames, near_to_far=True) == sweeps.ramp(range_, frames)[::-1]


def test_a_ramp_from_infinity():
    assert sweeps.ramp(VergenceRange(0.5, math.inf)) == pytest.approx([math.inf, 2.0, 1.0, 2 / 3, 0.5])


@given(ranges, frame_counts, st.integers(1, 5))
def test_ping_pong_turns_without_standing_still(range_, frames, ramps):
    distances = sweeps.ping_pong(range_, frames, ramps)
    assert len(distances) == ramps * (frames - 1) + 1
    even = range_.width / (frames - 1)
    for i, step in enumerate(steps(distances)):
        assert step == pytest.approx(even if i // (frames - 1) % 2 == 0 else -even, rel=1e-4)


@given(ranges, frame_counts, st.integers(1, 4), st.integers(0, 99))
def test_jumps_are_a_ramp_out_of_order(range_, frames, ramps, seed):
    distances = sweeps.jumps(range_, frames, ramps, seed=seed)
    for i in range(ramps):
        assert sorted(distances[i * frames : (i + 1) * frames]) == sorted(sweeps.ramp(range_, frames))
    assert distances == sweeps.jumps(range_, frames, ramps, seed=seed)


def test_jumps_jump():
    distances = sweeps.jumps(VergenceRange(0.5, 8), 10, 3, seed=1)
    assert distances[:10] != sorted(distances[:10], reverse=True)
    assert distances[:10] != distances[10:20]


@given(ranges, frame_counts, st.integers(0, 99))
def test_uneven_steps_are_monotonic_and_differ_by_less_than_four(range_, frames, seed):
    sizes = steps(sweeps.uneven(range_, frames, seed=seed))
    assert min(sizes) > 0
    assert max(sizes) <= 4.001 * min(sizes)


def test_uneven_depends_on_the_seed():
    range_ = VergenceRange(0.5, 8)
    assert sweeps.uneven(range_, 6, seed=1) == sweeps.uneven(range_, 6, seed=1)
    assert sweeps.uneven(range_, 6, seed=1) != sweeps.uneven(range_, 6, seed=2)
    assert sweeps.uneven(range_, 6) != sweeps.ramp(range_, 6)


@pytest.mark.parametrize('sweep', [sweeps.ramp, sweeps.ping_pong, sweeps.jumps, sweeps.uneven])
@pytest.mark.parametrize('frames', [1, 0, -3])
def test_too_few_frames_are_refused(sweep, frames):
    with pytest.raises(InputError, match=f'sweep: {frames} frames'):
        sweep(VergenceRange(0.5, 2), frames)
