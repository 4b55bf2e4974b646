"""The state of a node on ``/diagnostics``, once a second."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dfd_ros.ros.throttled_warnings import ThrottledWarnings, log_text

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class Report:
    """State of a node: a level, one line, and figures (name to value, units in the name)."""

    level: bytes = OK
    message: str = 'running'
    values: dict[str, float | int | str] = field(default_factory=dict)


class Diagnostics:
    """Publishes the result of `report` once a second, whatever the clock of the node does."""

    def __init__(self, node: Node, report: Callable[[], Report], hardware_id: str = '') -> None:
        self._node = node
        self._report = report
        self.hardware_id = hardware_id
        self._warn = ThrottledWarnings(node)
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        node.create_timer(1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        now = self._node.get_clock().now()  # before the figures, so that none is older than its stamp
        report = self._report()
        if now.nanoseconds == 0:  # simulated time that has not started
            report.level = max(report.level, WARN)
            report.message = 'use_sim_time is true, but nothing has come on /clock'
            self._warn(report.message)
        status = DiagnosticStatus(
            level=report.level,
            name=self._node.get_fully_qualified_name().lstrip('/'),
            message=log_text(report.message),
            hardware_id=self.hardware_id,
            values=[
                KeyValue(key=key, value=f'{value:.4g}' if isinstance(value, float) else log_text(str(value)))
                for key, value in report.values.items()
            ],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = now.to_msg()
        self._publisher.publish(array)


class Window:
    """The values of a figure in the last `span` seconds. Threads may share it."""

    def __init__(self, span: float = 5.0) -> None:
        self._span = span
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._values: deque[tuple[float, float]] = deque()  # time of arrival, value

    def add(self, value: float = 1.0) -> None:
        with self._lock:
            self._values.append((time.monotonic(), value))
            self._trim()

    def _trim(self) -> None:
        oldest = time.monotonic() - self._span
        while self._values and self._values[0][0] < oldest:
            self._values.popleft()

    @property
    def values(self) -> list[float]:
        with self._lock:
            self._trim()
            return [value for _, value in self._values]

    @property
    def total(self) -> float:
        return sum(self.values)

    @property
    def rate(self) -> float:
        """Values a second."""
        return len(self.values) / max(min(self._span, time.monotonic() - self._began), 1.0)

    @property
    def mean(self) -> float:
        """NaN without values."""
        values = self.values
        return sum(values) / len(values) if values else math.nan

    def percentiles(self, *per_cent: float) -> list[float]:
        """NaN without values."""
        values = self.values
        return np.percentile(values, per_cent).tolist() if values else [math.nan] * len(per_cent)
