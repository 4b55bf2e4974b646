"""Real nodes in processes of their own, and a node of the test's that talks to them over DDS."""

import contextlib
import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dfd_ros.ros.parameters import yaml_scalar
from dfd_ros.ros.spin_thread import SpinThread

PATIENCE = 120.0  # s; a machine that trains a network beside the tests is slow to start a process


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """Gives the first true value of `condition`; fails with `what` after `timeout` s."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f'{what}: not within {timeout:g} s'
        time.sleep(0.01)
    return value


class NodeProcess:
    """``python -m dfd_ros.ros.nodes.NAME`` with parameters; its output in a file."""

    def __init__(self, name: str, log: Path, *arguments: str, **parameters: Any) -> None:
        command = [sys.executable, '-m', f'dfd_ros.ros.nodes.{name}', '--ros-args', *arguments]
        for key, value in parameters.items():
            command += ['-p', f'{key}:={yaml_scalar(str(value) if isinstance(value, Path) else value)}']
        self._log = log
        with open(log, 'w') as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Sends a signal; gives the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def end(self) -> None:
        """Ends the process if it still runs. Not by SIGKILL: that leaves its shared memory behind."""
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


def spinning(node: Any) -> contextlib.closing[SpinThread]:
    """Spins a node of this process in a thread."""
    return contextlib.closing(SpinThread(node))


class Observer:
    """A node that spins in a thread of its own and keeps what it hears."""

    def __init__(self) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is pytest's
        self.node = Node('observer')
        self.thread = SpinThread(self.node)
        self._clients: dict[str, Any] = {}

    def listen(self, message_type: type, topic: str, qos: Any = 10) -> list:
        """The messages of `topic` from now on: a list that grows."""
        messages: list = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def silence(self, topic: str) -> None:
        """Ends the subscriptions to `topic`."""
        for subscription in list(self.node.subscriptions):
            if subscription.topic_name == topic:
                self.thread.run(functools.partial(self.node.destroy_subscription, subscription))

    def publisher(self, message_type: type, topic: str, qos: Any = 10, *, wait: bool = True):
        """A publisher, once somebody listens to it."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        if wait:
            wait_until(publisher.get_subscription_count, f'a subscription to {topic}')
        return publisher

    def call(self, service_type: type, name: str, request: Any) -> Any:
        """The response of a service."""
        client = self._clients.get(name) or self.node.create_client(service_type, name)
        if name not in self._clients or not client.service_is_ready():
            assert client.wait_for_service(PATIENCE), f'{name}: no such service'
            time.sleep(0.5)  # until the node knows the client too: an answer that it cannot send is lost
        self._clients[name] = client
        future = client.call_async(request)
        wait_until(future.done, f'an answer of {name}')
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """The SetParametersResult of a change at run time."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f'{node}/set_parameters', request).results[0]

    def close(self) -> None:
        self.thread.close()
        rclpy.try_shutdown()


class Manager:
    """What a lifecycle manager does with one node."""

    def __init__(self, observer: Observer, node: str) -> None:
        self._observer, self._node = observer, node

    def change(self, transition: str) -> bool:
        """Whether the node has made this transition."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return self._observer.call(ChangeState, f'{self._node}/change_state', request).success

    def state(self) -> str:
        return self._observer.call(GetState, f'{self._node}/get_state', GetState.Request()).current_state.label
