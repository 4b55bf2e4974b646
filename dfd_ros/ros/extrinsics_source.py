"""Transforms between frames: tf_transformations' interface, and the extrinsics of a rig from TF or from a file.

tf_transformations does the arithmetic if it is installed, otherwise `dfd_ros.core.geometry`. `IMPLEMENTATION` names it
for the log.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.duration import Duration
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
    """The pose of one camera relative to another: from TF if it is known there, otherwise from the calibration file."""

    def __init__(self, node: Node, parent: str, child: str, calibrated: Extrinsics | None = None) -> None:
        """`parent` and `child` are frames; `calibrated` is used if it relates the same two.

        Raises InputError if there is neither tf2_ros nor a calibration of these frames.
        """
        self._log = node.get_logger()
        self._parent, self._child = parent, child
        self._file = _between(calibrated, parent, child)
        self._said = ''
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError:
            self._buffer = None
            if self._file is None:
                raise InputError(
                    f'extrinsics: no transform from {quoted(child)} to {quoted(parent)}: tf2_ros is not installed '
                    'here, and no calibration file has these frames (dfd calibrate extrinsics)'
                ) from None
        else:
            self._buffer = Buffer(node=node)
            self._listener = TransformListener(self._buffer, node)
        self._log.info(f'transforms by {IMPLEMENTATION}')

    def matrix(self, timeout_s: float = 0.0) -> np.ndarray | None:
        """(4, 4) of points from `child` to `parent`; None while unknown."""
        latest = Time()
        if self._buffer is not None and self._buffer.can_transform(
            self._parent, self._child, latest, Duration(seconds=timeout_s)
        ):
            self._say('TF')
            return matrix_from_message(self._buffer.lookup_transform(self._parent, self._child, latest).transform)
        if self._file is not None:
            self._say('the calibration file')
        return self._file

    def _say(self, source: str) -> None:
        if source != self._said:
            self._said = source
            self._log.info(f'extrinsics from {self._child} to {self._parent}: {source}')


def _between(extrinsics: Extrinsics | None, parent: str, child: str) -> np.ndarray | None:
    if extrinsics is None:
        return None
    if (extrinsics.parent, extrinsics.child) == (parent, child):
        return extrinsics.matrix
    if (extrinsics.child, extrinsics.parent) == (parent, child):
        return np.linalg.inv(extrinsics.matrix)
    return None
