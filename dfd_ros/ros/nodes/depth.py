"""Depth node: depth, circle of confusion and confidence for every image, with the lens state of each."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.frame_offset import FrameOffset
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.machine import resident_memory
from dfd_ros.core.significant_bits import SignificantBits
from dfd_ros.inference.backends import is_device_failure, release_memory
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.estimator_arguments import network_size
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos, synchronisation
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.depth_health import BUSY, RESTING, TOO_FAST, TOO_OLD, DepthHealth, FocusHistory
from dfd_ros.ros.depth_outputs import DepthOutputs
from dfd_ros.ros.diagnostics import WARN, Report
from dfd_ros.ros.focus_range import FocusRangePublisher
from dfd_ros.ros.focus_region import FocusRegion
from dfd_ros.ros.frame_mailbox import Mailbox, Pace
from dfd_ros.ros.managed_node import UNCONFIGURED, ManagedNode
from dfd_ros.ros.node_parameters import DepthParameters
from dfd_ros.ros.node_runner import Worker, run
from dfd_ros.ros.resolution_control import ResolutionControl
from dfd_ros.ros.throttled_warnings import log_text

SYNC_QUEUE = 10  # messages of a topic that wait for their counterpart
UNPAIRED_AFTER = 2.0  # s without a pair
CAMERA_INFOS = 50  # kept until their images are done
ARRIVALS = 50  # of a topic, kept until their pairs are complete
PACE_LOOK = 0.2  # s after which another max_rate counts, at most
PERIODS = 20  # pairs whose mean distance is the period of the camera


@dataclass
class FrameTimes:
    """When a frame passed each stage, s of time.monotonic."""

    received: float  # image and lens state have both arrived
    started: float = math.nan  # the worker has taken it
    converted: float = math.nan  # the image is an array
    estimated: float = math.nan  # the network is done
    published: float = math.nan  # all results are handed to the middleware


Item = tuple[Image | CompressedImage, LensStateMessage, CameraInfo | None, FrameTimes]


def _focus(item: Item) -> float:
    return item[1].focus_distance


def _reduced(image: np.ndarray, state: LensState, resolution: int) -> tuple[np.ndarray, LensState]:
    """The same with at most `resolution` px on the longer side of the image; 0: unchanged."""
    before = image.shape[0], image.shape[1]
    height, width = network_size(*before, resolution or None)
    if (height, width) == before:
        return image, state
    reduced = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return reduced, replace(state, pixel_pitch=state.pixel_pitch * image.shape[1] / width)


class DepthNode(ManagedNode):
    """Pairs ``image_raw`` with ``lens_state`` and publishes ``depth``, ``coc``, ``confidence`` and ``all_in_focus``.

    Callbacks only put a pair into a one-slot mailbox; a worker thread estimates and publishes. While it is busy one
    pair waits: the one whose focus was processed longest ago, the newest of equals.
    """

    def __init__(self, **options) -> None:
        super().__init__('depth', **options)
        self._settings = BoundParameters(self, DepthParameters)
        self._candidate: tuple[str, DepthEstimator] | None = None  # by the weights file
        self._successor: deque[DepthEstimator] = deque(maxlen=1)  # takes over with the next image
        self.add_on_set_parameters_callback(self._try_weights)
        self.add_post_set_parameters_callback(self._use_weights)

    def configure(self) -> None:
        self._device_failure = ''  # why the GPU is no longer used
        self._estimator = self._settings.values.estimator()
        self._outputs = DepthOutputs(self, self._settings.values.rectification, self._warn)
        self._focus_region = FocusRegion(self, self._warn)
        values = self._settings.values
        self._focus_range = FocusRangePublisher(self, values.range) if values.adaptive_range else None
        self._reset = threading.Event()
        self.create_service(Trigger, '~/reset', self._on_reset)

    def activate(self) -> None:
        self._foci = FocusHistory()
        self._mailbox = Mailbox[Item](lambda waiting, new: self._foci.is_staler(_focus(waiting), _focus(new)))
        self._camera_info: CameraInfo | None = None  # the newest
        self._camera_infos: dict[int, CameraInfo] = {}  # by stamp, ns
        self._info_problem = ''  # of that of the last image
        self._range_problem = ''
        self._has_remarked = False  # that confidence is low
        self._newest: dict[str, tuple[float, float]] = {}  # topic to (time of arrival, stamp), s
        self._arrivals: dict[str, dict[int, float]] = {}  # topic to stamp (ns) to time of arrival, s
        self._paired_at = time.monotonic()
        self._repeated = 0  # messages of a stamp that had come already, at the last report
        self._usable: deque[float] = deque(maxlen=PERIODS + 1)  # when the last pairs to process came, s
        self._is_pacing = False  # the worker waits for the sake of max_rate
        self._pace = Pace()
        self._resolution: ResolutionControl | None = None
        self._resolution_changed_because = ''
        self._health = DepthHealth()
        self._frame_id: str | None = None  # of the stream in memory
        self._encoding, self._bits = '', SignificantBits(self._settings.values.image_bits)
        self._delay = self._settings.values.lens_state_delay

        overridable = qos.overridable()
        self._focus_region.subscribe()
        self._image_topic, self._lens_topic, self._info_topic = map(
            self.resolve_topic_name, ('image_raw', 'lens_state', 'camera_info')
        )
        self.create_subscription(
            CameraInfo, 'camera_info', self._on_camera_info, qos.SENSOR_SUBSCRIBER, qos_overriding_options=overridable
        )
        kind: type = Image
        if self._settings.values.compressed:  # the name is made of the one that image_raw is remapped to
            self._image_topic, kind = f'{self._image_topic}/compressed', CompressedImage
        filters = [
            synchronisation.Subscriber(self, kind, topic, qos_profile=profile, qos_overriding_options=overridable)
            for kind, topic, profile in (
                (kind, self._image_topic, qos.SENSOR_SUBSCRIBER),
                (LensStateMessage, 'lens_state', qos.LENS_STATE_SUBSCRIBER),
            )
        ]
        filters[1].registerCallback(self._take_delay_out)
        for source, topic in zip(filters, (self._image_topic, self._lens_topic)):
            source.registerCallback(self._note_arrival, topic)
        slop = self._settings.values.sync_slop
        self._synchroniser = synchronisation.Synchroniser(filters, SYNC_QUEUE, slop, self._refuse_stamp)
        self._synchroniser.registerCallback(self._on_pair)
        self.get_logger().info(f'pairs by {synchronisation.IMPLEMENTATION}, images by {image_messages.CONVERTER}')

        self.worker = Worker(self, self._work, self._mailbox.close)

    def cleanup(self) -> None:
        vars(self).pop('_estimator', None)  # it may have failed to load
        self._candidate = None
        self._successor.clear()
        release_memory()

    # Callbacks: short, in the executor's thread.

    def _on_camera_info(self, message: CameraInfo) -> None:
        messages.check_camera_info(message, self._info_topic)
        self._camera_info = message
        self._camera_infos[synchronisation.nanoseconds(message.header.stamp)] = message
        if len(self._camera_infos) > CAMERA_INFOS:
            del self._camera_infos[next(iter(self._camera_infos))]

    def _take_delay_out(self, message: LensStateMessage) -> None:
        if delay := self._settings.values.lens_state_delay:
            message.header.stamp = synchronisation.shifted(message.header.stamp, -delay)

    def _note_arrival(self, message: Image | CompressedImage | LensStateMessage, topic: str) -> None:
        now, stamp = time.monotonic(), synchronisation.nanoseconds(message.header.stamp)
        self._newest[topic] = (now, stamp * 1e-9)
        arrivals = self._arrivals.setdefault(topic, {})
        arrivals[stamp] = now
        if len(arrivals) > ARRIVALS:
            del arrivals[next(iter(arrivals))]
        if topic == self._image_topic:
            self._health.offset.add_image(stamp * 1e-9)

    def _refuse_stamp(self, index: int, stamp: Time) -> None:
        text = messages.impossible_stamp((self._image_topic, self._lens_topic)[index], stamp)
        self._health.refuse(text)
        self._warn(text)

    def _on_pair(self, image: Image | CompressedImage, lens_state: LensStateMessage) -> None:
        self._paired_at = time.monotonic()
        self._health.add_pair()
        arrived = [
            self._arrivals[topic].get(synchronisation.nanoseconds(message.header.stamp), math.nan)
            for topic, message in ((self._image_topic, image), (self._lens_topic, lens_state))
        ]
        self._health.offset.add_pair(*arrived)
        if self._settings.values.skip_unsettled and not lens_state.settled:
            self._health.add_unsettled()
            return
        self._health.order.add(lens_state.focus_distance)
        if self._usable and self._paired_at - self._usable[-1] > UNPAIRED_AFTER:
            self._usable.clear()  # a pause is no period
        self._usable.append(self._paired_at)
        if self._mailbox.put((image, lens_state, self._camera_info, FrameTimes(self._paired_at))):
            self._health.drop(TOO_FAST if self._is_pacing else BUSY)

    def _try_weights(self, changes: list[Parameter]) -> SetParametersResult:
        """Refuses weights that cannot be used; the node then keeps those that it has."""
        weights = next((change.value for change in changes if change.name == 'weights'), None)
        self._candidate = None
        if isinstance(weights, str) and self.state != UNCONFIGURED:  # the same name too: the file may be another
            self._candidate = weights, replace(self._usable_values(), weights=weights).estimator()
        return SetParametersResult(successful=True)

    def _use_weights(self, changes: list[Parameter]) -> None:
        if self._candidate is not None and any(change.name == 'weights' for change in changes):
            weights, estimator = self._candidate
            self._candidate = None
            self._successor.append(estimator)
            self.get_logger().info(f'weights: {weights or "those of the package"}')

    def _usable_values(self) -> DepthParameters:
        """The parameters, without a GPU that has failed."""
        values = self._settings.values
        return replace(values, device='cpu') if self._device_failure else values

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset.set()
        response.success = True
        response.message = 'the next image starts from an empty memory'
        return response

    # The worker's thread.

    def _work(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._process(*item)
            except Exception as error:
                if not self.context.ok():
                    raise
                text = log_text(error)
                if not isinstance(error, InputError):
                    text = f'{self._image_topic} and {self._lens_topic}: {text}'
                self._health.refuse(text)
                self._warn(text)

    def _next(self) -> Item | None:
        """The pair that waits, once max_rate allows for it. So the foci of a sweep take turns, as when the network is
        slow: every n-th pair could be of one focus for ever."""
        while left := self._pace.left(self._settings.values.max_rate, time.monotonic()):
            self._is_pacing = True
            if self._mailbox.wait(min(left, PACE_LOOK)):
                break
        self._is_pacing = False
        self._pace.take(time.monotonic())
        return self._mailbox.take()

    def _process(
        self,
        message: Image | CompressedImage,
        lens_message: LensStateMessage,
        newest_info: CameraInfo | None,
        times: FrameTimes,
    ) -> None:
        values = self._settings.values
        times.started = time.monotonic()
        self._foci.add(lens_message.focus_distance)
        if self._successor:
            self._estimator = self._successor.pop()
        if values.max_age and self._age(message.header) > values.max_age:
            self._health.drop(TOO_OLD)
            return
        rests = self._rests
        if rests or self._reset.is_set():
            self._reset.clear()
            self._estimator.reset()
            if rests:
                self._health.drop(RESTING)
                return
        image = self._decoded(message)
        lens_state = messages.from_message(lens_message, self._lens_topic)
        shape = image.shape[:2]
        image, reduced_state = _reduced(image, lens_state, values.output_resolution)
        times.converted = time.monotonic()
        estimate = self._estimate(image, reduced_state, message.header.frame_id)
        times.estimated = time.monotonic()
        threshold = estimate.threshold(values.confidence_threshold, values.accepted_errors)
        # The focus changes the intrinsics: take those of this image, not the newest.
        info = self._camera_infos.get(synchronisation.nanoseconds(message.header.stamp), newest_info)
        self._info_problem = messages.size_mismatch(info, shape, self._info_topic)
        info = messages.camera_info_of_image(None if self._info_problem else info, lens_state, shape, message.header)
        if image.shape[:2] != shape:
            info = messages.resized_camera_info(info, image.shape[1], image.shape[0])
        left = self._outputs.publish(estimate, threshold, image, info, values)
        self._focus_region.publish(estimate, threshold, shape)
        if self._focus_range:
            self._range_problem = self._focus_range.publish(self._estimator, estimate, lens_state, message.header)
        times.published = time.monotonic()
        self._health.add_frame(estimate, lens_state.focus_distance, threshold, left)
        self._note_times(message.header, times)
        if values.adapt_resolution:
            self._adapt_resolution(max(image.shape[:2]), times.published - times.started)

    @property
    def _rests(self) -> bool:
        """Whether nobody wants a result, and the node may rest then."""
        return self._settings.values.lazy and not (self._outputs.are_wanted() or self._focus_region.is_due)

    def _decoded(self, message: Image | CompressedImage) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises InputError."""
        encoding = message.format if isinstance(message, CompressedImage) else message.encoding
        if encoding != self._encoding or self._frame_id not in (None, message.header.frame_id):
            self._encoding, self._bits = encoding, SignificantBits(self._settings.values.image_bits, self._warn)
        before = self._bits.bits
        image = image_messages.to_rgb(message, self._image_topic, self._bits)
        if 0 < before < self._bits.bits:
            self._estimator.reset(f'the images use {self._bits.bits} bits, not {before}')
            self._health.add_reset(self._estimator.reset_reason)
        return image

    def _estimate(self, image: np.ndarray, lens_state: LensState, frame_id: str) -> Estimate:
        estimator, resets = self._estimator, self._estimator.resets
        if self._frame_id not in (None, frame_id):
            estimator.reset(f'frame_id {quoted(self._frame_id)}, then {quoted(frame_id)}')
        self._frame_id = frame_id
        if self._delay != (delay := self._settings.values.lens_state_delay):
            self._delay = delay
            self._health.offset = FrameOffset()
            estimator.reset(f'lens_state_delay is {delay:g} s now')
        estimator.all_in_focus = self._outputs.all_in_focus_is_wanted()
        if self._resolution is not None and estimator.resolution != self._resolution.resolution:
            estimator.change_resolution(self._resolution.resolution, self._resolution_changed_because)
        try:
            estimate = estimator.push(image, lens_state)
        except Exception as error:
            if self._device_failure or not is_device_failure(error):
                raise
            estimator = self._leave_gpu(error)
            resets = estimator.resets
            estimator.all_in_focus = self._outputs.all_in_focus_is_wanted()
            estimate = estimator.push(image, lens_state)
        if estimator.resets > resets:
            self._health.add_reset(estimator.reset_reason)
        self._health.note_evidence(estimator.evidence)
        late = self._late_lens_states()
        return estimate.without_depth(late) if late else estimate

    def _leave_gpu(self, error: Exception) -> DepthEstimator:
        """Continues with an estimator on the CPU, from an empty memory."""
        self._device_failure = f'{log_text(error)}; depth continues on the CPU until the node is configured again'
        estimator = self._usable_values().estimator()
        if self._resolution is not None:
            estimator.change_resolution(self._resolution.resolution, '')
        self._estimator = estimator
        self._warn(self._device_failure)
        self._health.add_reset('the GPU failed')
        with contextlib.suppress(RuntimeError):  # of a GPU that is lost
            release_memory()
        return estimator

    def _adapt_resolution(self, side: int, took: float) -> None:
        """After a frame whose longer side has `side` px, which took `took` s."""
        values, usable = self._settings.values, list(self._usable)
        highest = min(values.resolution or side, side)
        if self._resolution is None or self._resolution.highest != highest:
            self._resolution = ResolutionControl(highest)
        if len(usable) > PERIODS // 2:
            period = (usable[-1] - usable[0]) / (len(usable) - 1)
            period = max(period, 1 / values.max_rate) if values.max_rate else period
            if change := self._resolution.add(took, period, time.monotonic()):
                self._resolution_changed_because = change
                self.get_logger().info(change)

    def _late_lens_states(self) -> str:
        """Why the lens states seem to be of other images, in one line; empty if they do not."""
        values = self._settings.values
        late = '' if values.trust_stamps else self._health.late_lens_states(values.lens_state_delay)
        return late and f'{self._lens_topic} {late}'

    def _age(self, header: Header) -> float:
        """Time since the stamp, s."""
        # rclpy's Time refuses stamps before 1970.
        return (self.get_clock().now().nanoseconds - synchronisation.nanoseconds(header.stamp)) * 1e-9

    def _note_times(self, header: Header, times: FrameTimes) -> None:
        waiting, network = times.started - times.received, times.estimated - times.converted
        self._health.add_latency(self._age(header))
        self._health.waiting.add(waiting)
        self._health.network.add(network)
        self._health.added.add(times.published - times.received - waiting - network)

    # Once a second.

    def report(self) -> Report:
        synchroniser, values = self._synchroniser, self._settings.values
        unpaired = synchroniser.unpaired(0)
        self._health.note_images(synchroniser.arrived[0], unpaired)
        figures = self._health.figures() | {
            'messages with the stamp of the one before': sum(synchroniser.repeated),
            'images without lens state': unpaired,
            'lens states without image': synchroniser.unpaired(1),
            **self._machine_figures(),
        }
        problem = self._no_pairs()
        if problem is None and self._rests:
            return Report(message='resting: nobody subscribes to a result', values=figures)
        problem = problem or self._stream_problem() or self._health.problem(values) or self._memory_problem()
        problem = problem or self._device_failure or self._info_problem or self._range_problem
        if problem:
            if len(self._newest) == 2 or not self.is_starting:
                self._warn(problem)
            return Report(WARN, problem, figures)
        if (remark := self._health.remark()) and not self._has_remarked:
            self._warn(remark)
        self._has_remarked = bool(remark)
        return Report(values=figures)

    def _machine_figures(self) -> dict[str, float | str]:
        device = self._estimator.device
        figures: dict[str, float | str] = {
            'device': str(device),
            'resolution (px)': str(self._estimator.resolution or 'all'),
            'memory (MB)': resident_memory(),
        }
        if self._focus_range and (swept := self._focus_range.range):
            figures['swept (m)'] = f'{swept.near:.3g} to {swept.far:.3g}'
        if device.type == 'cuda':
            figures['GPU memory (MB)'] = torch.cuda.memory_reserved(device) / 1e6
        return figures

    def _memory_problem(self) -> str | None:
        limit, memory = self._settings.values.max_memory, resident_memory()
        return f'the process takes {memory:.0f} MB, more than max_memory ({limit:g} MB)' if 0 < limit < memory else None

    def _stream_problem(self) -> str | None:
        """What is wrong with how images and lens states come, in one line."""
        images, states = self._image_topic, self._lens_topic
        for topic in (images, states):
            if (publishers := self.count_publishers(topic)) > 1:
                return f'{publishers} publishers on {topic}: depth needs the images of one camera'
        if late := self._late_lens_states():
            return late
        if (share := self._health.unpaired_share()) > self._settings.values.max_unpaired:
            return (
                f'{share:.0%} of the images find no message on {states} whose stamp differs by less than '
                f'{self._settings.values.sync_slop:g} s, the parameter sync_slop'
            )
        return None

    def _no_pairs(self) -> str | None:
        """Why there are no pairs, in one line."""
        now = time.monotonic()
        if now - self._paired_at < UNPAIRED_AFTER:
            return None
        missing = [
            topic
            for topic in (self._image_topic, self._lens_topic)
            if now - self._newest.get(topic, (-math.inf, 0))[0] > UNPAIRED_AFTER
        ]
        if missing:
            return f'nothing on {" and ".join(missing)} for {UNPAIRED_AFTER:g} s'
        repeated = sum(self._synchroniser.repeated)
        stands, self._repeated = repeated > self._repeated, repeated
        if stands:
            return (
                f'the stamps of {self._image_topic} and {self._lens_topic} stand still at '
                f'{self._newest[self._image_topic][1]:.3f} s: no depth until their clock runs'
            )
        apart = self._newest[self._image_topic][1] - self._newest[self._lens_topic][1]
        return (
            f'no pairs: the newest stamps of {self._image_topic} and {self._lens_topic} are '
            f'{abs(apart):.3f} s apart, the parameter sync_slop asks for less than '
            f'{self._settings.values.sync_slop:g} s'
        )


def main(arguments: list[str] | None = None) -> int:
    return run(DepthNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
