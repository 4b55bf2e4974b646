"""A node inside a command: a thread spins it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from dfd_ros.core.errors import InputError
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


def require_no_rivals(node: Node, commands: Publisher, lens_state_topic: str) -> None:
    """Raises InputError where other nodes than `node` send focus commands too, or several say where the lens is."""
    states = node.get_publishers_info_by_topic(lens_state_topic)
    if len(states) > 1:
        names = ', '.join(sorted(map(_name, states)))
        raise InputError(
            f'{lens_state_topic} comes from {len(states)} nodes, {names}: end all but one (--driver starts a focus '
            'bridge of its own)'
        )
    there = node.get_publishers_info_by_topic(commands.topic_name)
    if rivals := sorted({_name(info) for info in there if info.node_name != node.get_name()}):
        raise InputError(
            f'{", ".join(rivals)} moves the focus too: end it, or ros2 service call /sweep/enable '
            'std_srvs/srv/SetBool "{data: false}"'
        )


def _name(info: TopicEndpointInfo) -> str:
    """Of the node. DDS finds its topics before its name."""
    if info.node_name == '_NODE_NAME_UNKNOWN_':
        return 'one that has just started'
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
