"""Recorder node: records focus camera, RGB-D sensor and TF to a rosbag2 bag that survives a kill; or converts bags."""

from __future__ import annotations

import functools
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from dfd_ros.bags.background_writer import BackgroundWriter
from dfd_ros.bags.bag_writer import Topic
from dfd_ros.core.errors import InputError
from dfd_ros.msg import LensState
from dfd_ros.ros import qos, synchronisation
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.diagnostics import ERROR, WARN, Report
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.node_parameters import RecorderParameters
from dfd_ros.ros.node_runner import Worker, run

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

WAITING = 60  # messages of a topic that wait for their counterparts
NOTHING_AFTER = 3.0  # s
# Deep queues bridge a short stall of the disk or of Python.
SUBSCRIBER = QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=100, reliability=QoSReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=QoSReliabilityPolicy.RELIABLE,
    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
)
IMAGE_TOPICS = ('image_raw', 'rgbd/color/image_raw', 'rgbd/depth/image_rect')
SETS = ('image_raw', 'lens_state', 'rgbd/depth/image_rect')
"""The topics of a frame that can be trained on."""


class RecorderNode(ManagedNode):
    """Writes messages as they arrive, without decoding them; reports on diagnostics what is missing."""

    def __init__(self, **options) -> None:
        super().__init__('recorder', **options)
        self._values = BoundParameters(self, RecorderParameters).values

    def configure(self) -> None:
        values = self._values
        if values.mode == 'convert':
            from dfd_ros.bags import convert_recordings
            from dfd_ros.bags.recording_events import Topics
            from dfd_ros.calibration.calibration_import import CalibrationSource

            self._recordings = convert_recordings.find_recordings([Path(values.bags)])
            # As they would be recorded: in the node's namespace, with its remappings.
            names = {role: self.resolve_topic_name(topic.lstrip('/')) for role, topic in asdict(Topics()).items()}
            self._job = convert_recordings.Job(
                Path(values.output),
                Topics(**names),
                clock_offset=convert_recordings.clock_offset_of(values.clock_offset),
                calibrations=(CalibrationSource.parsed(values.calibration),) if values.calibration else (),
            )

    def activate(self) -> None:
        values = self._values
        if values.mode == 'convert':
            self._stopping = threading.Event()
            self.worker = Worker(self, self._convert, self._stopping.set)
            return
        self._counts: Counter[str] = Counter()  # since the last report
        self._lost: Counter[str] = Counter()  # since the start of the bag
        self._images = self._complete = 0
        self._stopped_because = ''
        self._reported_at = self._heard_at = time.monotonic()
        topics = self._subscribe()
        self._writer = BackgroundWriter(
            Path(values.folder).expanduser().absolute(),
            topics,
            smallest_free=values.disk_reserve * 1000000,
            on_end=self._on_end,
            split_size=values.split_size * 1000000,
            split_time=values.split_time,
            clock=self._now,
        )
        self.worker = Worker(self, self._writer.run, self._writer.close)
        self.create_service(Trigger, '~/start', self._on_start)
        self.create_service(Trigger, '~/stop', self._on_stop)
        if values.enabled:
            self.get_logger().info(f'recording to {self._start()}')

    def _subscribe(self) -> list[Topic]:
        values = self._values
        image = CompressedImage if values.compressed else Image
        suffix = {name: '' for name in IMAGE_TOPICS}
        if values.compressed:
            suffix = {name: '/compressedDepth' if 'depth' in name else '/compressed' for name in IMAGE_TOPICS}
        wanted = {
            'image_raw': image,
            'lens_state': LensState,
            'camera_info': CameraInfo,
            'rgbd/color/image_raw': image,
            'rgbd/color/camera_info': CameraInfo,
            'rgbd/depth/image_rect': image,
            'rgbd/depth/camera_info': CameraInfo,
        }
        if TFMessage is None:
            self.get_logger().warning(
                'tf2_msgs is not installed: /tf and /tf_static are not recorded; convert with '
                'the extrinsics of a calibration file'
            )
        else:
            wanted |= {'/tf': TFMessage, '/tf_static': TFMessage}
        self._filters = {name: synchronisation.OwnFilter() for name in SETS}
        synchroniser = synchronisation.Synchroniser(list(self._filters.values()), WAITING, values.slop)
        synchroniser.registerCallback(self._on_set)
        self._synchroniser = synchroniser
        topics = []
        for number, (name, kind) in enumerate(wanted.items()):
            latched = name == '/tf_static'
            topic = name + suffix.get(name, '')
            subscription = self._create_subscription(kind, topic, LATCHED if latched else SUBSCRIBER, number, name)
            package, _, _module = kind.__module__.partition('.')
            topics.append(Topic(subscription.topic_name, f'{package}/msg/{kind.__name__}', latched))
        self._names = dict(zip(wanted, (topic.name for topic in topics)))
        return topics

    def _create_subscription(self, kind: type, topic: str, profile: QoSProfile, number: int, name: str):
        def on_message(data: bytes) -> None:
            self._on_message(number, name, data)

        def on_lost(event) -> None:
            self._lost[name] += event.total_count_change

        subscribe = functools.partial(
            self.create_subscription,
            kind,
            topic,
            on_message,
            profile,
            raw=True,
            qos_overriding_options=qos.overridable(),
        )
        try:
            return subscribe(event_callbacks=SubscriptionEventCallbacks(message_lost=on_lost))
        except UnsupportedEventTypeError:
            return subscribe()

    def _now(self) -> int:
        """ns."""
        return self.get_clock().now().nanoseconds

    def _on_message(self, number: int, name: str, data: bytes) -> None:
        self._writer.put(number, self._now(), data)
        self._counts[name] += 1
        self._heard_at = time.monotonic()
        if name == 'image_raw':
            self._images += 1
        if name in self._filters:
            self._filters[name].signalMessage(_Stamped(data))

    def _on_set(self, *_) -> None:
        self._complete += 1

    def _start(self) -> Path:
        name = time.strftime('%Y-%m-%d_%H-%M-%S')
        try:
            while (self._writer.folder / name).exists():
                time.sleep(0.1)
                name = time.strftime('%Y-%m-%d_%H-%M-%S')
        except OSError as error:
            raise InputError(f'parameter folder: {self._writer.folder}: {error.strerror}') from None
        self._lost.clear()
        self._images = self._complete = 0
        self._stopped_because = ''
        return self._writer.start(name)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._respond(response, lambda: str(self._start()))

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._respond(response, self._writer.stop)

    @staticmethod
    def _respond(response: Trigger.Response, work) -> Trigger.Response:
        try:
            response.message, response.success = work(), True
        except InputError as error:
            response.message, response.success = str(error), False
        return response

    def _on_end(self, line: str) -> None:
        self._stopped_because = line
        self.get_logger().error(line)

    def report(self) -> Report:
        if self._values.mode == 'convert':
            return Report(message='converting')
        now = time.monotonic()
        seconds, self._reported_at = now - self._reported_at, now
        counts, self._counts = self._counts, Counter()
        values: dict[str, float | int | str] = {
            f'{name} (Hz)': counts[name] / seconds for name in self._names if not name.startswith('/')
        }
        bag = self._writer.bag
        values |= {
            'images': self._images,
            'images with lens state and depth': self._complete,
            'lost on the way': self._lost.total(),
            'dropped': self._writer.dropped,
            'disk left (GB)': self._writer.free / 1e9,
        }
        if self._stopped_because:
            return Report(ERROR, self._stopped_because, values)
        if bag is None:
            return Report(message='not recording', values=values)
        values |= {'bag': str(bag.folder), 'messages': bag.messages, 'written (MB)': bag.size / 1e6}
        if now - self._heard_at > NOTHING_AFTER:
            if not self.is_starting:
                self._warn(f'nothing on {self._names["image_raw"]} or any other topic: is the camera running?')
            return Report(WARN, 'recording, but nothing arrives', values)
        silent = [self._names[name] for name in SETS if not counts[name]]
        if silent:
            if not self.is_starting:
                self._warn(f'nothing on {", ".join(silent)}')
            return Report(WARN, f'recording, but nothing on {", ".join(silent)}', values)
        if self._writer.dropped or self._lost.total():
            return Report(WARN, 'recording, but messages are lost', values)
        return Report(message='recording', values=values)

    def _convert(self) -> None:
        from dfd_ros.bags import convert_recordings

        logger = self.get_logger()

        def progress(*_: int) -> None:
            if self._stopping.is_set():
                raise RuntimeError('stopped')  # by a signal; the half-done conversion stays and is resumed later

        results = convert_recordings.convert_all(
            self._recordings, self._job, workers=self._values.workers, progress=progress
        )
        for result in results:
            logger.error(result.error) if result.error else logger.info(f'{result.recording}: {result.summary}')
        failed = sum(bool(result.error) for result in results)
        if failed:
            raise InputError(f'{failed} of {len(results)} bags were left out')
        if self.worker is not None:
            self.worker.failure.set_result(None)  # done: the process ends


class _Stamped:
    """The stamp of a message that has not been decoded, for a synchroniser."""

    def __init__(self, data: bytes) -> None:
        # CDR: 4 bytes with the byte order, then the header, which begins with its stamp.
        sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
        self.header = Header(stamp=Time(sec=sec, nanosec=nanosec))


def main(arguments: list[str] | None = None) -> int:
    return run(RecorderNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
