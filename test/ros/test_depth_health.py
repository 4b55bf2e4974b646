"""What the depth node notices about its stream: stale foci, lens states of another frame, nothing that comes out."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from dfd_ros.core import sweeps
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.ros.depth_health import BUSY, ENOUGH, TOO_FAST, TOO_OLD, DepthHealth, FocusHistory
from dfd_ros.ros.frame_mailbox import Mailbox, Pace
from dfd_ros.ros.node_parameters import DepthParameters

FOCI = [3.0, 1.0, 0.6, 0.4, 0.3]
LIMITS = DepthParameters()


@pytest.mark.parametrize('frames', [2, 2.5, 4, 5, 7, 10])
@pytest.mark.parametrize('stale_first', [True, False])
def test_a_slow_node_sees_every_focus(frames, stale_first):
    """The camera gives a frame a unit of time, the node takes `frames`. Newest first, it sees the same few."""
    history = FocusHistory()
    mailbox = Mailbox(history.is_staler) if stale_first else Mailbox()
    processed, free_at = [], 0.0
    for i in range(400):
        mailbox.put(FOCI[i % 5])
        if i >= free_at:
            processed.append(mailbox.take())
            history.add(processed[-1])
            free_at = i + frames
    seen = set(processed[-10:])
    if stale_first:
        assert seen == set(FOCI)
    elif frames in (5, 10):
        assert len(seen) == 1


def test_foci_that_never_repeat_are_taken_newest_first():
    history = FocusHistory()
    mailbox = Mailbox(history.is_staler)
    for i in range(100):
        mailbox.put(1.0 + 0.01 * i)
        if i % 5 == 4:
            taken = mailbox.take()
            history.add(taken)
            assert taken == 1.0 + 0.01 * i


@pytest.mark.parametrize('broken', [math.nan, 0.0, -1.0, 5e-324])
def test_a_broken_focus_distance_does_not_push_a_good_one_out(broken):
    history = FocusHistory()
    for focus in (*FOCI, broken):
        history.add(focus)
    assert not history.is_staler(broken, FOCI[0]) and history.is_staler(FOCI[0], broken)
    assert not history.is_staler(broken, 7.0)


def estimate(known=0.9, because='', frames=9):
    depth = np.where(np.arange(100) < 100 * known, 1.0, np.nan).astype(np.float32)[None]
    u = depth * 0
    return Estimate(depth, u, 0.9 * np.nan_to_num(depth), u, u, None, frames, because)


def fill(health, count=2 * ENOUGH, foci=FOCI, **changes):
    for i in range(count):
        health.add_pair()
        health.add_frame(estimate(**changes), foci[i % len(foci)], 0.3)


def test_a_good_stream_is_no_problem():
    health = DepthHealth()
    fill(health)
    assert health.problem(LIMITS) is None
    figures = health.figures()
    assert figures['focus positions'] == 5 and figures['pixels with depth (%)'] == pytest.approx(90)
    assert figures['rate in (Hz)'] == figures['rate out (Hz)'] > 0


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'known': 0.0, 'because': 'the focus has not moved'}, 'depth for 0% of the pixels: the focus has not moved'),
        ({'known': 0.01}, 'depth for 1% of the pixels: confidence is below confidence_threshold'),
        ({'foci': FOCI[:2]}, 'only 2 focus positions in'),
        ({'foci': FOCI[:1]}, 'only 1 focus position in'),
    ],
)
def test_bad_depth_is_a_problem(changes, words):
    health = DepthHealth()
    fill(health, **changes)
    assert words in health.problem(LIMITS)


def test_depth_that_the_filters_remove_is_a_problem():
    health = DepthHealth()
    fill(health)
    for _ in range(ENOUGH):
        health.add_pair()
        health.add_frame(estimate(), FOCI[0], 0.3, 0.01)
    assert health.problem(LIMITS) == (
        'depth for 1% of the pixels: the filters edge_jump, speckle_size and out_of_range remove it'
    )


@pytest.mark.parametrize('reason', [TOO_FAST, TOO_OLD])
def test_parameters_that_let_nothing_through_are_a_problem(reason):
    health = DepthHealth()
    for _ in range(ENOUGH):
        health.add_pair()
        health.drop(reason)
    assert health.problem(LIMITS) == f'no depth: pairs are dropped because of {reason}'


def test_a_pace_is_kept_on_average_and_another_counts_at_once():
    pace, now, taken = Pace(), 0.0, []
    while now < 10:
        if not pace.left(3.0, now):
            pace.take(now)
            taken.append(now)
        now += 0.1  # the camera is no multiple of the pace
    assert len(taken) == pytest.approx(30, abs=1)
    for slow in (1e-9, 5e-324):
        assert pace.left(slow, now) == 0
        pace.take(now)
        assert pace.left(slow, now + 1000) > 1000
    assert pace.left(3.0, now) == 0 and pace.left(0.0, now) == 0


def test_one_outlier_does_not_merge_all_focus_positions():
    health = DepthHealth()
    fill(health, count=20, foci=[*FOCI * 4, 0.01][1:])
    assert health.problem(LIMITS) is None and health.figures()['focus positions'] == 6
    history = FocusHistory()
    for focus in (*FOCI, 0.01, *FOCI):
        history.add(focus)
    assert history.is_staler(FOCI[0], FOCI[-1])


def test_known_pixels_of_before_hide_nothing():
    health = DepthHealth()
    fill(health)
    fill(health, 1, known=0.0, because='the images do not change')
    assert health.problem(LIMITS) == 'the images do not change'


@pytest.mark.parametrize(
    'lag, words, delay',
    [
        (0, '', ''),
        (None, 'pairs with the image 1 frame after the one it came with', '0.15 s'),
        (-1, 'is stamped 1 frame late: the images show the focus of the lens states 1 frame after', '0.15 s'),
        (2, 'is stamped 2 frames early: the images show the focus of the lens states 2 frames before', '-0.15 s'),
    ],
)
def test_late_lens_states_are_reported_with_the_fitting_delay(lag, words, delay):
    health = DepthHealth()
    for i in range(30):
        health.offset.add_image(0.1 * i)
        health.offset.add_pair(0.1 * i, 0.1 * (i - 1))
    health.note_evidence(SimpleNamespace(response=0.8, lag=lag))
    late = health.late_lens_states(0.05)
    assert late.startswith(words) and bool(late) == bool(words)
    assert not delay or f'set lens_state_delay to {delay}' in late


@pytest.mark.parametrize(
    'foci, is_confirmed',
    [
        (FOCI * 12, False),  # ramp
        ([*FOCI, *FOCI[3:0:-1]] * 8, True),  # ping-pong
        (sweeps.jumps(VergenceRange(0.3, 3.0), 5, 12), True),
        ([focus for focus in FOCI * 6 for _ in range(2)], True),  # two frames a step
        (FOCI[:1] * 60, True),
    ],
)
def test_images_confirm_lens_states_unless_the_focus_repeats_a_ramp(foci, is_confirmed):
    health = DepthHealth()
    for i, focus in enumerate(foci):
        health.offset.add_image(0.1 * i)
        health.offset.add_pair(0.1 * i, 0.1 * (i - 1))
        health.order.add(focus)
    health.note_evidence(SimpleNamespace(response=0.9, lag=0))
    late = health.late_lens_states(0.0)
    assert not late if is_confirmed else 'pairs with the image 1 frame after the one it came with' in late
    figure = health.figures()['frames from lens state to image, by sharpness']
    assert figure == (0 if is_confirmed else 'unknown')


def test_nothing_that_comes_out_is_a_problem():
    health = DepthHealth()
    for _ in range(ENOUGH):
        health.add_pair()
        health.refuse('image_raw: unknown encoding')
    assert health.problem(LIMITS) == 'no depth: image_raw: unknown encoding'
    fill(health, 2)
    assert '5 of the last 7 pairs are refused: image_raw: unknown encoding' in health.problem(LIMITS)
    health = DepthHealth()
    for _ in range(ENOUGH):
        health.add_pair()
        health.add_unsettled()
    assert 'settled is false' in health.problem(LIMITS)


def test_restarts_are_a_problem_where_they_are_many():
    health = DepthHealth()
    fill(health)
    for _ in range(LIMITS.max_resets + 1):
        assert health.problem(LIMITS) is None
        health.add_reset('f_number 1.8, then nan')
    assert health.problem(LIMITS) == 'the memory restarted 11 times in the last minute: f_number 1.8, then nan'


def test_images_without_a_lens_state_are_a_share():
    health = DepthHealth()
    health.note_images(arrived=10, unpaired=1)
    health.note_images(arrived=20, unpaired=9)
    assert health.unpaired_share() == pytest.approx(9 / 20)


def test_latency_of_another_clock_is_not_counted():
    health = DepthHealth()
    for seconds in (3.9e9, -3600.0):
        health.add_latency(seconds)
    assert math.isnan(health.figures()['latency, median (ms)'])
    for seconds in np.linspace(0, 0.1, 101):
        health.add_latency(seconds)
    figures = health.figures()
    assert [figures[f'latency, {name} (ms)'] for name in ('median', '95 %', '99 %')] == pytest.approx([50, 95, 99])


def test_low_confidence_is_remarked_on():
    health = DepthHealth()
    fill(health)
    assert health.remark() is None
    for focus in FOCI:
        u = np.ones((4, 4), np.float32)
        health.add_frame(Estimate(u, u, 0.39 * u, u, u, None, 9), focus, 0.0)
    assert 'confidence of the depth is 0.39 on average: plain surfaces' in health.remark()
    assert health.problem(LIMITS) is None


def test_thresholds_are_parameters():
    health = DepthHealth()
    fill(health, foci=FOCI[:2], known=0.01)
    assert health.problem(replace(LIMITS, min_known=0.0, min_positions=2)) is None


@pytest.mark.parametrize(
    'limit, words',
    [
        ({'min_rate': 900.0}, 'depth images a second, less than min_rate (900 Hz)'),
        ({'max_latency': 0.1}, 'latency is 0.200 s (95 %), more than max_latency (0.1 s)'),
        ({'max_dropped': 0.2}, '3 of the last 10 pairs are dropped, more than the share max_dropped'),
        ({'min_confidence': 0.95}, 'confidence is 0.90, less than min_confidence (0.95): plain surfaces'),
    ],
)
def test_figures_beyond_set_limits_are_problems(limit, words):
    health = DepthHealth()
    fill(health)
    for reason in (BUSY, BUSY, TOO_FAST):
        health.drop(reason)
    health.add_latency(0.2)
    assert health.problem(LIMITS) is None
    assert words in health.problem(replace(LIMITS, **limit))
    figures = health.figures()
    assert (figures['dropped'], figures['dropped: network busy'], figures['dropped: max_rate']) == (3, 2, 1)
    assert figures['confidence of the depth'] == pytest.approx(0.9)


@pytest.mark.parametrize(
    'foci, expected',
    [
        (FOCI * 3, 5),  # ramp
        (FOCI[:3] * 3, 3),
        ([focus for focus in FOCI * 3 for _ in range(2)], 5),  # two frames a step
        ([*FOCI, *FOCI[3:0:-1], *FOCI[:2]], 5),  # ping-pong
        (FOCI[:1] * 9, 0),  # no sweep has ended
    ],
)
def test_focus_positions_of_the_last_sweep(foci, expected):
    health = DepthHealth()
    fill(health, len(foci), foci)
    assert health.figures()['focus positions in the last sweep'] == expected
