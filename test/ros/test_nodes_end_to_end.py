"""Camera, sweep and depth nodes together, as a user starts them, on a focal stack folder."""

import math
import signal

import numpy as np
import pytest

pytest.importorskip('rclpy')

from rclpy.qos import QoSReliabilityPolicy
from ros_processes import wait_until
from sensor_msgs.msg import Image

from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import qos

DISTANCES = [math.inf, 2.0, 1.0, 2 / 3, 0.5]


@pytest.fixture(scope='module')
def stack_folder(tmp_path_factory):
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp('end_to_end') / 'stack'
    FocalStack(
        [random.integers(0, 256, (64, 96, 3), np.uint8) for _ in DISTANCES],
        [LensState(d, focal_length=0.004, f_number=1.8, pixel_pitch=2e-6) for d in DISTANCES],
    ).write(folder)
    return folder


def test_every_settled_frame_of_the_sweep_gets_its_depth(start_node, observer, stack_folder, random_weights):
    states = observer.listen(LensStateMessage, 'lens_state', qos.LENS_STATE_SUBSCRIBER)
    depth = observer.listen(Image, 'depth/image_rect', qos.PUBLISHER)
    nodes = {
        # Images sent again where one is lost: the override of ROS reaches the subscription.
        'depth': start_node(
            'depth',
            '-p',
            'qos_overrides./image_raw.subscription.reliability:=reliable',
            weights=random_weights,
            confidence_threshold=0.0,
        ),
        'camera': start_node('camera', source='stack', stack=stack_folder, rate=5.0, settle_time=0.01),
        'sweep': start_node('sweep', steps=5),
    }

    def answered():
        """The lens states of the images that depth came for, in the order of the depth images."""
        by_stamp = {(s.header.stamp.sec, s.header.stamp.nanosec): s for s in list(states)}
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in list(depth)]
        return [by_stamp[stamp] for stamp in stamps if stamp in by_stamp]

    def focus_positions():
        return {DISTANCES.index(pytest.approx(state.focus_distance)) for state in answered()}

    # A slow machine drops frames, but not the same of every sweep for ever.
    wait_until(lambda: len(answered()) >= 10 and focus_positions() == set(range(5)), 'depth at every focus')
    assert all(state.settled for state in answered())
    assert max(state.command_id for state in answered()) >= 5
    reliability = [info.qos_profile.reliability for info in observer.node.get_subscriptions_info_by_topic('/image_raw')]
    assert reliability == [QoSReliabilityPolicy.RELIABLE]
    for message in depth:
        array = np.frombuffer(message.data, np.float32)
        assert message.header.frame_id == 'focus_camera_optical_frame'
        assert (array[np.isfinite(array)] >= 0.5 / 2).all()
    assert np.isfinite(array).any()  # of the last: the first one has seen one focus

    for (name, process), number in zip(nodes.items(), (signal.SIGINT, signal.SIGTERM, signal.SIGINT)):
        assert process.stop(number) == 0, f'{name}: {process.output}'
        assert 'Traceback' not in process.output and 'error' not in process.output.lower()


def test_a_signal_right_after_the_start_ends_quietly(start_node, random_weights):
    process = start_node('depth', weights=random_weights)
    # ROS is up and the weights are read; the worker perhaps does not run yet.
    wait_until(lambda: 'pairs by' in process.output or process.process.poll() is not None, 'the start')
    assert process.stop(signal.SIGINT) == 0
    assert 'Traceback' not in process.output
