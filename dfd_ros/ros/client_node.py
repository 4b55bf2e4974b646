"""A node inside a command: a thread spins it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dfd_ros.ros.node_runner import use_image_transport_profile

N = TypeVar('N', bound=Node)


@contextlib.contextmanager
def spinning(make_node: Callable[[], N]) -> Iterator[N]:
    """The node, while a thread spins it."""
    use_image_transport_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)

        def spin() -> None:
            with contextlib.suppress(ExternalShutdownException):
                executor.spin()

        thread = threading.Thread(target=spin, daemon=True)
        thread.start()
        try:
            yield node
        finally:
            executor.shutdown()
            thread.join()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
