"""`dfd_ros.ros.rectification` and `point_clouds`: a tilted plane seen through a lens with distortion."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dfd_ros.core.errors import InputError
from dfd_ros.ros.point_clouds import to_point_cloud
from dfd_ros.ros.rectification import rectification

WIDTH, HEIGHT = 160, 120
BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
K = np.array([[150.0, 0, 81.0], [0, 152.0, 58.0], [0, 0, 1]])
NORMAL, OFFSET = np.array([0.2, -0.1, 1.0]), 1.5  # of the plane: NORMAL . X = OFFSET


def info(model='plumb_bob', d=(-0.3, 0.08, 0.001, -0.002, 0.0), **changes):
    return CameraInfo(width=WIDTH, height=HEIGHT, distortion_model=model, d=d, k=K.reshape(-1).tolist(), **changes)


def rays(model, d):
    """x/z and y/z of each pixel of the raw image."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    pixels = np.stack([x, y], -1).reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if model in ('equidistant', 'fisheye') else cv2.undistortPoints
    found = undistort(pixels, K, np.array(d)).reshape(HEIGHT, WIDTH, 2)
    return np.dstack([found, np.ones((HEIGHT, WIDTH))])


def points(message):
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 4)[..., :3]


@pytest.mark.parametrize(
    'model, d',
    [
        ('plumb_bob', (-0.3, 0.08, 0.001, -0.002, 0.0)),
        ('rational_polynomial', (-0.2, 0.05, 0.001, -0.002, 0.0, 0.05, 0.01, 0.0)),
        ('equidistant', (0.05, -0.01, 0.002, 0.0)),
        ('fisheye', (0.05, -0.01, 0.002, 0.0)),
    ],
)
def test_points_of_a_rectified_image_lie_on_the_plane(model, d):
    raw = info(model, d)
    depth = (OFFSET / (rays(model, d) @ NORMAL)).astype(np.float32)
    view = rectification(raw, '/camera_info')
    rectified = view.camera_info(raw)
    assert not any(rectified.d) and rectified.p[0] == K[0, 0]
    cloud = points(to_point_cloud(view(depth), BLACK, np.reshape(rectified.k, (3, 3)), Header()))
    off = np.abs(cloud @ NORMAL - OFFSET)
    assert np.isfinite(off).mean() > 0.7 and np.nanmax(off) < 0.005  # half a pixel of this plane
    crooked = points(to_point_cloud(depth, BLACK, K, Header()))
    assert np.nanmax(np.abs(crooked @ NORMAL - OFFSET)) > 0.02  # what rectification is for


def test_rectified_pixels_outside_the_image_are_unknown():
    p = (60.0, 0.0, 80.0, 0.0, 0.0, 60.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # a wider view
    view = rectification(info(p=p), '/camera_info')
    depth, image = view(np.ones((HEIGHT, WIDTH), np.float32)), view(np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    assert np.isnan(depth[0, 0]) and depth[60, 80] == 1 and not image[0, 0].any() and (image[60, 80] == 9).all()


def test_pinhole_and_uncalibrated_images_are_not_rectified():
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    for raw in (info(d=()), info(d=(0.0,) * 5), CameraInfo(width=WIDTH, height=HEIGHT, d=[0.1])):
        view = rectification(raw, '/camera_info')
        assert view(depth) is depth and view.camera_info(raw) is raw


def test_rectified_images_stay_the_same():
    raw = info()
    view = rectification(raw, '/camera_info', is_rectified=True)
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    assert view(depth) is depth and not any(view.camera_info(raw).d)


def test_an_unknown_distortion_model_is_refused():
    with pytest.raises(InputError, match=r"^/camera_info: distortion model 'division' is not known; .* to done"):
        rectification(info('division'), '/camera_info')


def test_cloud_is_organised_coloured_and_nan_where_unknown():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[0, 0], depth[0, 2], depth[2, 0] = np.nan, np.inf, -np.inf
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[4, 6] = 1, 2, 3
    message = to_point_cloud(depth, rgb, K, Header(frame_id='lens'), decimation=2)
    assert (message.height, message.width, message.row_step) == (HEIGHT // 2, WIDTH // 2, WIDTH // 2 * 16)
    assert message.header.frame_id == 'lens' and not message.is_dense
    assert [(f.name, f.offset) for f in message.fields] == [('x', 0), ('y', 4), ('z', 8), ('rgb', 12)]
    cloud = points(message)
    assert np.isnan(cloud[0, 0]).all() and np.isnan(cloud[0, 1]).all() and np.isnan(cloud[1, 0]).all()
    np.testing.assert_allclose(cloud[2, 3], [2 * (6 - 81) / 150, 2 * (4 - 58) / 152, 2], rtol=1e-6)
    colours = np.frombuffer(message.data, np.uint32).reshape(HEIGHT // 2, WIDTH // 2, 4)[..., 3]
    assert colours[2, 3] == 0x010203 and not colours[0].any()
