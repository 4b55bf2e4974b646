"""Image messages to NumPy and back.

Conversions between encodings are those of ``cv_bridge`` where it is installed, else of ``rosbags-image``;
both take rclpy messages. rgb8, the encoding of most cameras and of this package's own, is neither copied
nor converted. A message is checked before anything reads it: neither converter rejects a wrong ``step``
with a clear line, and rosbags-image ignores the padding of rows.
"""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dfd_ros.core.errors import InputError

try:
    from cv_bridge import CvBridge, CvBridgeError
    CONVERTER = 'cv_bridge'
    _bridge = CvBridge()

    def _convert(message: Image) -> np.ndarray:
        try:
            return _bridge.imgmsg_to_cv2(message, 'rgb8')
        except CvBridgeError as error:
            raise ValueError(str(error)) from None
except ImportError:
    from rosbags.image import ImageError, message_to_cvimage
    CONVERTER = 'rosbags-image'

    def _convert(message: Image) -> np.ndarray:
        try:
            return message_to_cvimage(message, 'rgb8')
        except ImageError as error:
            raise ValueError(str(error)) from None

# Bytes a pixel of what a camera may send.
PIXEL_BYTES = {
    'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1, 'mono16': 2,
    'rgb16': 6, 'bgr16': 6, 'rgba16': 8, 'bgra16': 8,
    'yuv422': 2, 'yuv422_yuy2': 2, 'uyvy': 2, 'yuyv': 2,
    'bayer_rggb8': 1, 'bayer_bggr8': 1, 'bayer_gbrg8': 1, 'bayer_grbg8': 1,
}
MESSAGE_TYPES = {('uint8', 1): 'mono8', ('uint8', 3): 'rgb8', ('uint16', 1): '16UC1', ('float32', 1): '32FC1'}


def to_rgb(message: Image, topic: str = 'image') -> np.ndarray:
    """The image as (H, W, 3) uint8 RGB. May share the message's memory: do not write to it.

    Raises InputError, one line that names `topic`, for an encoding that is not known, a zero size, a
    step shorter than a row, and less data than height x step.
    """
    rows = _rows(message, topic)
    if message.encoding == 'rgb8':
        return rows.reshape(message.height, message.width, 3)
    if rows.shape[1] != message.step:
        message = Image(
            header=message.header, height=message.height, width=message.width, encoding=message.encoding,
            is_bigendian=message.is_bigendian, step=rows.shape[1])
        message.data = _bytes(rows)
    try:
        return np.ascontiguousarray(_convert(message))
    except (ValueError, cv2.error) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'{topic}: encoding {message.encoding!r} cannot be converted to rgb8 by '
                         f'{CONVERTER}: {reason}; publish rgb8, bgr8 or mono8') from None


def _rows(message: Image, topic: str) -> np.ndarray:
    """The bytes of the image without padding, (height, width x bytes a pixel) uint8: a view if it can be."""
    if message.width == 0 or message.height == 0:
        raise InputError(f'{topic}: image of zero size ({message.width}x{message.height})')
    try:
        row = message.width * PIXEL_BYTES[message.encoding]
    except KeyError:
        raise InputError(f'{topic}: unknown encoding {message.encoding!r}; publish one of '
                         f'{", ".join(PIXEL_BYTES)}') from None
    if message.step < row:
        raise InputError(f'{topic}: step {message.step} is shorter than a row of {message.width} '
                         f'{message.encoding} pixels ({row} bytes)')
    data = np.frombuffer(message.data, np.uint8)
    if data.size < message.height * message.step:
        raise InputError(f'{topic}: {data.size} bytes of data, expected height x step = {message.height} x '
                         f'{message.step} = {message.height * message.step}')
    data = data[:message.height * message.step].reshape(message.height, message.step)
    return data if message.step == row else np.ascontiguousarray(data[:, :row])


def to_map(message: Image, topic: str) -> np.ndarray:
    """A 32FC1 image, as the depth node publishes, (H, W) float32.

    Raises InputError, one line that names `topic`, for another encoding and for less data than it says.
    """
    if message.encoding != '32FC1':
        raise InputError(f'{topic}: encoding {message.encoding!r}, 32FC1 expected')
    row, data = 4 * message.width, np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.height * message.step or message.is_bigendian:
        raise InputError(f'{topic}: {data.size} bytes with step {message.step} are no 32FC1 image of '
                         f'{message.width}x{message.height}, lowest byte first')
    rows = data[:message.height * message.step].reshape(message.height, message.step)
    return np.ascontiguousarray(rows[:, :row]).view(np.float32)


def to_message(image: np.ndarray, header: Header) -> Image:
    """An Image of `image`: (H, W, 3) uint8 as rgb8, (H, W) uint8 mono8, uint16 16UC1, float32 32FC1."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    # With check_fields an array('B') that is assigned to `data` is taken as it is. Without, and by the
    # constructor, it is copied; bytes and lists are looked at element by element (0.8 ms for 640x480 rgb8).
    message = Image(check_fields=True, header=header, height=image.shape[0], width=image.shape[1],
                    is_bigendian=0, encoding=MESSAGE_TYPES[image.dtype.name, channels],
                    step=image.shape[1] * channels * image.itemsize)
    message.data = _bytes(image)
    return message


def _bytes(image: np.ndarray) -> array.array:
    data = array.array('B')
    data.frombytes(memoryview(np.ascontiguousarray(image)).cast('B'))
    return data
