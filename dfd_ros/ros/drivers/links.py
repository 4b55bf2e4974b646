"""How the bridge talks to a driver: one class for each way to set a focus.

`set_up` brings the driver to manual focus and gives the limits of its values; `send` sets one; `read_back` gives the
one that it has. All three are steps of a `Conversation`: they yield futures, and raise InputError with the driver's own
reason. One conversation is in flight at a time.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Generator
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile
from rclpy.task import Future

from dfd_ros.cameras.driver_file import Driver, Scalar, Setting
from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.v4l2_controls import V4l2Controls
from dfd_ros.ros.drivers.conversation import Steps
from dfd_ros.ros.drivers.focus_scale import Limits
from dfd_ros.ros.drivers.interfaces import find_interface, number_limits, set_field

SERVICES = {
    ListParameters: 'list_parameters',
    DescribeParameters: 'describe_parameters',
    GetParameters: 'get_parameters',
    SetParametersAtomically: 'set_parameters_atomically',
}
NUMBERS = {ParameterType.PARAMETER_INTEGER: int, ParameterType.PARAMETER_DOUBLE: float}
TYPE_NAMES = {
    ParameterType.PARAMETER_BOOL: 'bool',
    ParameterType.PARAMETER_INTEGER: 'integer',
    ParameterType.PARAMETER_DOUBLE: 'double',
    ParameterType.PARAMETER_STRING: 'string',
}


class Link:
    """Base of all links. `target`: what is set, for messages and to recognise two bridges of one driver."""

    target = ''
    watched: dict[str, Scalar] = {}
    """Parameters of the driver's node that must keep their values."""
    focus_parameter = ''

    def __init__(self, node: Node, driver: Driver) -> None:
        self.node = node
        self.driver = driver
        self._clients: dict[str, Any] = {}

    @property
    def missing(self) -> str:
        """What is not there yet; empty where the driver can be talked to."""
        raise NotImplementedError

    def set_up(self) -> Steps:
        raise NotImplementedError

    def send(self, value: float) -> Steps:
        raise NotImplementedError

    def read_back(self) -> Steps:
        raise NotImplementedError

    def close(self) -> None:
        for client in self._clients.values():
            self.node.destroy_client(client)
        self._clients.clear()

    def client(self, kind: Any, name: str) -> Any:
        """The client of a service, made once."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        return self._clients[name]

    def call(self, kind: Any, name: str, request: Any) -> Future:
        return self.client(kind, name).call_async(request)

    def services(self) -> list[tuple[Any, str, Setting]]:
        """Those of `setup`."""
        return [
            (find_interface(setting.type, 'srv'), self.driver.resolve(setting.service), setting)
            for setting in self.driver.setup
            if setting.service
        ]

    def call_setup_services(self) -> Generator[Future, Any, None]:
        for kind, name, setting in self.services():
            client = self.client(kind, name)
            if not client.service_is_ready():
                if setting.required:
                    raise InputError(f'{name}: no such service')
                continue
            request = kind.Request()
            set_field(request, setting.field, setting.value)
            _check_success((yield client.call_async(request)), f'{name} ({setting.value})')


class ParameterLink(Link):
    """A parameter of the driver's node, with others beside it in one call."""

    def __init__(self, node: Node, driver: Driver) -> None:
        super().__init__(node, driver)
        self._prefix = driver.node.rstrip('/')
        self.target = f'{driver.command.parameter} of {self._prefix}'
        # All now: what is asked before both ends know of each other is lost.
        for kind, name in SERVICES.items():
            self.client(kind, f'{self._prefix}/{name}')
        self._setter = self.client(SetParametersAtomically, f'{self._prefix}/set_parameters_atomically')
        self._number: type = float

    @property
    def missing(self) -> str:
        there = all(client.service_is_ready() for client in self._clients.values())
        return '' if there else f'the node {self._prefix} is not there'

    def set_up(self) -> Steps:
        command = self.driver.command
        listed = yield self.call(ListParameters, f'{self._prefix}/list_parameters', ListParameters.Request())
        there = set(listed.result.names)
        name = self._found(command.parameter, there)
        if not name:
            raise InputError(f'{self._prefix} has no parameter {command.parameter!r}: is its focus fixed?')
        request = DescribeParameters.Request(names=[name])
        described = yield self.call(DescribeParameters, f'{self._prefix}/describe_parameters', request)
        limits = self._limits(described.descriptors[0] if described.descriptors else ParameterDescriptor(), name)
        self.focus_parameter, self.target = name, f'{name} of {self._prefix}'
        watched = {}
        for setting in self.driver.setup:
            if not setting.parameter:
                continue
            if found := self._found(setting.parameter, there):
                watched[found] = setting.value
                yield from self._set({found: setting.value})  # each alone: depthai's focus needs manual focus before it
            elif setting.required:
                raise InputError(f'{self._prefix} has no parameter {setting.parameter!r}')
        yield from self.call_setup_services()
        self.watched = watched | command.together
        return limits

    def send(self, value: float) -> Steps:
        yield from self._set({**self.driver.command.together, self.focus_parameter: self._number(value)})

    def read_back(self) -> Steps:
        request = GetParameters.Request(names=[self.focus_parameter])
        got = yield self.call(GetParameters, f'{self._prefix}/get_parameters', request)
        value = parameter_value_to_python(got.values[0]) if got.values else None
        return float(value) if isinstance(value, int | float) else math.nan

    @staticmethod
    def _found(names: str, there: set[str]) -> str:
        return next((name for name in map(str.strip, names.split('|')) if name in there), '')

    def _limits(self, descriptor: ParameterDescriptor, name: str) -> Limits:
        where = f'parameter {name} of {self._prefix}'
        wanted = {'integer': ParameterType.PARAMETER_INTEGER, 'double': ParameterType.PARAMETER_DOUBLE}
        kind = descriptor.type or wanted.get(self.driver.command.type, ParameterType.PARAMETER_DOUBLE)
        if kind not in NUMBERS:
            raise InputError(f'{where} is a {TYPE_NAMES.get(kind, "list")}, not a number')
        if descriptor.read_only:
            raise InputError(f'{where} is read-only')
        self._number = NUMBERS[kind]
        least = 1.0 if self._number is int else 0.0
        ranges = descriptor.floating_point_range or descriptor.integer_range
        if not ranges:
            return Limits(step=least)
        low, high, step = (float(x) for x in (ranges[0].from_value, ranges[0].to_value, ranges[0].step))
        return Limits(low, high, max(step, least), origin=low if math.isfinite(low) else 0.0)

    def _set(self, values: dict[str, Scalar]) -> Generator[Future, Any, None]:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = yield self._setter.call_async(SetParametersAtomically.Request(parameters=parameters))
        if not answer.result.successful:
            wanted = ', '.join(f'{name} = {_text(value)}' for name, value in values.items())
            given = shortened(answer.result.reason or 'no reason given', 300)
            raise InputError(f'{self._prefix} refuses {wanted}: {given}')


class TopicLink(Link):
    """A message on a topic. Nobody answers."""

    def __init__(self, node: Node, driver: Driver) -> None:
        super().__init__(node, driver)
        command = driver.command
        self._kind = find_interface(command.type, 'msg')
        self._limits = number_limits(self._kind(), command.field, command.type)
        self.target = node.resolve_topic_name(driver.resolve(command.topic))
        self._publisher = node.create_publisher(self._kind, self.target, QoSProfile(depth=1))

    @property
    def missing(self) -> str:
        waits = not self._publisher.get_subscription_count()
        return f'nobody listens to {self.target}' if waits else ''

    def set_up(self) -> Steps:
        yield from self.call_setup_services()
        return self._limits

    def send(self, value: float) -> Steps:
        message = self._kind()
        set_field(message, self.driver.command.field, value)
        self._publisher.publish(message)
        yield from ()

    def close(self) -> None:
        self.node.destroy_publisher(self._publisher)
        super().close()


class ServiceLink(Link):
    """A service. Its response says in `success` or `successful`, if it has such a field, whether it obeyed."""

    def __init__(self, node: Node, driver: Driver) -> None:
        super().__init__(node, driver)
        command = driver.command
        self._kind = find_interface(command.type, 'srv')
        self._limits = number_limits(self._kind.Request(), command.field, command.type)
        self.target = node.resolve_service_name(driver.resolve(command.service))
        self._client = self.client(self._kind, self.target)
        for kind, name, setting in self.services():
            set_field(kind.Request(), setting.field, setting.value)
            self.client(kind, name)

    @property
    def missing(self) -> str:
        return '' if self._client.service_is_ready() else f'the service {self.target} is not there'

    def set_up(self) -> Steps:
        yield from self.call_setup_services()
        return self._limits

    def send(self, value: float) -> Steps:
        request = self._kind.Request()
        set_field(request, self.driver.command.field, value)
        _check_success((yield self._client.call_async(request)), f'{self.target} ({value:g})')


class ControlLink(Link):
    """A V4L2 control, beside whoever streams from the device."""

    def __init__(self, node: Node, driver: Driver) -> None:
        super().__init__(node, driver)
        self.target = f'{driver.command.control} of {driver.device}'
        self._controls: V4l2Controls | None = None

    @property
    def missing(self) -> str:
        if self._controls is None:
            try:
                self._controls = V4l2Controls(self.driver.device)
            except InputError as error:
                return str(error)
        return ''

    def set_up(self) -> Steps:
        assert self._controls is not None
        name, device = self.driver.command.control, self.driver.device
        limits = self._controls.limits(name)
        if limits is None:
            raise InputError(
                f'{device}: no control {name}: is its focus fixed? v4l2-ctl --list-ctrls shows what there is'
            )
        if limits.read_only:
            raise InputError(f'{device}: the control {name} is read-only')
        for setting in self.driver.setup:
            if not setting.control:
                continue
            if self._controls.limits(setting.control) is not None:
                self._controls.set(setting.control, int(setting.value))
            elif setting.required:
                raise InputError(f'{device}: no control {setting.control}')
        yield from self.call_setup_services()
        return Limits(limits.minimum, limits.maximum, max(limits.step, 1), origin=limits.minimum)

    def send(self, value: float) -> Steps:
        assert self._controls is not None
        yield from ()
        self._controls.set(self.driver.command.control, round(value))
        return float(self._controls.get(self.driver.command.control))  # a motor rounds to its own steps

    def read_back(self) -> Steps:
        """Also the settings, since no event reports that another program switches autofocus on."""
        assert self._controls is not None
        for setting in self.driver.setup:
            if not setting.control or self._controls.limits(setting.control) is None:
                continue
            if self._controls.get(setting.control) != int(setting.value):
                raise Changed(f'{setting.control} of {self.driver.device}')
        yield from ()
        return float(self._controls.get(self.driver.command.control))

    def close(self) -> None:
        if self._controls is not None:
            self._controls.close()
            self._controls = None
        super().close()


class Changed(Exception):
    """Somebody else has changed what the bridge has set. The message is its name."""


def make_link(node: Node, driver: Driver) -> Link:
    """The way that `driver` describes. Raises InputError for types that are not there or no numbers."""
    command = driver.command
    for kind, given in (
        (ParameterLink, command.parameter),
        (TopicLink, command.topic),
        (ServiceLink, command.service),
        (ControlLink, command.control),
    ):
        if given:
            return kind(node, driver)
    raise AssertionError('the driver file was checked')


def identity(driver: Driver, link: Link) -> str:
    """One name for one lens, for all bridges that reach it."""
    if driver.command.control:  # the device may have several names
        return f'{socket.gethostname()}/{os.path.realpath(driver.device)}'
    return f'{driver.node.rstrip("/")}/{link.target}'


def _check_success(answer: Any, what: str) -> None:
    for field in ('success', 'successful'):
        if getattr(answer, field, True) is False:
            reason = getattr(answer, 'message', '') or getattr(answer, 'status_message', '') or 'no reason given'
            raise InputError(f'{what} is refused: {shortened(reason, 300)}')


def _text(value: Scalar) -> str:
    return f'{value:.5g}' if isinstance(value, float) else str(value).lower()
