"""Transforms between frames: tf_transformations' interface, and the extrinsics of a rig from TF or from a file.

tf_transformations does the arithmetic if it is installed, otherwise `dfd_ros.core.geometry`. `IMPLEMENTATION` names it
for the log.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.node import Node
from rclpy.time import Time

from dfd_ros.calibration.calibration_file import Extrinsics
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.geometry import matrix_from_quaternion, rigid_transform

try:
    from tf_transformations import quaternion_matrix

    IMPLEMENTATION = 'tf_transformations'
except ImportError:
    IMPLEMENTATION = 'dfd_ros.core.geometry (tf_transformations is not installed)'

    def quaternion_matrix(quaternion) -> np.ndarray:
        """(4, 4) of a quaternion x, y, z, w."""
        return rigid_transform(matrix_from_quaternion(*quaternion), np.zeros(3))


SAY_EVERY = 1.0  # s


def matrix_from_message(transform: Transform) -> np.ndarray:
    """(4, 4) of a message: points of its child frame to its parent frame. Raises InputError if it is no rotation."""
    q, t = transform.rotation, transform.translation
    quaternion = np.array([q.x, q.y, q.z, q.w])
    length = np.linalg.norm(quaternion)
    if not abs(length - 1) < 0.1:
        raise InputError(f'transform: quaternion {quaternion.tolist()} has length {length:.3g}, it must be 1')
    matrix = np.array(quaternion_matrix(quaternion / length), float)
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


class ExtrinsicsSource:
    """The pose of one camera relative to another: from TF if it is known there, otherwise from the calibration file.

    One listener to TF, made when it is first needed, serves all frames.
    """

    def __init__(self, node: Node, calibrated: Extrinsics | None = None) -> None:
        """`calibrated` is used for the two frames that it relates."""
        self._node = node
        self._calibrated = calibrated
        self._said = ''

    @functools.cached_property
    def _buffer(self) -> Any:
        """None without tf2_ros."""
        self._node.get_logger().info(f'transforms by {IMPLEMENTATION}')
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError:
            return None
        buffer = Buffer(node=self._node)
        self._listener = TransformListener(buffer, self._node)
        return buffer

    def matrix(self, parent: str, child: str) -> np.ndarray:
        """(4, 4) of points from frame `child` to frame `parent`. Raises InputError while it is unknown."""
        if parent == child:
            return np.eye(4)
        buffer, latest = self._buffer, Time()
        if buffer is not None and buffer.can_transform(parent, child, latest):
            self._say(parent, child, 'TF')
            return matrix_from_message(buffer.lookup_transform(parent, child, latest).transform)
        calibrated = _between(self._calibrated, parent, child)
        if calibrated is not None:
            self._say(parent, child, 'the calibration file')
            return calibrated
        frames = f'no transform from {quoted(child)} to {quoted(parent)}'
        if buffer is None:
            raise InputError(
                f'extrinsics: {frames}: tf2_ros is not installed here, and no calibration file has these frames '
                '(dfd calibrate extrinsics)'
            )
        raise InputError(f'{frames} on TF; publish it, or give the parameter calibration')

    def _say(self, parent: str, child: str, source: str) -> None:
        line = f'extrinsics from {quoted(child)} to {quoted(parent)}: {source}'
        if line != self._said:
            self._said = line
            self._node.get_logger().info(line, throttle_duration_sec=SAY_EVERY)  # frames may take turns


def _between(extrinsics: Extrinsics | None, parent: str, child: str) -> np.ndarray | None:
    if extrinsics is None:
        return None
    if (extrinsics.parent, extrinsics.child) == (parent, child):
        return extrinsics.matrix
    if (extrinsics.child, extrinsics.parent) == (parent, child):
        return np.linalg.inv(extrinsics.matrix)
    return None
