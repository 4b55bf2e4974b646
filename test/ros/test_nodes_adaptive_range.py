"""Camera, sweep and depth nodes that sweep only the depths that there are."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')

from depth_rig import Rig
from ros_processes import wait_until
from sensor_msgs.msg import Image
from shallow_scene import ShallowScene

from dfd_ros.msg import FocusRange, LensState
from dfd_ros.ros import qos

SUPPORT = Path(__file__).parents[1] / 'support'


def test_the_sweep_follows_the_depths_and_looks_at_everything_again(start_node, observer, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', f'{SUPPORT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    where = '-r', '__ns:=/shallow'
    states = observer.listen(LensState, '/shallow/lens_state', qos.LENS_STATE_SUBSCRIBER)
    ranges = observer.listen(FocusRange, '/shallow/focus_range')
    depth = observer.listen(Image, '/shallow/depth/image_rect', qos.SENSOR_SUBSCRIBER)
    nodes = [
        start_node('camera', *where, source='shallow_scene:ShallowScene', rate=10.0, settle_time=0.01),
        start_node('sweep', *where),
        start_node('depth', *where, adaptive_range=True),
    ]

    def is_narrow(message):
        return 0.15 < message.near_distance < ShallowScene.NEAR and ShallowScene.FAR < message.far_distance < 1.0

    def is_everything(message):
        return message.near_distance == 0.15 and message.far_distance == 1.5

    wait_until(lambda: ranges and is_narrow(ranges[-1]), 'a part of the range')
    states.clear()
    wait_until(lambda: len({state.focus_distance for state in states if state.settled}) >= 4, 'a sweep')
    part = ranges[-1]
    inside = [s for s in states if part.near_distance * 0.99 < s.focus_distance < part.far_distance * 1.01]
    assert len(inside) >= len(states) - 3  # but for commands on their way
    wait_until(lambda: is_everything(ranges[-1]), 'everything')
    wait_until(lambda: is_narrow(ranges[-1]), 'a part again')
    values = np.frombuffer(depth[-1].data, np.float32)
    known = values[np.isfinite(values)]
    assert known.size and np.median(known) == pytest.approx(0.353, abs=0.03)
    for node in nodes:
        assert node.stop() == 0, node.output
        assert 'Traceback' not in node.output


def test_a_lens_whose_limits_nobody_says_is_warned_of(start_node, observer):
    rig = Rig(observer, start_node('depth', '-r', '__ns:=/limitless', adaptive_range=True), '/limitless')
    ranges = observer.listen(FocusRange, '/limitless/focus_range')

    def warned():
        rig.send(near_distance=float('nan'), far_distance=float('nan'))
        time.sleep(0.1)
        return 'adaptive_range: the lens state does not say what the lens can focus' in rig.process.output

    wait_until(warned, 'a warning')
    assert not ranges
    rig.answer()
    wait_until(lambda: ranges, 'a range')
    assert (ranges[0].near_distance, ranges[0].far_distance) == (0.3, 3.0)
