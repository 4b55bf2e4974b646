"""Image messages to NumPy and back.

If ``cv_bridge`` is installed it converts the 8-bit encodings that it knows; `dfd_ros.core.image_encodings` does the
rest. rgb8, the encoding of most cameras and of this package's own, is neither copied nor converted.
"""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dfd_ros.bags import image_decoding
from dfd_ros.bags.video_stream import named_codec
from dfd_ros.core import image_encodings
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.significant_bits import SignificantBits

try:
    from cv_bridge import CvBridge, CvBridgeError

    _bridge, CONVERTER = CvBridge(), 'cv_bridge'
except ImportError:
    _bridge, CONVERTER = None, 'dfd_ros'

_OF_CV_BRIDGE = {
    'bgr8',
    'rgba8',
    'bgra8',
    'mono8',
    'yuv422',
    'yuv422_yuy2',
    'bayer_rggb8',
    'bayer_bggr8',
    'bayer_gbrg8',
    'bayer_grbg8',
}
MESSAGE_TYPES = {('uint8', 1): 'mono8', ('uint8', 3): 'rgb8', ('uint16', 1): '16UC1', ('float32', 1): '32FC1'}


def to_rgb(message: Image | CompressedImage, topic: str = 'image', bits: SignificantBits | None = None) -> np.ndarray:
    """As `dfd_ros.core.image_encodings.to_rgb`; of a CompressedImage as `dfd_ros.bags.image_decoding.to_rgb`.

    Raises InputError, one line that names `topic`; also for video, of which nodes take single frames.
    """
    if isinstance(message, CompressedImage):
        if codec := named_codec(message.format):
            raise InputError(
                f'{topic}: is {codec} video, which is read from bags alone; publish JPEG or raw images, such as by '
                'ros2 run image_transport republish'
            )
        return image_decoding.to_rgb(message, topic, bits)
    if _bridge and _suits_cv_bridge(message):
        # cv_bridge has no clear line for a wrong step.
        image_encodings.pixels(message, image_encodings.COLOUR[message.encoding], topic)
        try:
            return np.ascontiguousarray(_bridge.imgmsg_to_cv2(message, 'rgb8'))
        except (CvBridgeError, cv2.error) as error:
            raise InputError(
                f'{topic}: encoding {quoted(message.encoding)} cannot be converted to rgb8 by {CONVERTER}: '
                f'{" ".join(str(error).split())}'
            ) from None
    return image_encodings.to_rgb(message, topic, bits)


def _suits_cv_bridge(message: Image) -> bool:
    """Not where a row is no multiple of a pixel: cv_bridge would shear the image. A flag for big-endian bytes, which
    means nothing here, makes it fail with NumPy 2."""
    encoding = message.encoding
    return (
        encoding in _OF_CV_BRIDGE
        and message.step % image_encodings.COLOUR[encoding].channels == 0
        and not message.is_bigendian
    )


def to_map(message: Image, topic: str) -> np.ndarray:
    """(H, W) float32 of a 32FC1 image, as the depth node publishes.

    Raises InputError, one line that names `topic`, for another encoding and for too little data.
    """
    if message.encoding != '32FC1':
        raise InputError(f'{topic}: encoding {quoted(message.encoding)}, 32FC1 expected')
    return image_encodings.pixels(message, image_encodings.DEPTH['32FC1'], topic)


def to_message(image: np.ndarray, header: Header) -> Image:
    """An Image of `image`: (H, W, 3) uint8 as rgb8, (H, W) uint8 mono8, uint16 16UC1, float32 32FC1."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    # With check_fields, an array('B') assigned to `data` is not copied. Without it, and in the constructor, it is
    # copied; bytes and lists are checked element by element (0.8 ms for 640x480 rgb8).
    message = Image(
        check_fields=True,
        header=header,
        height=image.shape[0],
        width=image.shape[1],
        is_bigendian=0,
        encoding=MESSAGE_TYPES[image.dtype.name, channels],
        step=image.shape[1] * channels * image.itemsize,
    )
    message.data = _bytes(image)
    return message


def _bytes(image: np.ndarray) -> array.array:
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    return data
