"""A node's parameters, declared in ROS and kept up to date."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter

from dfd_ros.core.errors import InputError
from dfd_ros.ros.parameters import Declaration, Parameters

if TYPE_CHECKING:
    from rclpy.node import Node

ROS_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
INT64 = (-(2**63), 2**63 - 1)


def descriptor(declaration: Declaration) -> ParameterDescriptor:
    """The ROS descriptor, with range, so that tools such as rqt_reconfigure can show a slider."""
    unit = f' [{declaration.unit}]' if declaration.unit else ''
    descriptor = ParameterDescriptor(
        name=declaration.name,
        type=ROS_TYPES[declaration.type],
        description=declaration.description + unit,
        additional_constraints=declaration.limits if declaration.choices else '',
        read_only=not declaration.run_time,
    )
    if declaration.minimum is None and declaration.maximum is None:
        return descriptor
    if declaration.type is float:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=-math.inf if declaration.minimum is None else float(declaration.minimum),
                to_value=math.inf if declaration.maximum is None else float(declaration.maximum),
            )
        ]
    elif declaration.type is int:
        descriptor.integer_range = [
            IntegerRange(
                from_value=INT64[0] if declaration.minimum is None else int(declaration.minimum),
                to_value=INT64[1] if declaration.maximum is None else int(declaration.maximum),
            )
        ]
    return descriptor


P = TypeVar('P', bound=Parameters)


class BoundParameters(Generic[P]):
    """A node's parameters, declared and kept up to date.

    An accepted change replaces `values`, so that another thread that reads it once per frame sees one
    consistent set.
    """

    def __init__(
        self,
        node: Node,
        cls: type[P],
        on_change: Callable[[P], None] | None = None,
        check: Callable[[P], None] | None = None,
    ) -> None:
        """Declares the parameters of `cls` on `node`. Raises InputError for bad values at start.

        `check` may refuse a change at run time, beyond what `cls` checks: it raises InputError.
        """
        self._on_change = on_change
        self._check = check
        values: dict[str, Any] = {}
        for declaration in cls.declarations():
            try:
                values[declaration.name] = node.declare_parameter(
                    declaration.name, declaration.default, descriptor(declaration)
                ).value
            except InvalidParameterTypeException as error:
                hint = '; write 1.0, not 1' if declaration.type is float else ''
                reason = error.args[0].split(': ')[0]
                raise InputError(f'parameter {declaration.name}: {reason}{hint}') from None
            except InvalidParameterValueException:
                unit = f' {declaration.unit}' if declaration.unit else ''
                raise InputError(
                    f'parameter {declaration.name}: out of range, expected {declaration.limits}{unit}'
                ) from None
        self.values: P = cls(**values)
        self.values.check()
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    def _merged(self, changes: list[Parameter]) -> P:
        names = {f.name for f in fields(self.values)}
        return replace(self.values, **{p.name: p.value for p in changes if p.name in names})

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            values = self._merged(changes)
            values.check()
            if self._check:
                self._check(values)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, changes: list[Parameter]) -> None:
        values = self._merged(changes)
        if values != self.values:
            self.values = values
            if self._on_change:
                self._on_change(values)
