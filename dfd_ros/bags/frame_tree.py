"""The tree of coordinate frames that a bag's /tf and /tf_static describe."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import numpy as np

from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.geometry import matrix_from_quaternion, rigid_transform

MAX_HISTORY = 10000  # poses of a moving frame to remember


class Frames:
    """The tree of frames. Of a moving frame, the pose nearest in time is used (no interpolation)."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._static: dict[str, np.ndarray] = {}
        self._moving: dict[str, deque[tuple[float, np.ndarray]]] = defaultdict(lambda: deque(maxlen=MAX_HISTORY))

    def add(self, message: Any, *, static: bool, known: bool = True) -> list[str]:
        """Adds the transforms of a TFMessage. Returns a line about each that is ignored, as tf2 ignores it.

        known: replace the pose of frames that are known already.
        """
        problems = []
        for transform in message.transforms:
            child, parent = transform.child_frame_id.lstrip('/'), transform.header.frame_id.lstrip('/')
            if not known and child in self._parents:
                continue
            t, r = transform.transform.translation, transform.transform.rotation
            try:
                pose = rigid_transform(matrix_from_quaternion(r.x, r.y, r.z, r.w), (t.x, t.y, t.z))
                if not np.isfinite(pose).all():
                    raise InputError(f'translation {[t.x, t.y, t.z]} and rotation {[r.x, r.y, r.z, r.w]} not finite')
                if child == parent or not child:
                    raise InputError('a frame cannot be its own parent')
            except InputError as error:
                problems.append(f'{shortened(parent, 80)} -> {shortened(child, 80)}: {error}')
                continue
            self._parents[child] = parent
            if static:
                self._static[child] = pose
            else:
                stamp = transform.header.stamp.sec + transform.header.stamp.nanosec * 1e-9
                self._moving[child].append((stamp, pose))
        return problems

    def __bool__(self) -> bool:
        return bool(self._parents)

    def between(self, target: str, source: str, stamp: float) -> np.ndarray | None:
        """(4, 4) transform of points from the frame `source` to the frame `target`; None if nothing links them."""
        target_root, to_target_root = self._to_root(target.lstrip('/'), stamp)
        source_root, to_source_root = self._to_root(source.lstrip('/'), stamp)
        if target_root != source_root:
            return None
        return np.linalg.inv(to_target_root) @ to_source_root

    def _to_root(self, frame: str, stamp: float) -> tuple[str, np.ndarray]:
        pose, seen = np.eye(4), {frame}
        while frame in self._parents:
            pose = self._pose(frame, stamp) @ pose
            frame = self._parents[frame]
            if frame in seen:
                raise InputError(f'tf: the frame {shortened(frame, 80)} is its own ancestor')
            seen.add(frame)
        return frame, pose

    def _pose(self, frame: str, stamp: float) -> np.ndarray:
        if frame in self._static:
            return self._static[frame]
        return min(self._moving[frame], key=lambda item: abs(item[0] - stamp))[1]
