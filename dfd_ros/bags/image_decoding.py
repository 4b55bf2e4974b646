"""Image messages of a bag to NumPy, without ROS: raw and compressed, colour and depth."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dfd_ros.core import image_encodings
from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.image_io import FORMATS, MAX_PIXELS
from dfd_ros.core.significant_bits import SignificantBits

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

_CONFIG = 12  # bytes that compressed_depth_image_transport writes first: int32 format, float32 quantisation A and B
_PNG = b'\x89PNG\r\n\x1a\n'


def to_rgb(message: Any, topic: str, bits: SignificantBits | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or CompressedImage, as it is stored: orientation tags are ignored.

    bits: as in `image_encodings.to_rgb`, for PNG, TIFF and PNM of 16 bits too.

    Raises InputError, one line that names `topic`.
    """
    if hasattr(message, 'encoding'):
        return image_encodings.to_rgb(message, topic, bits)
    cv2 = _cv2()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = _decode(message.data, flags, topic)
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f'{topic}: a compressed {image.dtype} image; must be of 8 or 16 bits')
    return cv2.cvtColor((bits or SignificantBits()).reduced(image, topic), cv2.COLOR_BGR2RGB)


def to_depth(message: Any, topic: str) -> np.ndarray:
    """(H, W) float32 m, NaN = none, of an Image (16UC1 in mm, 32FC1 in m) or a compressed one.

    Compressed: PNG of 16 bits, or what compressed_depth_image_transport makes (PNG or RVL). Values that are no
    distance are NaN, see `image_encodings.to_depth`. Raises InputError, one line that names `topic`.
    """
    if hasattr(message, 'encoding'):
        return image_encodings.to_depth(message, topic)
    data, kind = np.asarray(message.data).tobytes(), message.format
    config = b''
    if not data.startswith(_PNG) and (data[_CONFIG:].startswith(_PNG) or 'compressedDepth' in kind):
        config, data = data[:_CONFIG], data[_CONFIG:]
    if data.startswith(_PNG) or not kind.strip().endswith('rvl'):
        stored = _decode(data, _cv2().IMREAD_UNCHANGED, topic)
    else:
        stored = _decode_rvl(data, topic)
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise InputError(
            f'{topic}: a compressed {stored.dtype} image of shape {stored.shape} is no depth; must be PNG of 16 bits'
        )
    a, b = np.frombuffer(config, '<f4', 2, 4) if len(config) == _CONFIG else np.zeros(2, np.float32)
    if kind.startswith('16UC1') or not a > 0:
        return image_encodings.metres(stored)
    # Inverse depth, quantised: compressed_depth_image_transport, codec.cpp.
    with np.errstate(divide='ignore', invalid='ignore'):
        return image_encodings.metres(np.where(stored > 0, a / (stored - b), np.nan).astype(np.float32))


def _decode_rvl(data: bytes, topic: str) -> np.ndarray:
    """(H, W) uint16. Wilson, "Fast Lossless Depth Image Compression", ISS 2017, after columns and rows (uint32).

    The stream consists of integers: how many pixels are 0, how many follow that are not, and of each of these the
    difference to the last one, and so on. Each integer is a sequence of nibbles, the highest bit of which says that
    there is another one.
    """
    width, height = np.frombuffer(data[:8].ljust(8, b'\0'), '<u4').tolist()
    if not 0 < width * height <= MAX_PIXELS or (len(data) - 8) % 4:
        raise InputError(f'{topic}: depth of {width}x{height} pixels in {len(data)} bytes cannot be RVL')
    words = np.frombuffer(data[8:], '<u4')
    nibbles = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32) & 15).reshape(-1)
    ends = np.flatnonzero(nibbles < 8) + 1
    starts = np.concatenate([[0], ends])[:-1].astype(np.int64)
    places = np.arange(ends[-1] if len(ends) else 0) - np.repeat(starts, ends - starts)
    if (places > 7).any():
        raise InputError(f'{topic}: depth is not valid RVL')
    parts = (nibbles[: len(places)].astype(np.int64) & 7) << (3 * places)
    integers = np.add.reduceat(parts, starts) if len(ends) else np.zeros(0, np.int64)
    differences, is_known = np.zeros(width * height, np.int64), np.zeros(width * height, bool)
    pixel = at = 0
    while pixel < differences.size:
        if at + 2 > len(integers):
            raise InputError(f'{topic}: depth in RVL is cut short')
        zeros, count = integers[at : at + 2].tolist()
        pixel, at = pixel + zeros, at + 2
        if not zeros + count or pixel + count > differences.size or at + count > len(integers):
            raise InputError(f'{topic}: depth is not valid RVL')
        coded = integers[at : at + count]
        differences[pixel : pixel + count] = (coded >> 1) ^ -(coded & 1)
        is_known[pixel : pixel + count] = True
        pixel, at = pixel + count, at + count
    depth = np.where(is_known, np.cumsum(differences), 0)
    return (depth & 0xFFFF).astype(np.uint16).reshape(height, width)


def _decode(data: Any, flags: int, topic: str) -> np.ndarray:
    cv2 = _cv2()
    data = np.frombuffer(data, np.uint8)
    _check_size(data, topic)
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise InputError(f'{topic}: {data.size} bytes that OpenCV cannot read: {reason(error)}') from None
    if image is None:
        raise InputError(f'{topic}: {data.size} bytes that OpenCV cannot read as an image')
    return image


def _check_size(data: np.ndarray, topic: str) -> None:
    """Raises InputError for what is no image of a usual format, or larger than is allowed, before it is decoded."""
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise InputError(f'{topic}: image of more than {MAX_PIXELS // 10**6} million pixels') from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = 'no PNG, JPEG, TIFF, WebP or PNM' if isinstance(error, UnidentifiedImageError) else str(error)
        raise InputError(f'{topic}: {data.size} bytes that cannot be read as an image: {reason}') from None
    if width * height > MAX_PIXELS:
        raise InputError(f'{topic}: image of {width}x{height} pixels, more than {MAX_PIXELS // 10**6} million')


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise InputError(
            'images of bags need OpenCV, which is not installed: pip install opencv-python-headless'
        ) from None
    return cv2
