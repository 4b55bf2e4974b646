"""Transforms between messages and matrices, and where the extrinsics of a rig come from."""

import math

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

import rclpy
from geometry_msgs.msg import Quaternion, Transform, Vector3

from dfd_ros.calibration.calibration_file import Extrinsics
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import matrix_from_rpy
from dfd_ros.ros import extrinsics_source

CALIBRATED = Extrinsics('focus', 'rgbd', (0.05, -0.01, 0.002), (0.1, -0.2, 3.0))


@pytest.fixture(scope='module')
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('test_transforms', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def message_from_matrix(matrix):
    """The message of a (4, 4) transform."""
    turn = cv2.Rodrigues(matrix[:3, :3])[0][:, 0]  # axis times angle
    half = np.linalg.norm(turn) / 2
    x, y, z = turn / 2 * np.sinc(half / np.pi)
    w = math.cos(half)
    return Transform(
        translation=Vector3(x=matrix[0, 3], y=matrix[1, 3], z=matrix[2, 3]), rotation=Quaternion(x=x, y=y, z=z, w=w)
    )


def test_a_quaternion_turns_as_it_should():
    half = math.sqrt(0.5)
    message = Transform(translation=Vector3(x=1.0, y=2.0, z=3.0), rotation=Quaternion(x=0.0, y=0.0, z=half, w=half))
    turned = extrinsics_source.matrix_from_message(message) @ [1, 0, 0, 1]  # a quarter about z takes x to y
    np.testing.assert_allclose(turned, [1, 3, 3, 1], atol=1e-12)


@pytest.mark.parametrize('rpy', [(0, 0, 0), (0.1, -0.2, 3.0), (math.pi, 0, 0), (0, math.pi / 2, 0.3), (-2, 1, -3)])
def test_there_and_back(rpy):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = matrix_from_rpy(*rpy), (0.1, -2, 30)
    message = message_from_matrix(matrix)
    np.testing.assert_allclose(extrinsics_source.matrix_from_message(message), matrix, atol=1e-9)
    with pytest.raises(InputError, match='has length 0, it must be 1'):
        extrinsics_source.matrix_from_message(Transform(rotation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


def test_extrinsics_come_from_the_file_where_tf_has_none(node):
    source = extrinsics_source.ExtrinsicsSource(node, CALIBRATED)
    np.testing.assert_allclose(source.matrix('focus', 'rgbd'), CALIBRATED.matrix)
    np.testing.assert_allclose(source.matrix('rgbd', 'focus') @ CALIBRATED.matrix, np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(source.matrix('lidar', 'lidar'), np.eye(4))


def test_extrinsics_that_are_nowhere(node):
    with pytest.raises(InputError, match="no transform from 'lidar' to 'focus'"):
        extrinsics_source.ExtrinsicsSource(node, CALIBRATED).matrix('focus', 'lidar')


def test_one_listener_serves_all_frames(node):
    """A sender chooses the frames of its messages: there are as many as it likes."""
    pytest.importorskip('tf2_ros')
    source = extrinsics_source.ExtrinsicsSource(node)
    counts = []
    for i in range(3):
        with pytest.raises(InputError):
            source.matrix('focus', f'camera_{i}')
        counts.append(len(list(node.subscriptions)))
    assert len(set(counts)) == 1


def test_extrinsics_come_from_tf_where_it_has_them(node):
    tf2_ros = pytest.importorskip('tf2_ros')
    from geometry_msgs.msg import TransformStamped
    from rclpy.executors import SingleThreadedExecutor

    other = Extrinsics('focus', 'rgbd', (1.0, 2.0, 3.0), (0.0, 0.5, 0.0))
    source = extrinsics_source.ExtrinsicsSource(node, CALIBRATED)
    stamped = TransformStamped(child_frame_id='rgbd', transform=message_from_matrix(other.matrix))
    stamped.header.frame_id = 'focus'
    broadcaster = tf2_ros.StaticTransformBroadcaster(node)
    broadcaster.sendTransform(stamped)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for _ in range(100):
        executor.spin_once(timeout_sec=0.1)
        if np.allclose(source.matrix('focus', 'rgbd'), other.matrix):
            return
    pytest.fail('TF was not heard')
