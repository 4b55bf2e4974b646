"""Messages of one exposure, put together whichever of them there are."""

import pytest

pytest.importorskip('rclpy')
from dfd_ros.ros import frame_assembler
from dfd_ros.ros.frame_assembler import ALIVE, MAX_WAITING, FrameAssembler, Newest

STEP = 100_000_000  # ns


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(frame_assembler.time, 'monotonic', lambda: now[0])
    return now


def test_a_frame_is_complete_with_all_topics_that_come(clock):
    frames = FrameAssembler('depth', 'image')
    assert frames.push('image', STEP, 'i1') == {'image': 'i1'}, 'nothing else has come yet'
    assert frames.push('depth', STEP, 'd1') is None, 'it was shown without'
    assert frames.push('image', 2 * STEP, 'i2') is None
    assert frames.push('depth', 2 * STEP, 'd2') == {'image': 'i2', 'depth': 'd2'}
    assert frames.push('coc', 2 * STEP, 'c2') is None
    assert frames.push('image', 3 * STEP, 'i3') is frames.push('depth', 3 * STEP, 'd3') is None
    assert frames.push('coc', 3 * STEP, 'c3') == {'image': 'i3', 'depth': 'd3', 'coc': 'c3'}


def test_images_that_get_no_depth_are_left_out(clock):
    frames = FrameAssembler('depth', 'image')
    frames.push('depth', STEP, 'd')
    shown = []
    for i in range(2, 200):
        shown.append(frames.push('image', i * STEP, i))
        if i % 5 == 0:
            shown.append(frames.push('depth', i * STEP, i))
        assert len(frames._waiting) <= MAX_WAITING
        clock[0] += 0.1
    complete = [parts for parts in shown if parts]
    assert [parts['image'] for parts in complete] == [i for i in range(5, 200, 5)]
    assert all(parts['image'] == parts['depth'] for parts in complete)


def test_a_topic_that_falls_silent_is_not_waited_for(clock):
    frames = FrameAssembler('depth', 'image')
    for i in range(1, 4):
        frames.push('image', i * STEP, i), frames.push('depth', i * STEP, i)
    clock[0] += ALIVE + 0.1
    assert frames.push('image', 30 * STEP, 30) == {'image': 30}
    assert frames.silent_for('depth') == pytest.approx(ALIVE + 0.1) and frames.silent_for('coc') is None
    assert frames.push('depth', 31 * STEP, 31) is None and frames.push('image', 31 * STEP, 31) is not None


def test_a_clock_that_is_set_back_starts_anew(clock):
    frames = FrameAssembler('depth', 'image')
    assert frames.push('image', 100 * STEP, 100)
    assert frames.push('image', 99 * STEP, 99) is None, 'only late'
    assert frames.push('image', 5 * STEP, 5) == {'image': 5}
    assert frames.push('image', 6 * STEP, 6) == {'image': 6}


def test_the_newest_are_found_by_stamp():
    states = Newest(3)
    assert states.last is None and states.at(0) is None
    for i in range(5):
        states.add(i * STEP, i)
    assert states.last == 4 and states.at(3 * STEP) == 3 and states.at(3 * STEP + 1_000_000) == 3
    assert states.at(3 * STEP + 20_000_000) is None and states.at(0) is None, 'forgotten'
