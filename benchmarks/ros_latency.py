"""What ROS adds between an image and its depth, beyond the network's own time.

    .venv/bin/python benchmarks/ros_latency.py [--outputs all|points]

The real depth node runs as a process of its own. This one publishes images with lens states over DDS, each
when the depth of the one before has come, so that none waits for a busy network. Times are of
CLOCK_MONOTONIC, which all processes of a machine share; processor time, of the thread that estimates
and publishes, says more on a busy machine. There, `chrt -f 1` before the command, which needs the right to real-time
priority, gives about the times of an idle machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import rclpy
from _common import network
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from dfd_ros import networks
from dfd_ros.core import sweeps
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator_arguments import RESOLUTION
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.node_runner import run, use_image_transport_profile
from dfd_ros.ros.nodes.depth import DepthNode, FrameTimes
from dfd_ros.ros.synchronisation import nanoseconds

WARM_UP = 5  # frames that are not counted
START = 120.0  # s that the depth node may take to start
LOST = 10.0  # s after which an image counts as lost
IMAGES = {'coc/image': Image, 'confidence/image': Image, 'all_in_focus/image': Image, 'depth/camera_info': CameraInfo}
OUTPUTS: dict[str, dict[str, type]] = {'depth': {}, 'all': IMAGES, 'points': IMAGES | {'points': PointCloud2}}
"""Topics beside depth/image_rect."""
PAUSE = 0.05  # s between a depth and the next image: all threads are at rest again


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument(
        '--outputs',
        choices=sorted(OUTPUTS),
        default='depth',
        help='what somebody subscribes to: depth; all of the images but the compressed one; those and points',
    )
    parser.add_argument(
        '--resolution', type=int, default=RESOLUTION, help='px that the network sees; few keep it short'
    )
    parser.add_argument('--weights', type=Path, help='weights of the depth node; default: those that ship, or random')
    parser.add_argument(
        '--parameter', nargs=2, action='append', default=[], metavar=('NAME', 'VALUE'), help='of the depth node'
    )
    parser.add_argument('--node', type=Path, metavar='FILE', help=argparse.SUPPRESS)
    options, ros_arguments = parser.parse_known_args(arguments)
    if options.node:
        return run(lambda: TimedDepthNode(options.node), ros_arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(report(*measure(options, Path(folder))))
    return 0


class TimedDepthNode(DepthNode):
    """The depth node, which also writes down the times of each frame: a line of JSON."""

    def __init__(self, log: Path) -> None:
        self._log = open(log, 'w', buffering=1)
        super().__init__()

    def _process(self, *item) -> None:
        self._beside = -time.thread_time()
        super()._process(*item)

    def _estimate(self, *inputs) -> Estimate:
        self._beside += time.thread_time()
        estimate = super()._estimate(*inputs)
        self._beside -= time.thread_time()
        return estimate

    def _note_times(self, header: Header, times: FrameTimes) -> None:
        super()._note_times(header, times)
        processor = self._beside + time.thread_time()
        print(json.dumps({'stamp': nanoseconds(header.stamp), 'processor': processor, **asdict(times)}), file=self._log)


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[dict], int]:
    """The times of each frame, s, and how many images were published."""
    log, weights = folder / 'times.jsonl', folder / 'weights.safetensors'
    networks.save(weights, network(options.weights))
    command = [
        sys.executable,
        __file__,
        '--node',
        str(log),
        '--ros-args',
        '-p',
        f'weights:={weights}',
        '-p',
        f'resolution:={options.resolution}',
        *(word for name, value in options.parameter for word in ('-p', f'{name}:={value}')),
    ]
    process = subprocess.Popen(command)
    use_image_transport_profile()
    rclpy.init()
    node = rclpy.create_node('ros_latency')
    try:
        sent, received = exchange(node, options, process)
    finally:
        rclpy.try_shutdown()
        process.send_signal(signal.SIGINT)
        process.wait()
    frames = [json.loads(line) for line in log.read_text().splitlines()]
    # A frame that was dropped on its way has no line, or was never received.
    return [
        {**frame, 'sent': sent[frame['stamp']], 'seen': received[frame['stamp']]}
        for frame in frames[WARM_UP:]
        if frame['stamp'] in received
    ], len(sent) - WARM_UP


def exchange(node, options: argparse.Namespace, process: subprocess.Popen) -> tuple[dict, dict]:
    """Publishes images; gives when each was published and when its depth came, by stamp."""
    image_publisher = node.create_publisher(Image, 'image_raw', qos.PUBLISHER)
    lens_publisher = node.create_publisher(LensStateMessage, 'lens_state', qos.PUBLISHER)
    received: dict[int, float] = {}

    def note(message: Image) -> None:
        received[nanoseconds(message.header.stamp)] = time.monotonic()

    depth = node.create_subscription(Image, 'depth/image_rect', note, qos.SENSOR_SUBSCRIBER)
    # Of a node that nobody spins: to take their messages would delay what is measured here.
    others = rclpy.create_node('ros_latency_outputs')
    for topic, kind in OUTPUTS[options.outputs].items():
        others.create_subscription(kind, topic, lambda message: None, qos.SENSOR_SUBSCRIBER)
    end = time.monotonic() + START
    while not (
        image_publisher.get_subscription_count()
        and lens_publisher.get_subscription_count()
        and node.count_publishers(depth.topic_name)
    ):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError('the depth node has not started')
        time.sleep(0.1)
    time.sleep(1.0)

    range_ = VergenceRange(0.3, 3.0)
    focus = sweeps.ramp(range_, 5)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (options.height, options.width, 3), np.uint8)
    sent: dict[int, float] = {}
    for i in range(options.frames + WARM_UP):
        header = Header(stamp=node.get_clock().now().to_msg(), frame_id='camera')
        state = LensState(focus[i % len(focus)], 0.004, 1.8, 2e-6, near=range_.near, far=range_.far)
        image_message = image_messages.to_message(image, header)
        lens_publisher.publish(messages.to_message(state, header))
        stamp = nanoseconds(header.stamp)
        sent[stamp] = time.monotonic()
        image_publisher.publish(image_message)
        while stamp not in received and time.monotonic() < sent[stamp] + LOST:
            rclpy.spin_once(node, timeout_sec=1.0)
        time.sleep(PAUSE)
    return sent, received


def report(frames: list[dict], published: int) -> str:
    """Medians, 95th and 99th percentiles of each part, in ms."""
    if not frames:
        raise RuntimeError('no depth came back')
    spans = {
        'image published to pair received (DDS, deserialising)': lambda f: f['received'] - f['sent'],
        'pair waits for the worker thread': lambda f: f['started'] - f['received'],
        'message to array': lambda f: f['converted'] - f['started'],
        'results to messages, published': lambda f: f['published'] - f['estimated'],
        '**added by ROS, image published to depth published**': lambda f: (
            f['published'] - f['sent'] - (f['estimated'] - f['converted'])
        ),
        'the network itself': lambda f: f['estimated'] - f['converted'],
        'processor time beside the network': lambda f: f['processor'],
        'depth published to depth received by another process': lambda f: f['seen'] - f['published'],
    }
    rows = []
    for name, span in spans.items():
        percentiles = np.percentile([1e3 * span(frame) for frame in frames], (50, 95, 99))
        rows.append([name, *(f'{value:.2f}' for value in percentiles)])
    return f'{len(frames)} of {published} frames came back\n\n' + table(['', 'median ms', '95 % ms', '99 % ms'], rows)


if __name__ == '__main__':
    sys.exit(main())
