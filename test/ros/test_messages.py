"""CameraInfo messages of images."""

import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dfd_ros.core.lens_state import LensState
from dfd_ros.ros import messages

STATE = LensState(1.0, focal_length=4e-3, pixel_pitch=4e-5)
K = [900.0, 0.0, 79.5, 0.0, 900.0, 59.5, 0.0, 0.0, 1.0]


@pytest.mark.parametrize('width, height', [(160, 120), (0, 0)])
def test_a_camera_info_of_the_size_of_the_images_or_of_none_counts(width, height):
    info = CameraInfo(width=width, height=height, k=K)
    assert not messages.size_mismatch(info, (120, 160), '/camera_info')
    found = messages.camera_info_of_image(info, STATE, (120, 160), Header(frame_id='lens'))
    assert (found.width, found.height, found.k[0], found.header.frame_id) == (160, 120, 900, 'lens')


def test_a_camera_info_of_another_size_is_said():
    info = CameraInfo(width=320, height=240, k=K)
    assert messages.size_mismatch(info, (120, 160), '/camera_info') == (
        '/camera_info: of 320x240 pixels, but the images have 160x120; the lens state gives the intrinsics instead, '
        'without distortion'
    )
    assert messages.camera_info_of_image(None, STATE, (120, 160), Header()).k[0] == pytest.approx(100)
