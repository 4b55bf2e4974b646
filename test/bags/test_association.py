"""What belongs together in time, and where a stream is cut into sweeps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd_ros.bags.association import (
    REPEATED,
    SEVERAL_CAMERAS,
    Counts,
    DepthExposure,
    Exposure,
    Frame,
    LensReport,
    associate,
)
from dfd_ros.bags.sweep_cutting import sweeps
from dfd_ros.core.lens_state import LensState


def image(stamp, focus=None, received=None):
    return Exposure(
        stamp,
        lambda: np.zeros((1, 1, 3), np.uint8),
        state=None if focus is None else LensState(focus),
        received=stamp if received is None else received,
    )


def lens(stamp, received=None):
    return LensReport(LensState(1.0, stamp=stamp), stamp if received is None else received)


def depth(stamp, received=None):
    return DepthExposure(Exposure(stamp, lambda: None, received=stamp if received is None else received))


def pairs(events, tolerance=0.02):
    counts = Counts()
    return [(frame.stamp, frame.depth.stamp) for frame in associate(events, tolerance, counts)], counts


def test_the_nearest_depth_within_the_tolerance():
    found, counts = pairs(
        [lens(1.0), image(1.0), depth(0.99), depth(1.005), depth(1.04), image(2.0), lens(2.0), depth(2.03), depth(9.0)]
    )
    assert found == [(1.0, 1.005)]
    assert counts.images == 2 and counts.left_out == {'with no depth at that time': 1}
    assert counts.gap == pytest.approx(0.03)


def test_an_image_without_its_lens_state_is_left_out():
    found, counts = pairs([image(1.0), lens(1.01), depth(1.0), depth(9.0), lens(9.0)])
    assert found == [] and counts.left_out == {'with no lens state': 1}


def of_camera(event, name):
    return replace(event, frame_id=name)


def test_cameras_that_are_triggered_together_keep_their_lens_states():
    """On one topic, as two drivers without namespaces publish."""
    events = []
    for i in range(3):
        focus = LensState(1.0, stamp=float(i)), LensState(2.0, stamp=float(i))
        states = [of_camera(LensReport(state, float(i)), name) for state, name in zip(focus, 'ab')]
        images = [of_camera(image(float(i)), name) for name in 'ba']
        events += [*images, *(states if i % 2 else states[::-1]), depth(float(i))]
    counts = Counts()
    found = list(associate([*events, lens(9.0), depth(9.0)], 0.02, counts))
    assert len(found) == 6 and not counts.left_out
    assert all(frame.state.focus_distance == {'a': 1.0, 'b': 2.0}[frame.image.frame_id] for frame in found)


def test_lens_states_of_other_cameras_are_of_no_use():
    states = [of_camera(lens(1.0), name) for name in 'ab']
    counts = Counts()
    assert not list(associate([*states, of_camera(image(1.0), 'c'), depth(1.0), depth(9.0)], 0.02, counts))
    assert counts.left_out == {SEVERAL_CAMERAS: 1}


def test_a_clock_that_stands_still_pairs_nothing_but_the_first():
    events = [event for i in range(5) for event in (image(7.0, received=7.0 + i), lens(7.0, 7.0 + i), depth(7.0))]
    found, counts = pairs(events)
    assert len(found) == 1 and counts.left_out == {REPEATED: 4}


@pytest.mark.parametrize(
    'late', [{'image': 2.0}, {'image': 50.0}, {'depth': 5.0}, {'lens': 50.0}, {'image': 30.0, 'depth': 9.0}]
)
def test_streams_that_are_recorded_late_lose_nothing(late):
    """Depth at 90 Hz, so that there is more of it than of anything."""
    events = (
        [image(i / 30) for i in range(300)] + [lens(i / 30) for i in range(300)] + [depth(i / 90) for i in range(900)]
    )
    late = {Exposure: late.get('image', 0.0), LensReport: late.get('lens', 0.0), DepthExposure: late.get('depth', 0.0)}

    def received(event):
        return (event.exposure if isinstance(event, DepthExposure) else event).received + late[type(event)]

    found, counts = pairs(sorted(events, key=received))
    assert found == [(i / 30, i / 30) for i in range(300)] and not counts.left_out


@pytest.mark.parametrize(
    'late, received, says',
    [
        (0, 0.0, ''),
        (1, 0.0, 'lens states were recorded 1 frame before the images that have their stamps'),
        (-2, 0.0, 'lens states were recorded 2 frames after the images that have their stamps'),
        (0, 2.0, ''),  # images that come 2 s late, by a slow connection
        (0, math.nan, ''),
    ],
)
def test_lens_states_with_the_stamps_of_other_images_are_noticed(late, received, says):
    """Each is recorded with its own image, but has the stamp of one that many frames later."""
    events = [(i / 30, image(i / 30, received=i / 30 + received)) for i in range(100)]
    events += [(i / 30 + 1e-4, lens((i + late) / 30, received=i / 30 + 1e-4)) for i in range(100)]
    events += [(i / 30 + 2e-4, depth(i / 30)) for i in range(100)]
    _, counts = pairs([event for _, event in sorted(events, key=lambda item: item[0])])
    assert counts.late_lens_states.startswith(says) and bool(counts.late_lens_states) == bool(says)


@pytest.mark.parametrize('stamp', [1e9, -1e9])
@pytest.mark.parametrize('kind', [image, lens, depth])
def test_a_wrong_stamp_costs_that_message_alone(kind, stamp):
    events = [one(i / 30) for i in range(200) for one in (image, lens, depth)]
    events.insert(100, kind(stamp, received=100 / 90))
    found, counts = pairs(events)
    assert found == [(i / 30, i / 30) for i in range(200)] and counts.left_out.total() == (kind is image)


def test_what_never_comes_is_not_waited_for():
    """Else the images would pile up."""
    events = iter([event for i in range(1000) for event in (image(i / 30, focus=1.0),)])
    counts = Counts()
    list(associate(events, 0.02, counts))
    assert counts.left_out == {'with no depth at that time': 1000}


@given(st.permutations([stream for stream in range(3) for _ in range(4)]), st.integers(0, 5))
def test_which_stream_comes_first_does_not_matter(order, lag):
    """Each stream in its own order, however they interleave: each image gets its own depth."""
    streams = [
        iter([kind(i * 0.1 + delay) for i in range(4)])
        for kind, delay in ((image, 0.0), (lens, 0.0), (depth, 0.003 * lag))
    ]
    found, counts = pairs([next(streams[stream]) for stream in order])
    assert found == [(i * 0.1, i * 0.1 + 0.003 * lag) for i in range(4)] and not counts.left_out


def cut(distances, times=None, **options):
    times = times or [i / 30 for i in range(len(distances))]
    return [
        [frame.state.focus_distance for frame in sweep]
        for sweep in sweeps([Frame(image(t), LensState(d), image(t)) for d, t in zip(distances, times)], **options)
    ]


RAMP = [math.inf, 2.0, 1.0, 0.5]


def test_ramps_that_jump_back():
    assert cut(RAMP * 3) == [RAMP] * 3
    assert cut(RAMP[::-1] * 2) == [RAMP[::-1]] * 2


def test_ping_pong_is_cut_where_it_turns():
    assert cut(RAMP + RAMP[-2::-1]) == [RAMP, RAMP[-2::-1]]


def test_several_frames_of_one_focus_stay_together():
    slow = [focus for focus in RAMP for _ in range(3)]
    assert cut(slow * 2) == [slow, slow]


def test_a_pause_ends_a_sweep():
    assert cut(RAMP, [0.0, 0.1, 5.0, 5.1]) == [RAMP[:2], RAMP[2:]]


@pytest.mark.parametrize('length', [0, 2])
def test_two_cameras_are_not_mixed(length):
    frames = [
        Frame(replace(image(i / 30), frame_id=name), LensState(1 / (i + 1)), image(i / 30))
        for i, name in enumerate('aaabba')
    ]
    names = [[frame.image.frame_id for frame in sweep] for sweep in sweeps(frames, length=length)]
    assert names == ([['a'] * 3, ['b'] * 2, ['a']] if not length else [['a'] * 2, ['a'], ['b'] * 2, ['a']])


def test_a_number_of_frames():
    order = [1.0, 0.5, 2.0, 0.7, 3.0, 0.6, 1.5]
    assert cut(order, length=3) == [order[:3], order[3:6], order[6:]]


def test_long_sweeps_are_thinned_evenly():
    long = [1 / (0.1 * (i + 1)) for i in range(100)]
    (thinned,) = cut(long, largest=30)
    assert thinned == long[::4]
