"""CompressedImage messages as image_transport's plugins make them, without the plugins."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

STEPS = 2**13 - 1  # of vergence, from the farthest to the nearest depth of an image; finer ones only make it larger
JPEG_QUALITY = 90
FASTEST = 1  # of PNG
_INVERSE_DEPTH = 0  # compressed_depth_image_transport/compression_common.h: compressionFormat


def to_jpeg(rgb: np.ndarray, header: Header) -> CompressedImage:
    """As on ``image_raw/compressed``. rgb: (H, W, 3) uint8."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return CompressedImage(header=header, format='rgb8; jpeg compressed bgr8', data=data.tobytes())


def to_compressed_depth(depth: np.ndarray, header: Header) -> CompressedImage:
    """As on ``depth/image_rect/compressedDepth``: inverse depth in a PNG of 16 bits, after what scales it.

    depth: (H, W) float32 m. What is not finite becomes unknown.
    """
    known = np.isfinite(depth) & (depth > 0)
    near, far = (float(depth[known].min()), float(depth[known].max())) if known.any() else (1.0, 1.0)
    # As in codec.cpp: the stored value is a / depth + b, and 0 is unknown. float32 limits how fine the steps can be.
    a = STEPS / max(1 / near - 1 / far, 0.01 / near)
    b = 1 - a / far
    with np.errstate(divide='ignore', invalid='ignore'):
        stored = np.where(known, np.float32(a) / depth + np.float32(b + 0.5), 0).astype(np.uint16)
    _, png = cv2.imencode('.png', stored, [cv2.IMWRITE_PNG_COMPRESSION, FASTEST])
    data = struct.pack('<iff', _INVERSE_DEPTH, a, b) + png.tobytes()
    return CompressedImage(header=header, format='32FC1; compressedDepth png', data=data)
