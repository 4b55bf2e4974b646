"""Image messages to NumPy and back: every encoding, padding, and what a broken driver may send."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dfd_ros.core.errors import InputError
from dfd_ros.ros import image_messages

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
GRAY = np.repeat(RGB[..., :1], 3, axis=2)


def message(encoding, pixels, padding=0, /, **changes):
    """An Image of `pixels`, each row followed by `padding` bytes of rubbish."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1).view(np.uint8)
    rows = np.hstack([rows, np.full((len(rows), padding), 77, np.uint8)])
    fields = dict(
        height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1], data=rows.tobytes()
    )
    return Image(**(fields | changes))


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 9, pixels.dtype)])


@pytest.mark.parametrize('padding', [0, 2])
@pytest.mark.parametrize(
    'encoding, pixels, expected',
    [
        ('rgb8', RGB, RGB),
        ('bgr8', RGB[..., ::-1], RGB),
        ('rgba8', with_alpha(RGB), RGB),
        ('bgra8', with_alpha(RGB[..., ::-1]), RGB),
        ('mono8', RGB[..., 0], GRAY),
        ('mono16', RGB[..., 0].astype(np.uint16) * 257, GRAY),
        ('rgb16', RGB.astype(np.uint16) * 257, RGB),
        ('bgr16', RGB[..., ::-1].astype(np.uint16) * 257, RGB),
    ],
)
def test_encodings(encoding, pixels, expected, padding):
    image = image_messages.to_rgb(message(encoding, pixels, padding))
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    # Scaling 16 to 8 bits may round either way.
    assert np.abs(image.astype(int) - expected).max() <= (1 if encoding.endswith('16') else 0)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_bytes_have_no_byte_order(encoding):
    pixels = RGB[..., 0] if encoding == 'mono8' else RGB
    little, big = (image_messages.to_rgb(message(encoding, pixels, is_bigendian=flag)) for flag in (0, 1))
    np.testing.assert_array_equal(little, big)


@pytest.mark.parametrize(
    'encoding, order', [('yuv422', 'UYVY'), ('uyvy', 'UYVY'), ('yuv422_yuy2', 'YUYV'), ('yuyv', 'YUYV')]
)
def test_yuv422_gray(encoding, order):
    # U = V = 128: gray. Y runs from 16 to 235.
    y = np.linspace(16, 235, 24).reshape(4, 6).astype(np.uint8)
    pair = {'UYVY': lambda a: [np.full_like(a, 128), a], 'YUYV': lambda a: [a, np.full_like(a, 128)]}[order]
    image = image_messages.to_rgb(message(encoding, np.dstack(pair(y)))).astype(int)
    assert np.abs(image - ((y.astype(int) - 16) * 255 / 219)[..., None]).max() <= 2


def test_bayer():
    image = image_messages.to_rgb(message('bayer_rggb8', np.full((8, 8), 200, np.uint8)))
    assert image.shape == (8, 8, 3) and (image == 200).all()


def test_rgb8_is_not_copied():
    source = message('rgb8', RGB)
    assert np.shares_memory(image_messages.to_rgb(source), np.frombuffer(source.data, np.uint8))


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(encoding='rgb9'), "camera/image_raw: unknown encoding 'rgb9'; known are rgb8"),
        (dict(encoding='32FC1'), "unknown encoding '32FC1'"),
        (dict(encoding=''), "unknown encoding ''"),
        (dict(width=0), 'image of zero size (0x4)'),
        (dict(height=0), 'image of zero size (6x0)'),
        (dict(step=17), 'step 17 is shorter than a row of 6 rgb8 pixels (18 bytes)'),
        (dict(step=0), 'step 0 is shorter'),
        (dict(step=19), '72 bytes of data, expected height x step = 4 x 19 = 76'),
        (dict(data=b''), '0 bytes of data'),
        (dict(encoding='yuyv', width=5, step=10, height=4, data=bytes(40)), "encoding 'yuyv' cannot be converted"),
    ],
)
def test_broken_message_is_one_line(changes, words):
    with pytest.raises(InputError) as error:
        image_messages.to_rgb(message('rgb8', RGB, **changes), 'camera/image_raw')
    assert words in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith('camera/image_raw: ')


@pytest.mark.parametrize(
    'image, encoding',
    [
        (RGB, 'rgb8'),
        (RGB[..., 0], 'mono8'),
        (RGB[..., 0].astype(np.uint16), '16UC1'),
        (np.float32([[1, np.nan], [np.inf, 0]]), '32FC1'),
        (RGB[::2, ::2], 'rgb8'),
    ],
)
def test_to_message_and_back(image, encoding):
    header = Header(frame_id='camera')
    back = image_messages.to_message(image, header)
    assert (back.header, back.encoding, back.height, back.width) == (header, encoding, *image.shape[:2])
    assert back.step * back.height == len(back.data) == image.nbytes and not back.is_bigendian
    array = np.frombuffer(back.data, image.dtype).reshape(image.shape)
    np.testing.assert_array_equal(array, image)


def test_a_message_is_made_without_a_look_at_each_byte():
    """The fast way into a message is what keeps ROS out of the way: 640x480 in well under a millisecond."""
    image, header = np.zeros((480, 640, 3), np.uint8), Header()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        image_messages.to_message(image, header)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.4e-3
