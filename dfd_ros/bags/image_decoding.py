"""Image messages of a bag to NumPy, without ROS: raw and compressed, colour and depth."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfd_ros.core import image_encodings
from dfd_ros.core.errors import InputError

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

_COMPRESSED_DEPTH_HEADER = 12  # bytes: int32 format, float32 quantisation A and B


def to_rgb(message: Any, topic: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or CompressedImage. Raises InputError, one line that names `topic`."""
    cv2 = _cv2()
    if not hasattr(message, 'encoding'):
        image = _decode(message.data, cv2.IMREAD_COLOR, topic)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image_encodings.to_rgb(message, topic)


def to_depth(message: Any, topic: str) -> np.ndarray:
    """(H, W) float32 m, NaN = none, of an Image (16UC1 in mm, 32FC1 in m) or a compressed one.

    Compressed: PNG of 16 bits, or what compressed_depth_image_transport makes (format "...; compressedDepth").
    What is 0, less, or infinite is no depth. Raises InputError, one line that names `topic`.
    """
    if hasattr(message, 'encoding'):
        return image_encodings.to_depth(message, topic)
    metres = _compressed_depth(message, topic)
    metres[~((metres > 0) & (metres < np.inf))] = np.nan
    return metres


def _compressed_depth(message: Any, topic: str) -> np.ndarray:
    cv2 = _cv2()
    data, is_float = np.asarray(message.data), False
    quantisation = np.zeros(2, np.float32)
    if 'compressedDepth' in message.format:
        is_float = message.format.startswith('32FC1')
        quantisation = np.frombuffer(data[4:_COMPRESSED_DEPTH_HEADER].tobytes(), '<f4')
        data = data[_COMPRESSED_DEPTH_HEADER:]
        if data[:3].tobytes() == b'RVL':
            raise InputError(f'{topic}: depth compressed with RVL cannot be read; record it as PNG or raw')
    stored = _decode(data, cv2.IMREAD_UNCHANGED, topic)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise InputError(
            f'{topic}: a compressed {stored.dtype} image of shape {stored.shape} is no depth; must be PNG of 16 bits'
        )
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


def _cv2():
    try:
        import cv2
    except ImportError:
        raise InputError(
            'images of bags need OpenCV, which is not installed: pip install opencv-python-headless'
        ) from None
    return cv2
