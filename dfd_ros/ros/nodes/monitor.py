"""Monitor node: prints rate and quality of the depth once a second; saves pictures and a video."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import rclpy
import torch
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import output_folder
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.significant_bits import SignificantBits
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos, synchronisation
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.guarded_node import GuardedNode
from dfd_ros.ros.monitoring import run_pictures
from dfd_ros.ros.monitoring.run_figures import HEADER, HEADER_OF_ERRORS, Figures, quality
from dfd_ros.ros.monitoring.run_frames import Recording
from dfd_ros.ros.node_parameters import MonitorParameters
from dfd_ros.ros.node_runner import run

WAITING = 50  # messages of a topic that wait for their counterparts
MEASURED_AFTER = 2.0  # s from the first depth image on


class MonitorNode(GuardedNode):
    """Listens to the camera and the depth node, and prints a line a second."""

    _finished = True  # destroy_node runs even if the start failed

    def __init__(self, **options) -> None:
        super().__init__('monitor', **options)
        torch.set_num_threads(1)  # the metrics are cheap, and the depth node needs the cores
        values = self._values = BoundParameters(self, MonitorParameters).values
        self._output = Path(values.output) if values.output else None
        if self._output:
            try:
                output_folder(self._output, *run_pictures.FILES)
            except InputError as error:
                raise InputError(f'parameter output: {error}') from None
        self._figures = Figures()
        self._recording: Recording | None = None
        self._bits = SignificantBits()
        self._arrived: dict[int, float] = {}  # latency of the depth image of a stamp, s
        self._started = time.monotonic()
        self._printed_at = 0.0
        self._heard: Counter[str] = Counter()  # messages by topic
        self._measured = False  # whether a depth image came with everything that belongs to it
        self._problem = ''  # of the last one
        self._first: float | None = None  # when the first depth image arrived

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
            source.registerCallback(self._count, topic)
        self._synchroniser = synchronisation.Synchroniser(filters, WAITING, values.sync_slop, self._refuse_stamp)
        self._synchroniser.registerCallback(self._on_frame)
        self.create_timer(0.05, self._watch)
        self._finished = False

    def destroy_node(self) -> None:
        # The summary comes first: it must not be lost if the process dies while DDS shuts down.
        try:
            if not self._finished:  # rclpy may destroy a node twice
                self._finished = True
                self._finish()
        finally:
            super().destroy_node()

    def _count(self, _: Image | LensStateMessage, topic: str) -> None:
        self._heard[topic] += 1

    def _refuse_stamp(self, index: int, stamp: Time) -> None:
        self._problem = messages.impossible_stamp(self._topics[index], stamp)
        self._warn(self._problem)

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
            rgb = image_messages.to_rgb(image, image_topic, self._bits)
            state = messages.from_message(lens_state, lens_topic)
            maps = [
                image_messages.to_map(message, topic)
                for message, topic in zip((depth, coc, confidence, truth), map_topics)
            ]
        except InputError as error:
            self._problem = str(error)
            self._warn(self._problem)
            return
        self._measured = True
        truth_map = maps[3] if truth is not None else None
        self._figures.add(self._arrived.pop(stamp, math.nan), quality(maps[0], truth_map, state.range))
        if self._output is not None:
            self._record(stamp * 1e-9, state, rgb, maps)

    def _record(self, time_s: float, state: LensState, image: np.ndarray, maps: list[np.ndarray]) -> None:
        depth, coc, confidence, *truth = maps
        if self._recording is None:
            if state.range is None:
                self._warn(f'{self._topics[1]} does not give the range of the lens: no pictures')
                return
            self._recording = Recording(VergenceRange(state.near, state.far))
        self._recording.add(time_s, state.focus_distance, image, depth, coc, confidence, truth[0] if truth else None)

    def _watch(self) -> None:
        now, values = time.monotonic(), self._values
        if self._first is None:
            if values.patience and now - self._started > values.patience:
                raise InputError(f'{self._topics[2]}: no depth image within {values.patience:g} s')
            return
        elapsed = now - self._first
        if elapsed - self._printed_at >= 1:
            print(self._figures.line(elapsed, elapsed - self._printed_at), flush=True)
            self._printed_at = elapsed
            if elapsed > MEASURED_AFTER and not self._measured:
                self._warn(f'depth arrives, but {self._missing()}')
        if values.seconds and elapsed >= values.seconds:
            rclpy.shutdown(context=self.context)

    def _missing(self) -> str:
        """Why depth images arrive but cannot be measured, in one line."""
        silent = [topic for topic in self._topics if not self._heard[topic]]
        if self._problem or silent:
            return self._problem or f'nothing on {", ".join(silent)}'
        return (
            f'the stamps of {", ".join(self._topics)} never differ by less than {self._values.sync_slop:g} s, '
            'the parameter sync_slop'
        )

    def _finish(self) -> None:
        """Prints the summary and writes pictures and video at the end."""
        if self._first is None:
            if self._output is not None and not self._values.patience:
                print(f'no depth image came on {self._topics[2]}: no pictures in {self._output}/', flush=True)
            return
        if not self._measured:
            print(f'\nin all   {self._heard[self._topics[2]]} depth images, but {self._missing()}', flush=True)
            return
        summary = self._figures.summary(self._printed_at or time.monotonic() - self._first)
        print(f'\nin all   {summary}', flush=True)
        if self._recording is None or self._output is None:
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
