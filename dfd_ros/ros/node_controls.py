"""What the sliders of the live page set: parameters of the depth and the sweep node, and the focus."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import FocusCommand
from dfd_ros.ros import qos
from dfd_ros.ros.node_parameters import SWEEP_PATTERNS
from dfd_ros.viewing.controls import Settings

if TYPE_CHECKING:
    from dfd_ros.core.lens_state import LensState

PATIENCE = 2.0  # s for an answer
MAX_ID = 2**32 - 1
OF_DEPTH, OF_SWEEP = ('confidence_threshold',), ('near', 'far', 'pattern', 'steps', 'enabled')


class RemoteParameters:
    """Some parameters of another node, read again and again."""

    def __init__(self, node: Node, name: str, parameters: tuple[str, ...]) -> None:
        self.name = node.resolve_topic_name(name)  # of a node, by the same rules
        self._parameters = parameters
        self._getting: Client = node.create_client(GetParameters, f'{self.name}/get_parameters')
        self._setting: Client = node.create_client(SetParametersAtomically, f'{self.name}/set_parameters_atomically')
        self._pending = False
        self.values: dict[str, Any] = {}
        """By name; empty while the node has not answered."""

    def read(self) -> None:
        """Asks for the values. They come later."""
        if self._pending or not self._getting.service_is_ready():
            if not self._getting.service_is_ready():
                self.values, self._pending = {}, False
            return
        self._pending = True
        self._getting.call_async(GetParameters.Request(names=list(self._parameters))).add_done_callback(self._on_values)

    def _on_values(self, future: Any) -> None:
        self._pending = False
        values = [] if future.exception() is not None else future.result().values
        if len(values) == len(self._parameters) and not any(_is_unset(value) for value in values):
            self.values = dict(zip(self._parameters, map(parameter_value_to_python, values)))

    def set(self, **values: Any) -> None:
        """Sets them all or none, and waits for the answer. Not in the thread that spins the node.

        Raises:
            InputError: the node refuses, and says why, or does not answer.
        """
        if not self._setting.service_is_ready():
            raise InputError(f'{self.name}: no such node')
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answered = threading.Event()
        future = self._setting.call_async(SetParametersAtomically.Request(parameters=parameters))
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(PATIENCE) or (answer := future.result()) is None:
            raise InputError(f'{self.name}: does not answer within {PATIENCE:g} s')
        result = answer.result
        if not result.successful:
            raise InputError(f'{self.name}: {result.reason}')
        self.values = self.values | values

    def close(self, node: Node) -> None:
        """Ends the connection."""
        for client in (self._getting, self._setting):
            node.destroy_client(client)


def _is_unset(value: ParameterValue) -> bool:
    return value.type == ParameterType.PARAMETER_NOT_SET


class NodeControls:
    """`dfd_ros.viewing.controls.Controls` of running nodes."""

    def __init__(self, node: Node, depth_node: str, sweep_node: str) -> None:
        self._depth = RemoteParameters(node, depth_node, OF_DEPTH)
        self._sweep = RemoteParameters(node, sweep_node, OF_SWEEP)
        self._node = node
        self._commands = node.create_publisher(
            FocusCommand, 'focus_command', qos.COMMAND, qos_overriding_options=qos.overridable()
        )
        self._focus = 0.0  # that was asked for last
        self._lens: LensState | None = None
        self._last_id = 0
        self._frame_id = ''

    def note(self, state: LensState, command_id: int, frame_id: str) -> None:
        """The lens as it is now."""
        self._lens, self._last_id, self._frame_id = state, command_id, frame_id

    def read(self) -> None:
        """Asks the nodes for their parameters."""
        self._depth.read()
        self._sweep.read()

    def missing(self) -> list[str]:
        """Names of the nodes that do not answer."""
        return [remote.name for remote in (self._depth, self._sweep) if not remote.values]

    @property
    def limits(self) -> VergenceRange | None:
        """What the lens can focus, else what is swept."""
        if self._lens is not None and self._lens.range is not None:
            return self._lens.range
        near, far = (self._sweep.values.get(name, 0.0) for name in ('near', 'far'))
        return VergenceRange(near, far) if 0 < near < far else None

    is_metric = True

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of the sweep node."""
        return SWEEP_PATTERNS

    @property
    def can_focus(self) -> bool:
        """Whether there is a sweep node that moves the focus."""
        return bool(self._sweep.values)

    @property
    def settings(self) -> Settings | None:
        """As the nodes have them."""
        depth, sweep, limits = self._depth.values, self._sweep.values, self.limits
        if limits is None or not depth:
            return None
        near, far = sweep.get('near') or limits.near, sweep.get('far') or limits.far
        return Settings(
            depth['confidence_threshold'],
            VergenceRange(near, far) if near < far else limits,
            sweep.get('pattern', 'ramp'),
            sweep.get('steps', 2),
            sweep.get('enabled', False),
            self._focus or limits.near,
        )

    def change(self, **changes: Any) -> None:
        """Sets parameters of the nodes; a focus goes to the camera once the sweep has stopped."""
        range_: VergenceRange | None = changes.pop('range', None)
        focus: float | None = changes.pop('focus', None)
        if 'confidence' in changes:
            self._depth.set(confidence_threshold=float(changes.pop('confidence')))
        if 'sweeping' in changes:
            changes['enabled'] = changes.pop('sweeping')
        if range_ is not None:
            changes |= {'near': float(range_.near), 'far': float(range_.far)}
        if changes:
            self._sweep.set(**changes)
        if focus is not None:
            self._focus = focus
            command = FocusCommand(focus_distance=float(focus), command_id=self._last_id % MAX_ID + 1)
            command.header.stamp = self._node.get_clock().now().to_msg()
            command.header.frame_id = self._frame_id
            self._commands.publish(command)

    def close(self) -> None:
        """Ends the connections to the nodes."""
        for remote in (self._depth, self._sweep):
            remote.close(self._node)
