"""`DepthOutputs`: which view each result is in, over DDS."""

import numpy as np
import pytest

pytest.importorskip('rclpy')

import rclpy
from ros_processes import wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.ros import image_messages, qos
from dfd_ros.ros.depth_outputs import DepthOutputs
from dfd_ros.ros.node_parameters import DepthParameters
from dfd_ros.ros.rectification import rectification

SIZE = HEIGHT, WIDTH = 48, 64
INFO = CameraInfo(
    width=WIDTH,
    height=HEIGHT,
    distortion_model='plumb_bob',
    d=[-0.3, 0.05, 0.0, 0.0, 0.0],
    k=[60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1],
    header=Header(frame_id='lens'),
)
DEPTH = np.linspace(0.3, 3.0, HEIGHT * WIDTH, dtype=np.float32).reshape(SIZE)
ESTIMATE = Estimate(
    depth=DEPTH,
    coc=DEPTH,
    confidence=np.ones(SIZE, np.float32),
    vergence=DEPTH,
    log_scale=DEPTH,
    range=VergenceRange(0.2, 4.0),
    frames=2,
)


def published(observer, rectifies, info=INFO, topics=('depth/image_rect', 'coc/image', 'depth/camera_info')):
    """What comes on `topics`, and what is warned of."""
    said, node = [], rclpy.create_node('outputs')
    outputs = DepthOutputs(node, rectifies, said.append)
    kinds = {'depth/camera_info': CameraInfo, 'points': PointCloud2}
    heard = {topic: observer.listen(kinds.get(topic, Image), f'/{topic}', qos.PUBLISHER) for topic in topics}
    try:

        def come():
            outputs.publish(ESTIMATE, 0.5, np.zeros((*SIZE, 3), np.uint8), info, DepthParameters())
            return said or all(heard.values())

        wait_until(come, 'results')
        return *(messages[-1] if messages else None for messages in heard.values()), said
    finally:
        for topic in topics:
            observer.silence(f'/{topic}')
        node.destroy_node()


def test_everything_is_rectified_by_default(observer):
    depth, coc, info, _ = published(observer, 'apply')
    wanted = rectification(INFO, '')(DEPTH)
    assert np.nanmax(np.abs(wanted - DEPTH)) > 0.05
    for message in (depth, coc):
        np.testing.assert_array_equal(image_messages.to_map(message, ''), wanted)
    assert not any(info.d) and info.header == depth.header == INFO.header


def test_raw_depth_has_a_name_of_its_own(observer):
    depth, coc, info, _ = published(observer, 'none', topics=('depth/image', 'coc/image', 'depth/camera_info'))
    for message in (depth, coc):
        np.testing.assert_array_equal(image_messages.to_map(message, ''), DEPTH)
    assert info.d == INFO.d


def test_images_that_are_rectified_already_stay(observer):
    depth, _, info, _ = published(observer, 'done')
    np.testing.assert_array_equal(image_messages.to_map(depth, ''), DEPTH)
    assert not any(info.d)


@pytest.mark.parametrize('rectifies', ['apply', 'none'])
def test_points_are_rectified_always(observer, rectifies):
    cloud, _ = published(observer, rectifies, topics=('points',))
    z = np.frombuffer(cloud.data, np.float32).reshape(*SIZE, 4)[..., 2]
    np.testing.assert_array_equal(z, rectification(INFO, '')(DEPTH))


def test_points_of_an_uncalibrated_camera_are_a_warning(observer):
    cloud, said = published(observer, 'apply', CameraInfo(width=WIDTH, height=HEIGHT), topics=('points',))
    assert cloud is None and said == ['/points: no points, since /camera_info is not calibrated (K = 0)']
