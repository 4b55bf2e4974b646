"""A node as a process: from start to a quiet end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from dfd_ros.core.errors import InputError
from dfd_ros.core.resources import resource

NOTICED_WITHIN = 0.5  # s that a node may take to notice a signal
OLD_FAST_DDS = ('humble', 'iron', 'jazzy')  # ROS distributions with Fast DDS 2


class Worker:
    """A thread of a node beside its callbacks. Where it dies the process ends, with status 1 and a line."""

    def __init__(self, node: Node, work: Callable[[], object], stop: Callable[[], object]) -> None:
        """Runs `work`, which returns soon after `stop` was called."""
        self._node = node
        self._work = work
        self._stop = stop
        self.failure: Future = Future()  # what `work` has raised; None where there is nothing more to do
        # A daemon: `close` ends it, but a signal in the middle of the node's start leaves nobody to call that.
        self._thread = threading.Thread(target=self._run, name=node.get_name(), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            if self._node.context.ok():  # else: ROS has shut down under its feet
                self._node.get_logger().fatal(f'{type(error).__name__}: {error}')
                self.failure.set_result(error)

    def close(self) -> None:
        """Stops the work and waits for its end. May be called again."""
        self._stop()
        self._thread.join()


def use_image_transport_profile() -> None:
    """Makes Fast DDS, where it is what ROS runs on, read config/fastdds.xml, which says why.

    Before rclpy.init. A choice that the environment makes is left as it is.
    """
    variable = 'FASTDDS_DEFAULT_PROFILES_FILE'
    if {variable, 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS'} & os.environ.keys():
        return
    if os.environ.get('ROS_DISTRO') in OLD_FAST_DDS:
        variable = 'FASTRTPS_DEFAULT_PROFILES_FILE'
    os.environ[variable] = str(resource('config/fastdds.xml'))


def run(make_node: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Makes a node and spins it until SIGINT or SIGTERM. Gives the exit status.

    0 after a signal, or when the work is done; 1 where the node's attribute `worker` has failed; 2 with one line on
    stderr for bad input at start (InputError).
    """
    use_image_transport_profile()
    try:
        rclpy.init(args=None if arguments is None else list(arguments), signal_handler_options=SignalHandlerOptions.ALL)
    except Exception as error:  # malformed --ros-args, an unreadable parameter file
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    node: Node | None = None
    try:
        node = make_node()
        worker: Worker | None = getattr(node, 'worker', None)
        failure = worker.failure if worker else Future()
        _spin(node, failure)
        return 1 if failure.done() and failure.result() is not None else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except InputError as error:
        # Not by the log: one line, as from every other command.
        print(f'error: {error}', file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal in the middle of the start
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


def _spin(node: Node, until: Future) -> None:
    """Spins the node until that is done, or ROS shuts down.

    `rclpy.spin_until_future_complete` may miss a signal: rclpy wakes the executor first and shuts down then, and where
    the executor waits again in between, nothing wakes a node without timers any more. So it looks by itself too.
    """
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    until.add_done_callback(lambda _: executor.wake())
    try:
        while rclpy.ok() and not until.done():
            executor.spin_once(timeout_sec=NOTICED_WITHIN)
    finally:
        executor.remove_node(node)
