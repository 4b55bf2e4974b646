"""The state of a node on ``/diagnostics``, once a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class Report:
    """State of a node: a level, one line, and figures (name to value, units in the name)."""

    level: bytes = OK
    message: str = 'running'
    values: dict[str, float | int | str] = field(default_factory=dict)


class Diagnostics:
    """Publishes the result of `report` once a second."""

    def __init__(self, node: Node, report: Callable[[], Report], hardware_id: str = '') -> None:
        self._node = node
        self._report = report
        self._hardware_id = hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        node.create_timer(1.0, self.publish)

    def publish(self) -> None:
        report = self._report()
        status = DiagnosticStatus(
            level=report.level,
            name=self._node.get_fully_qualified_name().lstrip('/'),
            message=report.message,
            hardware_id=self._hardware_id,
            values=[
                KeyValue(key=key, value=f'{value:.4g}' if isinstance(value, float) else str(value))
                for key, value in report.values.items()
            ],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)


class Window:
    """Count, mean and maximum of a figure since the last call of `take`."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, value: float) -> None:
        self._values.append(value)

    def take(self) -> tuple[int, float, float]:
        """(count, mean, maximum) since the last call; (0, 0.0, 0.0) if nothing was added."""
        values, self._values = self._values, []
        if not values:
            return 0, 0.0, 0.0
        return len(values), sum(values) / len(values), max(values)
