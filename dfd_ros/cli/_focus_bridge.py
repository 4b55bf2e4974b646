"""The focus bridge beside a command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator

TOPICS = ('image_raw', 'camera_info', 'lens_state', 'focus_command')


def add_driver_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--driver', metavar='NAME', default='', help='camera driver, as for the focus bridge, which is started for it'
    )
    parser.add_argument('--driver-node', metavar='NODE', default='', help="name of the driver's node")
    for topic in TOPICS:
        parser.add_argument(f'--{topic.replace("_", "-")}', metavar='TOPIC', default=topic, help=f'name of {topic}')


@contextlib.contextmanager
def focus_bridge(
    args: argparse.Namespace, parameters: dict[str, str]
) -> Iterator[tuple[dict[str, str], bool, Callable[[], object]]]:
    """Topics, whether the images are compressed, and a check that the bridge still runs, while it does. Without
    `args.driver` no bridge is started.

    parameters: of the bridge, beside those that `add_driver_arguments` and --device give.
    """
    from dfd_ros.ros.node_processes import NodeProcesses, require_ros

    require_ros()
    topics = {topic: getattr(args, topic) for topic in TOPICS}
    if not args.driver:
        yield topics, False, lambda: time.sleep(0.05)
        return
    from dfd_ros.ros import launch_arguments

    given = {'driver': args.driver, 'driver_node': args.driver_node, 'video_device': args.device}
    values, depth = launch_arguments.with_driver(given | topics)
    parameters = {key: value for key, value in (given | parameters).items() if value}
    remappings = [part for topic, name in launch_arguments.remappings(values) for part in ('-r', f'{topic}:={name}')]
    with NodeProcesses() as processes:
        processes.start('focus_bridge', parameters, *remappings)
        yield {topic: values[topic] for topic in TOPICS}, bool(depth.get('compressed')), processes.check
