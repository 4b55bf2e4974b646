"""Whether the recorder keeps up: 640x480 colour of two cameras and depth at 30 Hz over DDS, what of it is in the bag.

.venv/bin/python benchmarks/recorder.py --seconds 60
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import keep_to_this_machine
from processes import cpu_time_of_children

from dfd_ros.ros.node_runner import use_image_transport_profile

use_image_transport_profile()

import rclpy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from dfd_ros.bags.bag_reader import Bag  # noqa: E402
from dfd_ros.core.lens_state import LensState  # noqa: E402
from dfd_ros.msg import LensState as LensStateMessage  # noqa: E402
from dfd_ros.ros import image_messages, messages, qos  # noqa: E402

RATE = 30.0
IMAGES = {'image_raw': np.uint8, 'rgbd/color/image_raw': np.uint8, 'rgbd/depth/image_rect': np.uint16}


def publish(seconds: float) -> int:
    """How many times all was published. Late ones are not made up for."""
    rclpy.init()
    node = rclpy.create_node('source')
    publishers = {topic: node.create_publisher(Image, topic, qos.PUBLISHER) for topic in IMAGES}
    lens = node.create_publisher(LensStateMessage, 'lens_state', qos.PUBLISHER)
    while not all(p.get_subscription_count() for p in (lens, *publishers.values())):
        time.sleep(0.05)
    time.sleep(2.0)
    made = {
        topic: image_messages.to_message(np.zeros((480, 640, 3) if kind is np.uint8 else (480, 640), kind), Header())
        for topic, kind in IMAGES.items()
    }
    count, began = 0, time.monotonic()
    while (due := began + count / RATE) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        header = Header(stamp=node.get_clock().now().to_msg(), frame_id='camera')
        lens.publish(messages.to_message(LensState(1.0), header))
        for topic, message in made.items():
            message.header = header
            publishers[topic].publish(message)
        count += 1
    took = time.monotonic() - began
    print(f'published: {count} of each in {took:.1f} s ({count / took:.1f} Hz)')
    time.sleep(2.0)
    rclpy.shutdown()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('--folder', type=Path, help='for the bag, which is removed; default: the temporary one')
    args = parser.parse_args()
    keep_to_this_machine()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        recorder = subprocess.Popen(
            [sys.executable, '-m', 'dfd_ros.ros.nodes.recorder', '--ros-args', '-p', f'folder:={name}']
        )
        try:
            count = publish(args.seconds)
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait()
        bag = Bag(next(Path(name).glob('*/metadata.yaml')).parent)
        used = cpu_time_of_children()
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print('| topic | published | in the bag | lost |\n| --- | --- | --- | --- |')
        for topic in ('lens_state', *IMAGES):
            print(f'| {topic} | {count} | {bag.counts["/" + topic]} | {count - bag.counts["/" + topic]} |')
        print(
            f'recorder: {used / args.seconds:.0%} of a core with its start, '
            f'{largest:.0f} MB; load {os.getloadavg()[0]:.1f}'
        )


if __name__ == '__main__':
    main()
