"""Many frames through one depth node: does it grow?

    ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST .venv/bin/python benchmarks/soak.py --frames 100000

The real node runs as a process of its own and answers over DDS. The next image is published when the depth of the one
before has come. Exits with 1 where memory, file descriptors or threads grow between the second and the last quarter of
the run, or images get no answer. Times are for comparison only: they depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import _common
import numpy as np
import rclpy
from processes import cpu_time
from rclpy.signals import SignalHandlerOptions
from ros_processes import PATIENCE, NodeProcess, wait_until
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dfd_ros.core.markdown_table import table
from dfd_ros.msg import LensState
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.node_runner import use_image_transport_profile
from dfd_ros.ros.synchronisation import nanoseconds

CYCLE = 160  # different frames, published again and again
LOST = 10.0  # s after which an image counts as lost
MEMORY_GROWTH = 8.0  # MB
LOST_SHARE = 0.001


@dataclass(frozen=True)
class Usage:
    """What a process has in use."""

    memory: float  # MB, resident
    files: int
    threads: int
    time: float  # s of the processor, since its start

    @classmethod
    def of(cls, process: int) -> Usage:
        folder = Path(f'/proc/{process}')
        status = dict(line.split(':', 1) for line in (folder / 'status').read_text().splitlines())
        return cls(
            int(status['VmRSS'].split()[0]) / 1024,
            len(os.listdir(folder / 'fd')),
            int(status['Threads']),
            cpu_time(process),
        )


@dataclass(frozen=True)
class Interval:
    """A part of the run."""

    frames: int  # since the start
    lost: int
    latencies: np.ndarray  # ms
    usage: Usage  # at its end
    time: float  # ms of the processor a frame

    def row(self) -> list[str]:
        percentiles = np.percentile(self.latencies, (50, 95, 99)) if len(self.latencies) else [np.nan] * 3
        usage = self.usage
        return [
            f'{self.frames}',
            *(f'{usage.memory:.1f}', f'{usage.files}', f'{usage.threads}', f'{self.time:.1f}'),
            *(f'{value:.1f}' for value in percentiles),
            f'{self.lost}',
        ]


COLUMNS = ['frames', 'RSS MB', 'files', 'threads', 'CPU ms a frame', 'latency ms', '95 %', '99 %', 'lost']


class Stream:
    """Publishes images with lens states and waits for their depth."""

    def __init__(self, height: int, width: int) -> None:
        use_image_transport_profile()
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C ends the run with its report
        self._node = rclpy.create_node('soak')
        self._images = self._node.create_publisher(Image, 'image_raw', qos.PUBLISHER)
        self._lens_states = self._node.create_publisher(LensState, 'lens_state', qos.PUBLISHER)
        self._depth = self._node.create_subscription(Image, 'depth/image_rect', self._note, qos.SENSOR_SUBSCRIBER)
        self._frames = itertools.cycle(list(itertools.islice(_common.frames(height, width), CYCLE)))
        self._answered = 0

    def wait(self) -> None:
        """Until the depth node listens and publishes."""
        publishers = self._images, self._lens_states
        wait_until(lambda: all(p.get_subscription_count() for p in publishers), 'a depth node that listens')
        wait_until(lambda: self._node.count_publishers(self._depth.topic_name), 'a depth node that publishes')
        end = time.monotonic() + PATIENCE
        while self.exchange(0.2) is None and time.monotonic() < end:  # until DDS has connected both ways
            pass

    def exchange(self, timeout: float = LOST) -> float | None:
        """The time until the depth of the next frame comes, ms; None if it does not come in `timeout` s."""
        image, state = next(self._frames)
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id='camera')
        self._lens_states.publish(messages.to_message(state, header))
        message = image_messages.to_message(image, header)
        began, stamp = time.monotonic(), nanoseconds(header.stamp)
        self._images.publish(message)
        while self._answered != stamp:
            if time.monotonic() > began + timeout:
                return None
            rclpy.spin_once(self._node, timeout_sec=timeout)
        return 1e3 * (time.monotonic() - began)

    def _note(self, message: Image) -> None:
        self._answered = nanoseconds(message.header.stamp)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--width', type=int, default=96)
    parser.add_argument('--height', type=int, default=64)
    parser.add_argument('--intervals', type=int, default=20, help='lines of the report')
    parser.add_argument('--parameter', nargs=2, action='append', default=[], metavar=('NAME', 'VALUE'))
    options = parser.parse_args(arguments)
    _common.check(options, frames=8, width=1, height=1, intervals=4)
    print(_common.machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess('depth', log := Path(folder) / 'depth.log', **dict(options.parameter))
        try:
            intervals = soak(Stream(options.height, options.width), node, options.frames, options.intervals)
        finally:
            rclpy.try_shutdown()
            node.end()
        print(f'\nstatus {node.process.returncode}, last lines of the log:')
        print('\n'.join(log.read_text().splitlines()[-5:]))
    print(f'\n{table(COLUMNS, [interval.row() for interval in intervals])}\n')
    if len(intervals) < 4:
        print('too short to judge')
        return 1
    faults = growth(intervals)
    print('\n'.join(faults) or 'no growth')
    return 1 if faults or node.process.returncode else 0


def soak(stream: Stream, node: NodeProcess, frames: int, intervals: int) -> list[Interval]:
    stream.wait()
    result: list[Interval] = []
    usage = Usage.of(node.process.pid)
    for i in range(intervals):
        begin, end = frames * i // intervals, frames * (i + 1) // intervals
        try:
            answers = [stream.exchange() for _ in range(begin, end)]
        except KeyboardInterrupt:  # what has been measured is reported
            break
        if node.process.poll() is not None:
            raise SystemExit(f'the depth node has ended: {node.output[-1000:]}')
        latencies = np.array([answer for answer in answers if answer is not None])
        before, usage = usage, Usage.of(node.process.pid)
        spent = 1e3 * (usage.time - before.time) / (end - begin)
        result.append(Interval(end, len(answers) - len(latencies), latencies, usage, spent))
        print(' | '.join(f'{name} {cell}' for name, cell in zip(COLUMNS, result[-1].row())), flush=True)
    return result


def growth(intervals: list[Interval]) -> list[str]:
    """What is more in the last quarter than in the second: the first one fills caches and memories."""
    quarter = len(intervals) // 4
    early, late = intervals[quarter : 2 * quarter], intervals[-quarter:]

    def medians(name: str) -> tuple[float, float]:
        first, last = (float(np.median([getattr(i.usage, name) for i in part])) for part in (early, late))
        return first, last

    faults = []
    for name, allowed, unit in (('memory', MEMORY_GROWTH, ' MB'), ('files', 0, ''), ('threads', 0, '')):
        first, last = medians(name)
        if last > first + allowed:
            faults.append(f'{name} grow from {first:.1f} to {last:.1f}{unit}')
    lost, frames = sum(i.lost for i in intervals), intervals[-1].frames
    if lost > LOST_SHARE * frames:
        faults.append(f'{lost} of {frames} images without an answer')
    return faults


if __name__ == '__main__':
    _common.exit_with(main)
