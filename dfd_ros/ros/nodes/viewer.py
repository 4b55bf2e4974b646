"""Viewer node: a live page in the browser, of what camera, sweep and depth publish."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.significant_bits import SignificantBits
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.frame_assembler import FrameAssembler, Newest
from dfd_ros.ros.frame_mailbox import Mailbox
from dfd_ros.ros.guarded_node import GuardedNode, log_text
from dfd_ros.ros.node_controls import NodeControls
from dfd_ros.ros.node_parameters import ViewerParameters
from dfd_ros.ros.node_runner import Worker, run
from dfd_ros.ros.rectification import Rectification, rectification
from dfd_ros.ros.synchronisation import nanoseconds
from dfd_ros.viewing import page_server
from dfd_ros.viewing.live_page import LivePage, Status
from dfd_ros.viewing.viewed_frame import Pinhole, ViewedFrame

LOOK_PERIOD = 0.2  # s, between two checks whether the page is open
STATUS_PERIOD = 1.0  # s between two readings of parameters and diagnostics
SILENT_AFTER = 3.0  # s
FORGOTTEN_AFTER = 5.0  # s without a message of a node's diagnostics
FOCI = 40  # frames whose foci give the range, if nothing else does
IMAGE, DEPTH, UNRECTIFIED = 'image_raw', 'depth/image_rect', 'depth/image'
MAPS = {DEPTH: 'depth', UNRECTIFIED: 'depth', 'coc/image': 'coc', 'confidence/image': 'confidence'}
ALL_IN_FOCUS = 'all_in_focus/image'

Item = tuple[int, dict[str, Any]]


class ViewerNode(GuardedNode):
    """Subscribes while a browser has the page open, and only then.

    Callbacks put the messages of an exposure into a one-slot mailbox; a worker thread converts and shows them, at most
    ``max_rate`` times a second.
    """

    worker: Worker | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__('viewer', **options)
        self._settings = BoundParameters(self, ViewerParameters)
        values = self._settings.values
        self._controls = NodeControls(self, values.depth_node, values.sweep_node)
        self._subscriptions_of_page: list[Subscription] = []
        self._subscribed_at = 0.0
        self._read_at = 0.0
        self._foci: deque[float] = deque(maxlen=FOCI)
        self._forget_all()
        server = page_server.open_server(values.host, values.port)
        self._page = LivePage(server, self._controls, self.get_namespace().strip('/') or 'live')
        self.get_logger().info(f'page: {page_server.address(server, values.host)}')
        self._mailbox = Mailbox[Item]()
        self.worker = Worker(self, self._work, self._mailbox.close)
        # Simulated time may stand still.
        self.create_timer(LOOK_PERIOD, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        if self.worker is not None:
            self.worker.close(1.0)
        if hasattr(self, '_page'):
            self._page.close()
        super().destroy_node()

    def _forget_all(self) -> None:
        self._frames = FrameAssembler(DEPTH, IMAGE)
        self._lens_states, self._infos = Newest(), Newest()
        self._bits = SignificantBits()
        self._diagnostics: dict[str, tuple[float, Status]] = {}

    # In the executor's thread.

    def _look(self) -> None:
        is_seen = self._page.viewers > 0
        if is_seen and not self._subscriptions_of_page:
            self._subscribe()
        elif not is_seen and self._subscriptions_of_page:
            for subscription in self._subscriptions_of_page:
                self.destroy_subscription(subscription)
            self._subscriptions_of_page.clear()
        if is_seen and time.monotonic() - self._read_at > STATUS_PERIOD:
            self._read_at = time.monotonic()
            self._controls.read()
            self._page.show_controls()
            self._page.report(self._status())

    def _subscribe(self) -> None:
        self._forget_all()
        self._subscribed_at = time.monotonic()
        self._read_at = 0.0
        topics: dict[str, type] = {IMAGE: Image, **dict.fromkeys(MAPS, Image)}
        if self._settings.values.all_in_focus:
            topics[ALL_IN_FOCUS] = Image
        kept = self._subscriptions_of_page
        for topic, kind in topics.items():
            kept.append(self._subscription(kind, topic, lambda message, topic=topic: self._on_image(topic, message)))
        kept.append(self._subscription(LensStateMessage, 'lens_state', self._on_lens_state, qos.LENS_STATE_SUBSCRIBER))
        kept.append(self._subscription(CameraInfo, 'camera_info', self._on_camera_info))
        kept.append(self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10))

    def _subscription(self, kind: type, topic: str, callback: Any, profile: Any = qos.SENSOR_SUBSCRIBER) -> Any:
        return self.create_subscription(kind, topic, callback, profile, qos_overriding_options=qos.overridable())

    def _on_image(self, topic: str, message: Image) -> None:
        stamp = nanoseconds(message.header.stamp)
        # Rectified or not, there is one depth.
        if (parts := self._frames.push(DEPTH if topic == UNRECTIFIED else topic, stamp, message)) is not None:
            if topic == UNRECTIFIED:
                parts = {**parts, UNRECTIFIED: parts[DEPTH]}
            self._mailbox.put((stamp, parts))

    def _on_lens_state(self, message: LensStateMessage) -> None:
        state = messages.from_message(message, self.resolve_topic_name('lens_state'))
        self._lens_states.add(nanoseconds(message.header.stamp), state)
        self._controls.note(state, message.command_id, message.header.frame_id)
        self._foci.append(state.focus_distance)

    def _on_camera_info(self, message: CameraInfo) -> None:
        messages.check_camera_info(message, self.resolve_topic_name('camera_info'))
        self._infos.add(nanoseconds(message.header.stamp), message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for status in message.status:
            level = min(int.from_bytes(status.level, 'little'), 2)
            self._diagnostics[status.name] = now, Status(level, status.name, status.message)

    def _status(self) -> list[Status]:
        """What the nodes say of themselves, and what does not come."""
        now = time.monotonic()
        self._diagnostics = {
            name: (at, status) for name, (at, status) in self._diagnostics.items() if now - at < FORGOTTEN_AFTER
        }
        found = [status for _, status in self._diagnostics.values()]
        if now - self._subscribed_at > SILENT_AFTER:
            for topic in (IMAGE, DEPTH):
                silent = self._frames.silent_for(topic)
                if silent is None or silent > SILENT_AFTER:
                    name = self.resolve_topic_name(topic)
                    publishers = self.count_publishers(name)
                    why = f'nothing for {SILENT_AFTER:g} s' if publishers else 'nobody publishes it'
                    found.append(Status(2, name, why))
                    self._warn(f'{name}: {why}')
            found += [Status(1, name, 'does not answer: no sliders') for name in self._controls.missing()]
        return sorted(found, key=lambda status: (-status.level, status.name))

    # In the worker's thread.

    def _work(self) -> None:
        due = -1.0
        while True:
            self._mailbox.wait(due - time.monotonic())
            if (item := self._mailbox.take()) is None:
                return
            due = time.monotonic() + 1 / self._settings.values.max_rate
            try:
                self._page.show(self._frame(*item))
            except Exception as error:
                if not self.context.ok():
                    raise
                self._warn(log_text(error))

    def _frame(self, stamp: int, parts: dict[str, Any]) -> ViewedFrame:
        """Everything in the size of the depth, since large images may be reduced for it."""
        maps = {
            name: image_messages.to_map(parts[topic], self.resolve_topic_name(topic))
            for topic, name in MAPS.items()
            if topic in parts
        }
        image = self._picture(parts, IMAGE)
        shape = next((map_.shape for map_ in maps.values()), None if image is None else image.shape[:2])
        assert shape is not None  # there is one of them
        state: LensState | None = self._lens_states.at(stamp)
        info: CameraInfo | None = self._infos.at(stamp) or self._infos.last
        camera, view = self._camera(info, state, shape, UNRECTIFIED in parts)
        all_in_focus = self._picture(parts, ALL_IN_FOCUS)
        depth, coc, confidence = (
            map_ if map_ is not None and map_.shape == shape else None
            for map_ in (maps.get(name) for name in ('depth', 'coc', 'confidence'))
        )
        return ViewedFrame(
            image=np.zeros((*shape, 3), np.uint8) if image is None else view(_sized(image, shape)),
            camera=camera,
            focus_distance=math.nan if state is None else state.focus_distance,
            range=self._range(state),
            depth=depth,
            coc=coc,
            confidence=confidence,
            all_in_focus=None if all_in_focus is None else view(_sized(all_in_focus, shape)),
            age=(self.get_clock().now().nanoseconds - stamp) * 1e-9,
            note='no depth: the depth node is not running, or gives none' if depth is None else '',
        )

    def _picture(self, parts: dict[str, Any], topic: str) -> np.ndarray | None:
        return (
            image_messages.to_rgb(parts[topic], self.resolve_topic_name(topic), self._bits) if topic in parts else None
        )

    def _camera(
        self, info: CameraInfo | None, state: LensState | None, shape: tuple[int, int], is_raw: bool
    ) -> tuple[Pinhole, Rectification]:
        """Of the depth image, and what makes its view of the raw image."""
        height, width = shape
        if info is None or not (info.k[0] > 0 and info.width and info.height):
            return Pinhole.assumed(height, width), Rectification()
        if (info.height, info.width) != shape:
            info = messages.resized_camera_info(info, width, height)
        view = Rectification() if is_raw else rectification(info, self.resolve_topic_name('camera_info'))
        k = view.camera_info(info).k
        return Pinhole(k[0], k[4], k[2], k[5]), view

    def _range(self, state: LensState | None) -> VergenceRange | None:
        """What the lens can focus, else what the last frames cover."""
        if state is not None and state.range is not None:
            return state.range
        foci = list(self._foci)
        return VergenceRange(min(foci), max(foci)) if foci and min(foci) < max(foci) else None


def _sized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return image if image.shape[:2] == shape else cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)


def main(arguments: list[str] | None = None) -> int:
    return run(ViewerNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
