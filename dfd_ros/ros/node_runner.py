"""A node as a process: from start to a quiet end."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import InvalidQoSProfileException
from rclpy.qos_overriding_options import InvalidQosOverridesError
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from dfd_ros.core.errors import InputError
from dfd_ros.core.machine import keep_freed_memory
from dfd_ros.core.resources import resource
from dfd_ros.ros import node_signals
from dfd_ros.ros.managed_node import ACTIVE, ManagedNode
from dfd_ros.ros.node_parameters import NODES
from dfd_ros.ros.parameters import yaml_scalar
from dfd_ros.ros.shared_memory import remove_left_over_segments
from dfd_ros.ros.throttled_warnings import log_text

# What rclpy raises at start for a parameter or a quality of service that cannot work, for malformed --ros-args, and for
# a parameter file that cannot be read.
BAD_INPUT = ParameterException, InvalidQoSProfileException, InvalidQosOverridesError, RuntimeError
NOTICED_WITHIN = 0.1  # s that a node may take to notice a signal
OLD_FAST_DDS = ('humble', 'iron', 'jazzy')  # ROS distributions with Fast DDS 2


class Worker:
    """A thread of a node beside its callbacks. Where it dies the process ends, with status 1 and a line."""

    def __init__(self, node: Node, work: Callable[[], object], stop: Callable[[], object]) -> None:
        """Runs `work`, which returns soon after `stop` was called."""
        self._node = node
        self._work = work
        self._stop = stop
        self._closing = False
        self.failure: Future = Future()  # what `work` has raised; None where there is nothing more to do
        # A daemon: `close` ends it, but a signal in the middle of the node's start leaves nobody to call that.
        self._thread = threading.Thread(target=self._run, name=node.get_name(), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            if self._node.context.ok() and not self._closing:  # else: it was stopped in the middle of its work
                self._node.get_logger().fatal(log_text(error))
                self.failure.set_result(error)

    def close(self, timeout: float | None = None) -> bool:
        """Stops the work and waits at most `timeout` s for its end. Gives whether it came. May be called again."""
        self._closing = True
        self._stop()
        self._thread.join(timeout)
        return not self._thread.is_alive()


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
    """Makes a node, a class `NAMENode`, and spins it until SIGINT or SIGTERM. Gives the exit status.

    0 after a signal, or when the work is done; 1 where the node's attribute `worker` has failed; 2 with one line on
    stderr for bad input at start. For a process that ends then.
    """
    status = 1
    try:
        status = _run(make_node, list(sys.argv if arguments is None else arguments))
    finally:
        node_signals.skip_teardown(status)
    return status


def _run(make_node: Callable[[], Node], arguments: list[str]) -> int:
    stop = node_signals.StopRequest()
    node: Node | None = None
    try:
        with _one_line(_name(make_node)):
            _check_arguments(_name(make_node), arguments)
            keep_freed_memory()
            use_image_transport_profile()
            remove_left_over_segments()
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = make_node()
            if isinstance(node, ManagedNode) and node.get_parameter('autostart').value:
                node.start()
        stop.interrupts = False
        _name_slips(node)
        return 1 if _spin(node, stop) else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except _Done:
        return 0
    except Exception as error:
        if stop.arrived:  # a library may turn the KeyboardInterrupt into an error of its own
            return 0
        if not isinstance(error, InputError):
            raise
        # Not by the log: one line, as from every other command.
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    finally:
        stop.interrupts = False
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    try:
        yield
    except BAD_INPUT as error:
        raise InputError(f'{name} node: {error}') from error


class _Done(Exception):
    """There is nothing to run."""


def _name(make_node: Callable[[], Node]) -> str:
    return re.sub(r'(?<=[a-z])(?=[A-Z])', '_', make_node.__name__.removesuffix('Node')).lower()


def _check_arguments(name: str, arguments: list[str]) -> None:
    """Prints help where it is requested. Raises InputError for arguments that are not of ROS."""
    others = remove_ros_args(arguments)[1:]
    if {'-h', '--help'} & set(others):
        print(_help(name))
        raise _Done
    if others:
        raise InputError(
            f'{name}: unknown argument {others[0]!r}; parameters are given as --ros-args -p NAME:=VALUE (see --help)'
        )


def _help(name: str) -> str:
    lines = [f'usage: {name} [--ros-args [-p PARAMETER:=VALUE]... [-r FROM:=TO]... [--params-file FILE]]', '']
    if name in NODES:
        lines.append('parameters:')
        for declaration in NODES[name].declarations():
            limits = f' ({declaration.limits})' if declaration.limits else ''
            unit = f' [{declaration.unit}]' if declaration.unit else ''
            lines.append(f'  {declaration.name}:={yaml_scalar(declaration.default)}{unit}{limits}')
            lines += textwrap.wrap(declaration.description, 100, initial_indent=' ' * 6, subsequent_indent=' ' * 6)
    return '\n'.join(lines)


def _name_slips(node: Node) -> None:
    """Warns of parameters that were given and that the node does not have."""
    given = getattr(node, '_parameter_overrides', {})  # rclpy has no public way to them
    known = [d.name for d in NODES[node_name].declarations()] if (node_name := _name(type(node))) in NODES else []
    # The topics of a managed node come when it is activated, and their quality of service with them.
    to_come = isinstance(node, ManagedNode) and node.state != ACTIVE
    for name in given:
        if not node.has_parameter(name) and not (to_come and name.startswith('qos_overrides.')):
            near = difflib.get_close_matches(name, known, 1)
            hint = f'; did you mean {near[0]}?' if near else ''
            node.get_logger().warning(f'parameter {name}: there is no such parameter, so it has no effect{hint}')


def _make_executor(node: Node) -> Executor:
    """That of the parameter events_executor.

    Not the default: it can crash where topics are destroyed (https://github.com/ros2/rclpy/issues/1644), as managed
    nodes do when they rest.
    """
    if isinstance(node, ManagedNode) and node.get_parameter('events_executor').value:
        try:
            from rclpy.experimental import EventsExecutor
        except ImportError:
            raise InputError('parameter events_executor: needs ROS 2 Kilted or later; set it to false') from None
        return EventsExecutor()
    return SingleThreadedExecutor()


def _spin(node: Node, stop: node_signals.StopRequest) -> Exception | None:
    """Spins the node until its work is done, a signal has come, or ROS shuts down. Gives why its work has failed.

    It looks for itself, again and again: Python notices a signal only between two waits, and a shutdown that comes
    just before a wait wakes nobody.
    """
    executor = _make_executor(node)
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.arrived:
            worker: Worker | None = getattr(node, 'worker', None)
            if worker is not None and worker.failure.done():
                return worker.failure.result()
            executor.spin_once(timeout_sec=NOTICED_WITHIN)
    finally:
        executor.remove_node(node)
    return None
