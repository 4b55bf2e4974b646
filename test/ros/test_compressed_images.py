"""`dfd_ros.ros.compressed_images`, read back as `dfd convert` reads what image_transport has written."""

import numpy as np
import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from dfd_ros.bags import image_decoding
from dfd_ros.core.errors import InputError
from dfd_ros.ros import image_messages
from dfd_ros.ros.compressed_images import STEPS, to_compressed_depth, to_jpeg


@pytest.mark.parametrize('near, far', [(0.15, 1.5), (2.0, 2.0), (0.05, 100.0)])
def test_depth_comes_back_to_half_a_step(near, far):
    depth = (1 / np.linspace(1 / far, 1 / near, 48 * 64)).astype(np.float32).reshape(48, 64)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, np.inf, -np.inf
    message = to_compressed_depth(depth, Header(frame_id='lens'))
    assert (message.header.frame_id, message.format) == ('lens', '32FC1; compressedDepth png')
    back = image_decoding.to_depth(message, 'depth')
    assert np.isnan(back[0, :3]).all() and np.isnan(back).sum() == 3
    off = np.abs(1 / back - 1 / depth)[1:]
    assert off.max() <= 0.6 * max(1 / near - 1 / far, 0.01 / near) / STEPS + 1e-6 / near


def test_depth_that_is_nowhere_known():
    back = image_decoding.to_depth(to_compressed_depth(np.full((8, 9), np.nan, np.float32), Header()), 'depth')
    assert back.shape == (8, 9) and np.isnan(back).all()


def test_colour_comes_back_about_the_same():
    rgb = np.zeros((32, 48, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = 200, 50
    message = to_jpeg(rgb, Header())
    assert message.format == 'rgb8; jpeg compressed bgr8'
    assert np.abs(image_decoding.to_rgb(message, 'image').astype(int) - rgb).max() < 8


@pytest.mark.parametrize('format, codec', [('h264', 'H.264'), ('hevc', 'H.265'), ('av1', 'AV1')])
def test_nodes_say_that_video_is_for_bags(format, codec):
    message = CompressedImage(format=format, data=b'\0\0\0\1\x67')
    with pytest.raises(InputError, match=f'^image_raw/compressed: is {codec} video, which is read from bags alone; '):
        image_messages.to_rgb(message, 'image_raw/compressed')
