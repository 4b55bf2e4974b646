"""Accuracy node: compares the depth with that of an RGB-D sensor on the same rig while it runs."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections import deque
from dataclasses import asdict, astuple, fields

import cv2
import numpy as np
import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32

from dfd_ros.bags.depth_reprojection import DepthRegistration, Intrinsics
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.core.errors import InputError
from dfd_ros.core.image_encodings import to_depth
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos, synchronisation
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.diagnostics import WARN, Diagnostics, Report
from dfd_ros.ros.extrinsics_source import ExtrinsicsSource
from dfd_ros.ros.guarded_node import GuardedNode
from dfd_ros.ros.node_parameters import AccuracyParameters
from dfd_ros.ros.node_runner import run
from dfd_ros.ros.throttled_warnings import log_text
from dfd_ros.training.metrics import DepthErrors, depth_errors

WAITING = 30  # messages of a topic that wait for their counterparts
UNPAIRED_AFTER = 3.0  # s without a pair
RECENT = 100  # pairs averaged in the log and the diagnostics
LOG_EVERY = 10.0  # s
DEPTH, DEPTH_INFO = 'depth/image_rect', 'depth/camera_info'
TRUTH, TRUTH_INFO = 'rgbd/depth/image_rect', 'rgbd/depth/camera_info'


def compare(estimate: np.ndarray, truth: np.ndarray, limits: tuple[float, float], largest: float) -> DepthErrors | None:
    """Errors of depth over the pixels that have both and whose truth is within `limits` (near and far, m).

    Both (H, W) float32 m, NaN = none. An estimate beyond far, up to infinity, counts as far. None if no pixel has
    both. `largest`: see `dfd_ros.training.metrics.mse`.
    """
    near, far = limits
    with np.errstate(invalid='ignore'):
        both = np.isfinite(np.minimum(estimate, far)) & (truth >= near) & (truth <= far)
    if not both.any():
        return None
    e, t = torch.from_numpy(np.minimum(estimate[both], np.float32(far))), torch.from_numpy(truth[both])
    return depth_errors(e, t, largest)


@functools.lru_cache(16)  # the views of a sweep, which differ where the lens breathes
def _registration(camera: Intrinsics, view: Intrinsics, size: tuple[int, int], pose: bytes) -> DepthRegistration:
    return DepthRegistration(camera, view, size, np.frombuffer(pose).reshape(4, 4))


@functools.lru_cache(16)
def _rectification(view: Intrinsics, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return view.projection.maps(view.matrix, (size[1], size[0]), cv2.CV_32FC1)


class AccuracyNode(GuardedNode):
    """Pairs ``depth/image_rect`` with ``rgbd/depth/image_rect``; publishes the errors of each pair."""

    def __init__(self, **options) -> None:
        super().__init__('accuracy', **options)
        torch.set_num_threads(1)  # the metrics are cheap, and the depth node needs the cores
        values = self._values = BoundParameters(self, AccuracyParameters).values
        calibration = Calibration.read(values.calibration) if values.calibration else Calibration()
        self._extrinsics = ExtrinsicsSource(self, calibration.extrinsics)
        self._lens_limits = 0.0, math.inf
        self._truth_info: CameraInfo | None = None
        self._recent: deque[DepthErrors] = deque(maxlen=RECENT)
        self._pairs = self._compared = 0
        self._problem = ''  # of the last pair
        self._newest: dict[str, tuple[float, float]] = {}  # topic to (time of arrival, stamp), s
        self._paired_at = time.monotonic()

        overridable = qos.overridable()
        self._figures = {
            field.name: self.create_publisher(Float32, f'~/{field.name}', qos.PUBLISHER)
            for field in fields(DepthErrors)
        }
        self.create_subscription(
            CameraInfo, TRUTH_INFO, self._on_truth_info, qos.SENSOR_SUBSCRIBER, qos_overriding_options=overridable
        )
        self.create_subscription(
            LensStateMessage,
            'lens_state',
            self._on_lens_state,
            qos.SENSOR_SUBSCRIBER,
            qos_overriding_options=overridable,
        )
        # With the camera info of each depth image: focus breathing changes it with the focus.
        kinds = {DEPTH: Image, DEPTH_INFO: CameraInfo, TRUTH: Image}
        filters = [
            synchronisation.Subscriber(
                self, kind, topic, qos_profile=qos.SENSOR_SUBSCRIBER, qos_overriding_options=overridable
            )
            for topic, kind in kinds.items()
        ]
        for source, topic in zip(filters, kinds):
            source.registerCallback(self._note_arrival, topic)
        self._topics = {topic: self.resolve_topic_name(topic) for topic in (*kinds, TRUTH_INFO)}
        self._paired_topics = [self._topics[topic] for topic in kinds]
        self._synchroniser = synchronisation.Synchroniser(filters, WAITING, values.slop, self._refuse_stamp)
        self._synchroniser.registerCallback(self._on_pair)
        Diagnostics(self, self._report)

    def _refuse_stamp(self, index: int, stamp: Time) -> None:
        self._problem = messages.impossible_stamp(self._paired_topics[index], stamp)
        self._warn(self._problem)

    def _on_truth_info(self, message: CameraInfo) -> None:
        self._truth_info = message

    def _on_lens_state(self, message: LensStateMessage) -> None:
        if 0 < message.near_distance < message.far_distance:
            self._lens_limits = message.near_distance, message.far_distance

    def _note_arrival(self, message: Image | CameraInfo, topic: str) -> None:
        self._newest[topic] = time.monotonic(), synchronisation.nanoseconds(message.header.stamp) * 1e-9

    def _on_pair(self, depth: Image, info: CameraInfo, truth: Image) -> None:
        self._paired_at = time.monotonic()
        self._pairs += 1
        self._problem = ''
        try:
            self._compare(depth, info, truth)
        except InputError as error:
            self._problem = str(error)
            self._warn(self._problem)
        except Exception as error:
            self._problem = f'{self._topics[DEPTH]} or {self._topics[TRUTH]}: {log_text(error)}'
            raise

    def _compare(self, depth: Image, info: CameraInfo, truth: Image) -> None:
        values = self._values
        estimate = image_messages.to_map(depth, self._topics[DEPTH])
        view = self._intrinsics(info, estimate.shape, DEPTH_INFO)
        if view.distortion:
            # Nearest: a mean across an edge would be a depth that is not in the scene.
            estimate = cv2.remap(
                estimate,
                *_rectification(view, estimate.shape),
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=math.nan,
            )
            view = Intrinsics(view.fx, view.fy, view.cx, view.cy)
        seen = self._registered(truth, depth.header.frame_id, view, estimate.shape)
        if not np.isfinite(seen).any():
            raise InputError(
                f'{self._topics[TRUTH]}: none of its depth falls into the view of {self._topics[DEPTH]}; '
                'do the two cameras see the same, and is the transform between them right?'
            )
        limits = (values.near, values.far) if values.near else self._lens_limits
        errors = compare(estimate, seen, limits, values.largest_depth)
        if errors is None:
            return  # no depth yet, or none above the confidence threshold: diagnostics count it
        self._compared += 1
        self._recent.append(errors)
        for name, publisher in self._figures.items():
            publisher.publish(Float32(data=getattr(errors, name)))

    def _intrinsics(self, info: CameraInfo, size: tuple[int, int], topic: str, **options) -> Intrinsics:
        topic = self._topics[topic]
        if (info.height, info.width) not in (size, (0, 0)):
            raise InputError(f'{topic}: of {info.width}x{info.height} pixels, but the images have {size[1]}x{size[0]}')
        messages.check_camera_info(info, topic)
        return Intrinsics.from_message(info, topic, **options)

    def _registered(self, truth: Image, frame: str, view: Intrinsics, size: tuple[int, int]) -> np.ndarray:
        """The RGB-D sensor's depth in the view of the focus camera with frame `frame`: (H, W) m, NaN = none."""
        measured = to_depth(truth, self._topics[TRUTH])
        info = self._truth_info
        if info is None:
            raise InputError(
                f'nothing on {self._topics[TRUTH_INFO]} yet: without it {self._topics[TRUTH]} cannot be registered'
            )
        camera = self._intrinsics(info, measured.shape, TRUTH_INFO, rectified=True)
        pose = self._extrinsics.matrix(frame, truth.header.frame_id)
        return _registration(camera, view, size, np.ascontiguousarray(pose, float).tobytes())(measured)

    # Once a second.

    def _report(self) -> Report:
        report: dict[str, float | int | str] = {'pairs': self._pairs, 'with depth to compare': self._compared}
        if self._recent:
            mean = DepthErrors(*map(float, np.mean([astuple(errors) for errors in self._recent], 0)))
            report |= {f'{name} (%)' if name == 'accuracy' else name: value for name, value in asdict(mean).items()}
            figures = f'accuracy {mean.accuracy:.1f} %, RMS {mean.rms:.3g}, AbsRel {mean.abs_rel:.3g}'
            self.get_logger().info(
                f'{figures}: means of the last {len(self._recent)} pairs', throttle_duration_sec=LOG_EVERY
            )
        unpaired = self._unpaired()
        if unpaired and (len(self._newest) == len(self._paired_topics) or not self.is_starting):
            self._warn(unpaired)
        if unpaired or self._problem:
            return Report(WARN, unpaired or self._problem, report)
        if not self._recent:
            return Report(message='no depth to compare yet', values=report)
        return Report(message=f'means of the last {len(self._recent)} pairs', values=report)

    def _unpaired(self) -> str:
        """Why there are no pairs, in one line; empty if there are."""
        now = time.monotonic()
        if now - self._paired_at < UNPAIRED_AFTER:
            return ''
        silent = [
            self._topics[topic]
            for topic in (DEPTH, DEPTH_INFO, TRUTH)
            if now - self._newest.get(topic, (-math.inf, 0))[0] > UNPAIRED_AFTER
        ]
        if silent:
            return f'nothing on {", ".join(silent)} for {UNPAIRED_AFTER:g} s'
        apart = abs(self._newest[DEPTH][1] - self._newest[TRUTH][1])
        return (
            f'no pairs: the newest stamps of {self._topics[DEPTH]} and {self._topics[TRUTH]} are {apart:.3f} s '
            f'apart, the parameter slop asks for less than {self._values.slop:g} s'
        )


def main(arguments: list[str] | None = None) -> int:
    return run(AccuracyNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
