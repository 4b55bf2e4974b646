"""A node inside a command: a thread spins it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dfd_ros.ros.node_runner import use_image_transport_profile
from dfd_ros.ros.spin_thread import SpinThread

N = TypeVar('N', bound=Node)


@contextlib.contextmanager
def spinning(make_node: Callable[[], N]) -> Iterator[N]:
    """The node, while a thread spins it."""
    use_image_transport_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
        try:
            with contextlib.closing(SpinThread(node)):
                yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
