"""A node as a process: from start to a quiet end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dfd_ros.errors import InputError


def run(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Makes a node and spins it until SIGINT or SIGTERM. Gives the exit status.

    0 after a signal; 2 with one line for bad input at start (InputError); 1 where a thread of the node
    has died, which the node says by leaving an exception in its attribute `failure`.
    """
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.ALL)
    except Exception as error:   # malformed --ros-args, an unreadable parameter file
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    node = None
    try:
        node = make_node()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except InputError as error:
        # Not through the log: there may be no node yet to log by.
        print(f'error: {error}', file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():   # else: a signal in the middle of the start, and ROS gone under its feet
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 1 if getattr(node, 'failure', None) is not None else 0
