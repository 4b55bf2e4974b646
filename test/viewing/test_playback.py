"""What plays in the live page, without a browser: a page that only keeps what it is shown."""

import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from sharpest_focus import SharpestFocus

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import relative_lens_states
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange, vergence
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.viewing.playback import Playback
from dfd_ros.viewing.recorded_scenes import Recorded, ResultScene, Shot, StreamScene, focal_scene
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

SIZE = 48, 64
FOCI = 2.0, 1.0, 0.5, 0.25
GIVEN = {'confidence': 0.3, 'near': None, 'far': None}


class Enough(Exception):
    pass


class FakePage:
    """Keeps frames; `steps` are called one after the other, before a frame or a pause, and then it is enough."""

    def __init__(self, frames=8, viewers=1):
        self.frames, self.lines, self.waits, self.viewers = [], [], 0, viewers
        self._most = frames
        self.before = {}

    def show(self, frame):
        self.frames.append(frame)
        if action := self.before.get(len(self.frames)):
            action()
        if len(self.frames) >= self._most:
            raise Enough

    def wait(self, timeout=None):
        if timeout < 0.1:  # until the next frame is due
            time.sleep(timeout)
            return False
        self.waits += 1
        if self.waits > 50:
            raise Enough
        return False

    def report(self, status):
        self.lines.append(status)

    def show_controls(self):
        pass

    def forget(self):
        pass


def scene(seed=0, foci=FOCI):
    draw = np.random.default_rng(seed)
    pictures = [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in foci]
    return focal_scene(pictures, [LensState(focus) for focus in foci], None, 'desk')


def playback(*scenes, given=GIVEN, **options):
    estimator = DepthEstimator(network=SharpestFocus(), registration=False)
    names = [str(i) for i in range(len(scenes))]
    return Playback(Recorded('desk', names, lambda i: scenes[i]), estimator, given, rate=30.0, **options)


def played(player, page):
    with pytest.raises(Enough):
        player.run(page)
    return page


def foci_of(page):
    return [frame.focus_distance for frame in page.frames]


def test_a_stack_is_swept_again_and_again():
    page = played(playback(scene()), FakePage(9))
    assert foci_of(page) == [2.0, 1.0, 0.5, 0.25] * 2 + [2.0]
    last = page.frames[-1]
    assert last.range == VergenceRange(0.25, 2.0) and last.threshold == 0.3
    assert np.isfinite(last.depth).all() and not last.camera.is_known


def test_nothing_is_computed_while_nobody_looks():
    player = playback(scene())
    page = played(player, FakePage(viewers=0))
    assert not page.frames and page.waits > 50


def test_pattern_steps_and_focus():
    player = playback(scene())
    player.change(pattern='ping_pong', steps=2)
    page = FakePage(8)
    page.before[4] = lambda: player.change(sweeping=False, focus=0.9)
    assert foci_of(played(player, page)) == [2.0, 0.25, 2.0, 0.25, 1.0, 1.0, 1.0, 1.0]
    assert abs(vergence(0.9) - vergence(1.0)) < abs(vergence(0.9) - vergence(0.5))


def test_the_range_is_that_of_the_sweep_and_of_depth():
    player = playback(scene())
    player.change(range=VergenceRange(0.25, 1.0))
    page = played(player, FakePage(6))
    assert 2.0 not in foci_of(page) and page.frames[-1].range == VergenceRange(0.25, 1.0)
    assert player.limits == VergenceRange(0.25, 2.0)


def test_a_relative_stack_plays_in_its_order():
    states = relative_lens_states(3)
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in states]
    relative = replace(focal_scene(images, states, None, 'photographs'), is_metric=False)
    player = playback(relative)
    page = played(player, FakePage(4))
    assert foci_of(page) == [math.inf, 2.0, 1.0, math.inf] and not player.is_metric
    assert not any(frame.is_metric for frame in page.frames)
    with pytest.raises(InputError, match='--near, --far: 0 has no focus distances'):
        playback(relative, given={'confidence': 0.0, 'near': 0.2, 'far': None})


def test_a_range_that_is_given_holds():
    player = playback(scene(), given={'confidence': 0.0, 'near': 0.2, 'far': math.inf})
    page = played(player, FakePage(3))
    assert page.frames[-1].range == player.limits == VergenceRange(0.2, math.inf)


def test_a_pause_shows_the_last_frame_with_another_threshold():
    player = playback(scene())
    page = FakePage(5)

    def pause():
        player._plays = False

    page.before[3] = pause
    page.before[4] = lambda: player.change(confidence=0.8)
    played(player, page)
    assert foci_of(page)[2] == foci_of(page)[3] == foci_of(page)[4]
    assert [frame.threshold for frame in page.frames] == [0.3, 0.3, 0.3, 0.3, 0.8]


def test_another_scene_starts_from_an_empty_memory():
    player = playback(scene(0), scene(1, (1.0, 0.2)))
    page = FakePage(8)

    def switch():
        player._wanted = 1

    page.before[4] = switch
    played(player, page)
    assert set(foci_of(page)[4:]) == {1.0, 0.2} and page.frames[-1].range == VergenceRange(0.2, 1.0)
    assert player._estimator.resets >= 1


def stream(sweeps=3, **lens):
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in FOCI]
    shots = [
        Shot(pictures[i % len(FOCI)], LensState(focus, stamp=i / 10, **lens), Pinhole(80, 80, 31, 23))
        for i, focus in enumerate(sweeps * FOCI)
    ]
    return StreamScene(lambda: iter(shots))


def test_a_stream_is_played_as_recorded_and_learns_its_range():
    player = playback(stream())
    assert player.settings is None and not player.can_focus
    page = played(player, FakePage(14))
    assert foci_of(page) == [*(4 * FOCI)[:14]]
    assert page.frames[0].range is None and page.frames[0].depth is None and 'range' in page.frames[0].note
    assert player.settings.range == VergenceRange(0.25, 2.0)
    assert page.frames[11].range == VergenceRange(0.25, 2.0)


def test_a_stream_obeys_another_range():
    player = playback(stream(near=0.2, far=4.0))
    page = FakePage(8)
    page.before[4] = lambda: player.change(range=VergenceRange(0.25, 1.0))
    played(player, page)
    assert page.frames[2].range == VergenceRange(0.2, 4.0) and page.frames[-1].range == VergenceRange(0.25, 1.0)
    assert player.limits == VergenceRange(0.2, 4.0)


def test_results_are_shown_again_where_something_changes():
    depth = np.ones(SIZE, np.float32)
    frame = ViewedFrame(
        np.zeros((*SIZE, 3), np.uint8), Pinhole(80, 80, 31, 23), range=VergenceRange(0.5, 2.0), depth=depth
    )
    player = playback(ResultScene(frame))
    page = FakePage(2)
    page.before[1] = lambda: player.change(confidence=0.9)
    played(player, page)
    assert [shown.threshold for shown in page.frames] == [0.3, 0.9] and page.waits < 5


def test_changes_from_many_threads_all_hold():
    player = playback(scene())
    threads = [
        threading.Thread(target=player.change, kwargs={name: value})
        for name, value in (('confidence', 0.7), ('steps', 3), ('pattern', 'jumps'))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settings = player.settings
    assert (settings.confidence, settings.steps, settings.pattern) == (0.7, 3, 'jumps')


def test_playback_keeps_its_rate():
    player = playback(scene())
    player._rate = 20.0
    page = FakePage(6)
    began = time.monotonic()
    played(player, page)
    assert time.monotonic() - began > 5 / 20 * 0.9


def test_frames_of_a_range_without_frames():
    player = playback(scene())
    player.change(range=VergenceRange(0.6, 0.9), steps=5)
    assert set(foci_of(played(player, FakePage(5)))) == {1.0}, 'the nearest in vergence'


@pytest.mark.parametrize('pattern', ['ramp', 'jumps', 'uneven', 'ping_pong'])
def test_every_pattern_covers_the_range(pattern):
    player = playback(scene())
    player.change(pattern=pattern)
    page = played(player, FakePage(16))
    assert {2.0, 0.25} <= set(foci_of(page)) <= set(FOCI)
