"""Depth and colour as a PointCloud2."""

from __future__ import annotations

import array

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

FIELDS = [
    PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
    for name, offset in (('x', 0), ('y', 4), ('z', 8), ('rgb', 12))
]


def to_point_cloud(
    depth: np.ndarray, rgb: np.ndarray, matrix: np.ndarray, header: Header, decimation: int = 1
) -> PointCloud2:
    """An organised cloud, one point for each pixel of a pinhole camera, NaN where depth is not finite.

    Args:
        depth: (H, W) float32 m along the optical axis.
        rgb: (H, W, 3) uint8.
        matrix: K, (3, 3).
        decimation: one point for every so many columns and rows.
    """
    depth, rgb = depth[::decimation, ::decimation], rgb[::decimation, ::decimation]
    height, width = depth.shape
    x = (decimation * np.arange(width) - matrix[0, 2]) / matrix[0, 0]
    y = (decimation * np.arange(height) - matrix[1, 2]) / matrix[1, 1]
    data = array.array('B', b'\0') * (16 * height * width)
    with np.errstate(invalid='ignore'):  # of infinity
        z = depth + (depth - depth)
    # 0xRRGGBB, little-endian, instead of a float.
    colours = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA).view('<u4')[..., 0] & np.uint32(0xFFFFFF)
    channels = z * x.astype(np.float32), z * y.astype(np.float32)[:, None], z, colours.view(np.float32)
    # Into `data`. NumPy takes four times as long for every fourth float.
    cv2.merge(channels, np.frombuffer(data, np.float32).reshape(height, width, 4))
    message = PointCloud2(
        check_fields=True,
        header=header,
        height=height,
        width=width,
        fields=FIELDS,
        is_bigendian=False,
        point_step=16,
        row_step=16 * width,
        is_dense=False,
    )
    message.data = data
    return message
