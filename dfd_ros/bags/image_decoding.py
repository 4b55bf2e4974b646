"""Image messages of a bag to NumPy, without ROS: raw and compressed, colour and depth."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

# Channels, sample type, and what OpenCV makes RGB of them with.
_COLOUR = {
    'rgb8': (3, 'u1', None), 'bgr8': (3, 'u1', 'COLOR_BGR2RGB'), '8UC3': (3, 'u1', 'COLOR_BGR2RGB'),
    'rgba8': (4, 'u1', 'COLOR_RGBA2RGB'), 'bgra8': (4, 'u1', 'COLOR_BGRA2RGB'), '8UC4': (4, 'u1', 'COLOR_BGRA2RGB'),
    'mono8': (1, 'u1', 'COLOR_GRAY2RGB'), '8UC1': (1, 'u1', 'COLOR_GRAY2RGB'), 'mono16': (1, 'u2', 'COLOR_GRAY2RGB'),
    'rgb16': (3, 'u2', None), 'bgr16': (3, 'u2', 'COLOR_BGR2RGB'),
    'yuv422': (2, 'u1', 'COLOR_YUV2RGB_UYVY'), 'uyvy': (2, 'u1', 'COLOR_YUV2RGB_UYVY'),
    'yuv422_yuy2': (2, 'u1', 'COLOR_YUV2RGB_YUYV'), 'yuyv': (2, 'u1', 'COLOR_YUV2RGB_YUYV'),
    # A Bayer pattern is named by its first two pixels in ROS, by the second row's second and third in OpenCV.
    'bayer_rggb8': (1, 'u1', 'COLOR_BayerBG2RGB'), 'bayer_bggr8': (1, 'u1', 'COLOR_BayerRG2RGB'),
    'bayer_gbrg8': (1, 'u1', 'COLOR_BayerGR2RGB'), 'bayer_grbg8': (1, 'u1', 'COLOR_BayerGB2RGB'),
}
_DEPTH = {'16UC1': (1, 'u2'), 'mono16': (1, 'u2'), '32FC1': (1, 'f4')}
_COMPRESSED_DEPTH_HEADER = 12     # bytes: int32 format, float32 quantisation A and B


def to_rgb(message: Any, topic: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or CompressedImage. Raises InputError, one line that names `topic`."""
    cv2 = _cv2()
    if not hasattr(message, 'encoding'):
        image = _decode(message.data, cv2.IMREAD_COLOR, topic)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if message.encoding not in _COLOUR:
        raise InputError(f'{topic}: unknown encoding {message.encoding!r}; known are {", ".join(_COLOUR)}')
    channels, kind, conversion = _COLOUR[message.encoding]
    image = _pixels(message, channels, kind, topic)
    if conversion:
        try:
            image = cv2.cvtColor(np.ascontiguousarray(image), getattr(cv2, conversion))
        except cv2.error as error:
            raise InputError(f'{topic}: {message.encoding} image cannot be read: '
                             f'{" ".join(str(error).split())}') from None
    return (image >> 8).astype(np.uint8) if image.dtype.itemsize == 2 else image


def to_depth(message: Any, topic: str) -> np.ndarray:
    """(H, W) float32 m, NaN = none, of an Image (16UC1 in mm, 32FC1 in m) or a compressed one.

    Compressed: PNG of 16 bits, or what compressed_depth_image_transport makes (format "...; compressedDepth").
    What is 0, less, or infinite is no depth. Raises InputError, one line that names `topic`.
    """
    if hasattr(message, 'encoding'):
        if message.encoding not in _DEPTH:
            raise InputError(f'{topic}: encoding {message.encoding!r} is no depth; must be 16UC1 (mm) or 32FC1 (m)')
        depth = _pixels(message, *_DEPTH[message.encoding], topic)
        metres = depth.astype(np.float32) if depth.dtype.kind == 'f' else depth * np.float32(1e-3)
    else:
        metres = _compressed_depth(message, topic)
    metres[~((metres > 0) & (metres < np.inf))] = np.nan
    return metres


def _compressed_depth(message: Any, topic: str) -> np.ndarray:
    cv2 = _cv2()
    data, is_float = np.asarray(message.data), False
    quantisation = (0.0, 0.0)
    if 'compressedDepth' in message.format:
        is_float = message.format.startswith('32FC1')
        quantisation = np.frombuffer(data[4:_COMPRESSED_DEPTH_HEADER].tobytes(), '<f4')
        data = data[_COMPRESSED_DEPTH_HEADER:]
        if data[:3].tobytes() == b'RVL':
            raise InputError(f'{topic}: depth compressed with RVL cannot be read; record it as PNG or raw')
    stored = _decode(data, cv2.IMREAD_UNCHANGED, topic)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise InputError(f'{topic}: a compressed {stored.dtype} image of shape {stored.shape} is no depth; must be '
                         'PNG of 16 bits')
    if not is_float:
        return stored * np.float32(1e-3)
    # Inverse depth, quantised: compressed_depth_image_transport, codec.cpp.
    with np.errstate(divide='ignore'):
        return np.where(stored > 0, quantisation[0] / (stored - quantisation[1]), np.nan).astype(np.float32)


def _decode(data: Any, flags: int, topic: str) -> np.ndarray:
    cv2 = _cv2()
    data = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise InputError(f'{topic}: {data.size} bytes that OpenCV cannot read as an image')
    return image


def _pixels(message: Any, channels: int, kind: str, topic: str) -> np.ndarray:
    """(H, W[, channels]), a view of the message where it can be."""
    dtype = np.dtype(('>' if message.is_bigendian else '<') + kind)
    row = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if not row or not message.height:
        raise InputError(f'{topic}: image of zero size ({message.width}x{message.height})')
    if message.step < row or data.size < message.height * message.step:
        raise InputError(f'{topic}: {data.size} bytes with step {message.step} are too few for '
                         f'{message.width}x{message.height} {message.encoding}')
    rows = data[:message.height * message.step].reshape(message.height, message.step)[:, :row]
    image = np.ascontiguousarray(rows).view(dtype).reshape(message.height, message.width, -1)
    image = image.astype(dtype.newbyteorder('='), copy=False)
    return image[..., 0] if channels == 1 else image


def _cv2():
    try:
        import cv2
    except ImportError:
        raise InputError('images of bags need OpenCV, which is not installed: pip install opencv-python-headless'
                         ) from None
    return cv2
