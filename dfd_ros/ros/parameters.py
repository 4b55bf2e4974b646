"""Node parameters, declared once as a frozen dataclass.

A node's parameters are the fields of a dataclass that derives from `Parameters`::

    @dataclass(frozen=True)
    class DepthParameters(Parameters):
        near: float = parameter(0.0, 'Nearest distance of the swept range.', unit='m', within=(0.0, None))

Descriptors, ranges, the reading of YAML and ``-p``, the checks at start and at run time, the files in
``config/``, the tables in ``docs/parameters.md`` (`dfd_ros.ros.parameter_reference`) and the launch arguments all come
from it. This module does not import ROS: launch files and `dfd run --help` read the declarations before anything runs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, fields
from typing import Any

from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.own_class import is_choice

Scalar = bool | int | float | str
ROS_TYPE_NAMES: dict[type, str] = {bool: 'bool', int: 'integer', float: 'double', str: 'string'}


@dataclass(frozen=True)
class Declaration:
    """One parameter as a node declares it. Its type is the type of its default."""

    name: str
    default: Scalar
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    run_time: bool = False

    @property
    def type(self) -> type[Scalar]:
        return type(self.default)

    @property
    def limits(self) -> str:
        """The allowed values as text: ``one of: a, b``, ``0.0 to 1.0``, ``from 0.0``, or nothing."""
        if self.choices:
            return 'one of: ' + ', '.join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ''
        if self.maximum is None:
            return f'from {self.minimum}'
        if self.minimum is None:
            return f'up to {self.maximum}'
        return f'{self.minimum} to {self.maximum}'

    def check(self, value: Any) -> None:
        """Raises InputError if `value` is of the wrong type, out of range or not a choice."""
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise InputError(f'parameter {self.name}: expected {ROS_TYPE_NAMES[self.type]}, got {quoted(value)}')
        if isinstance(value, str) and self.choices and not is_choice(value, self.choices):
            raise InputError(f'parameter {self.name}: {quoted(value)} is not {self.limits}')
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if isinstance(value, int | float) and not low <= value <= high:  # NaN fails too
            unit = f' {self.unit}' if self.unit else ''
            raise InputError(f'parameter {self.name}: {value}{unit} is out of range ({self.limits})')


def parameter(
    default: Scalar,
    description: str,
    *,
    unit: str = '',
    within: tuple[float | None, float | None] = (None, None),
    choices: tuple[str, ...] = (),
    run_time: bool = False,
) -> Any:
    """A dataclass field that is a ROS parameter; read-only unless `run_time`. within: minimum and maximum."""
    if type(default) not in ROS_TYPE_NAMES:
        raise TypeError(f'parameter default {default!r}: expected one of bool, int, float, str')
    return field(
        default=default,
        metadata={
            'declaration': lambda name: Declaration(name, default, description, unit, *within, choices, run_time)
        },
    )


run_time_parameter = functools.partial(parameter, run_time=True)
"""One that can change while the node runs."""


@dataclass(frozen=True)
class Parameters:
    """Base of a node's parameters."""

    @classmethod
    def declarations(cls) -> list[Declaration]:
        """The parameters in the order of their declaration."""
        return [f.metadata['declaration'](f.name) for f in fields(cls)]

    def check(self) -> None:
        """Checks every value; subclasses add checks that involve several. Raises InputError."""
        for declaration in self.declarations():
            declaration.check(getattr(self, declaration.name))


@dataclass(frozen=True)
class ManagedParameters(Parameters):
    """Base of the parameters of a node with the life cycle of ROS 2."""

    autostart: bool = parameter(
        True, 'Configure and activate the node when it starts. If false, a lifecycle manager does that.'
    )
    events_executor: bool = parameter(
        False,
        "Spin with rclpy's EventsExecutor (Kilted and later), which wakes for each event instead of asking every topic "
        'and service: less processor time, but experimental.',
    )


def check_range(near: float, far: float, need_both: bool = True) -> None:
    """Checks the parameters near and far (m), 0 = not given. Raises InputError."""
    from dfd_ros.core.lens_state import PLAUSIBLE, is_plausible

    if need_both and bool(near) != bool(far):
        raise InputError('parameters near and far: give both or neither')
    for name, value in (('near', near), ('far', far)):
        if value and not is_plausible(name, value):
            low, high = PLAUSIBLE[name]
            raise InputError(f'parameter {name}: {value:g} m, no lens has that; expected {low:g} to {high:g} m, or 0')
    if near and far and not near < far:
        raise InputError(f'parameter near: {near} m is not nearer than far ({far} m)')


def check_node_name(parameter_name: str, value: str) -> None:
    """Checks a parameter that names another node. Raises InputError."""
    from rclpy.exceptions import NameValidationException
    from rclpy.expand_topic_name import expand_topic_name
    from rclpy.validate_full_topic_name import validate_full_topic_name

    try:
        service = expand_topic_name(f'{value}/set_parameters', 'node', '/')
        validate_full_topic_name(service, is_service=True)
    except (NameValidationException, ValueError):
        raise InputError(f'parameter {parameter_name}: {quoted(value)} is not a node name such as /depth') from None


def yaml_scalar(value: Scalar) -> str:
    """`value` as YAML that ROS reads back with the same type: 1.0 rather than 1, .inf, quoted text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isinf(value):
            return '.inf' if value > 0 else '-.inf'
        return '.nan' if math.isnan(value) else _decimal(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _decimal(value: float) -> str:
    """The shortest exact decimal, with a point in the mantissa: YAML 1.1 reads 1e-06 as text."""
    text = repr(value)
    mantissa, e, exponent = text.partition('e')
    return f'{mantissa if "." in mantissa else mantissa + ".0"}{e}{exponent}'
