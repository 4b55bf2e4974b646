"""Monitor node: tells once a second how fast and how good the depth is; leaves pictures and a video."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import rclpy
import torch
from rclpy.node import Node
from sensor_msgs.msg import Image
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos, synchronisation
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.monitoring import run_pictures
from dfd_ros.ros.monitoring.run_figures import HEADER, HEADER_OF_ERRORS, Figures, quality
from dfd_ros.ros.monitoring.run_frames import Recording
from dfd_ros.ros.node_parameters import MonitorParameters
from dfd_ros.ros.node_runner import run

WAITING = 50  # messages of a topic that wait for their counterparts
WARN_EVERY = 5.0  # s
MEASURED_AFTER = 2.0  # s from the first depth image on


class MonitorNode(Node):
    """Listens to the camera and to what the depth node makes of it, and prints a line a second."""

    _first: float | None = None  # when the first depth image came; destroy_node also comes where the start failed

    def __init__(self, **options) -> None:
        super().__init__('monitor', **options)
        torch.set_num_threads(1)  # the figures are small work, and the depth node needs the cores
        values = self._values = BoundParameters(self, MonitorParameters).values
        self._output = Path(values.output) if values.output else None
        if self._output:
            try:
                self._output.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f'parameter output: {self._output}: {error.strerror}') from None
        self._figures = Figures()
        self._recording: Recording | None = None
        self._arrived: dict[int, float] = {}  # latency of the depth image of a stamp, s
        self._started = time.monotonic()
        self._told = 0.0
        self._heard: Counter[str] = Counter()  # messages by topic
        self._measured = False  # a depth image, with all that belongs to it
        self._problem = ''  # of the last one
        self._finished = False

        topics = {
            'image_raw': Image,
            'lens_state': LensStateMessage,
            'depth/image_rect': Image,
            'coc/image': Image,
            'confidence/image': Image,
        }
        if values.truth:
            topics['truth/depth'] = Image
        filters = [
            synchronisation.Subscriber(
                self, kind, topic, qos_profile=qos.SENSOR_SUBSCRIBER, qos_overriding_options=qos.overridable()
            )
            for topic, kind in topics.items()
        ]
        filters[2].registerCallback(self._note_arrival)
        self._topics = [self.resolve_topic_name(topic) for topic in topics]
        for source, topic in zip(filters, self._topics):
            source.registerCallback(self._note, topic)
        self._synchroniser = synchronisation.synchronise(filters, WAITING, values.sync_slop)
        self._synchroniser.registerCallback(self._on_frame)
        self.create_timer(0.05, self._watch)

    def destroy_node(self) -> None:
        # First the summary: a teardown of DDS in the middle of which it dies must not take that along.
        try:
            if self._first is not None and not self._finished:  # rclpy may destroy a node twice
                self._finished = True
                self._finish()
        finally:
            super().destroy_node()

    def _note(self, _: Image | LensStateMessage, topic: str) -> None:
        self._heard[topic] += 1

    def _note_arrival(self, depth: Image) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            print(HEADER + (HEADER_OF_ERRORS if self._values.truth else ''), flush=True)
        stamp = synchronisation.nanoseconds(depth.header.stamp)
        self._arrived[stamp] = (self.get_clock().now().nanoseconds - stamp) * 1e-9
        while len(self._arrived) > WAITING:
            del self._arrived[next(iter(self._arrived))]  # not the oldest stamp: a bag may begin again

    def _on_frame(
        self,
        image: Image,
        lens_state: LensStateMessage,
        depth: Image,
        coc: Image,
        confidence: Image,
        truth: Image | None = None,
    ) -> None:
        stamp = synchronisation.nanoseconds(depth.header.stamp)
        image_topic, lens_topic, *map_topics = self._topics
        try:
            rgb = image_messages.to_rgb(image, image_topic)
            state = messages.from_message(lens_state, lens_topic)
            maps = [
                image_messages.to_map(message, topic)
                for message, topic in zip((depth, coc, confidence, truth), map_topics)
            ]
        except InputError as error:
            self._problem = str(error)
            self.get_logger().warning(self._problem, throttle_duration_sec=WARN_EVERY)
            return
        self._measured = True
        truth_map = maps[3] if truth is not None else None
        self._figures.add(self._arrived.pop(stamp, math.nan), quality(maps[0], truth_map, state.range))
        if self._output is not None:
            self._record(stamp * 1e-9, state, rgb, maps[:3], truth_map)

    def _record(
        self, time_s: float, state: LensState, image: np.ndarray, maps: list[np.ndarray], truth: np.ndarray | None
    ) -> None:
        if self._recording is None:
            if state.range is None:
                self.get_logger().warning(
                    f'{self._topics[1]} does not say what the lens can focus: no pictures',
                    throttle_duration_sec=WARN_EVERY,
                )
                return
            self._recording = Recording(VergenceRange(state.near, state.far))
        self._recording.add(time_s, state.focus_distance, image, *maps, truth)

    def _watch(self) -> None:
        now, values = time.monotonic(), self._values
        if self._first is None:
            if values.patience and now - self._started > values.patience:
                raise InputError(f'{self._topics[2]}: no depth image within {values.patience:g} s')
            return
        elapsed = now - self._first
        if elapsed - self._told >= 1:
            print(self._figures.line(elapsed, elapsed - self._told), flush=True)
            self._told = elapsed
            if elapsed > MEASURED_AFTER and not self._measured:
                self.get_logger().warning(f'depth comes, but {self._missing()}', throttle_duration_sec=WARN_EVERY)
        if values.seconds and elapsed >= values.seconds:
            rclpy.shutdown(context=self.context)

    def _missing(self) -> str:
        """Why depth images come, but cannot be measured, in one line."""
        silent = [topic for topic in self._topics if not self._heard[topic]]
        if self._problem or silent:
            return self._problem or f'nothing on {", ".join(silent)}'
        return (
            f'no stamps of {", ".join(self._topics)} that differ by less than {self._values.sync_slop:g} s, the '
            'parameter sync_slop'
        )

    def _finish(self) -> None:
        """The summary, pictures and video, once nothing comes any more."""
        if not self._measured:
            print(f'\nin all   {self._heard[self._topics[2]]} depth images, but {self._missing()}', flush=True)
            return
        summary = self._figures.summary(self._told or time.monotonic() - self._first)
        print(f'\nin all   {summary}', flush=True)
        if self._recording is None:
            return
        names = run_pictures.write(
            self._recording,
            self._output,
            summary,
            lambda frames: tqdm(frames, desc='video', unit='frame', leave=False, file=sys.stdout, disable=None),
        )
        print(f'files    {self._output}/: {", ".join(names)}', flush=True)


def main(arguments: list[str] | None = None) -> int:
    return run(MonitorNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
