"""Diagnostics: figures over a window, and what a node says while its clock stands."""

import math
import time

import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_processes import wait_until

from dfd_ros.ros.diagnostics import Window


def test_the_figures_of_a_window():
    window = Window(60.0)
    assert math.isnan(window.mean) and math.isnan(window.percentiles(95)[0]) and window.rate == 0
    for value in (1.0, 3.0):
        window.add(value)
    assert (window.mean, *window.percentiles(50, 100), window.total) == (2, 2, 3, 4)


def test_a_window_forgets():
    window = Window(0.05)
    window.add(1.0)
    time.sleep(0.06)
    assert window.values == []


def test_simulated_time_without_a_clock_is_said(observer, start_node):
    process = start_node('sweep', use_sim_time=True)
    heard = observer.listen(DiagnosticArray, '/diagnostics')
    status = wait_until(lambda: [s for m in heard for s in m.status if s.name == 'sweep'], 'diagnostics')[0]
    assert status.level == DiagnosticStatus.WARN and 'nothing has come on /clock' in status.message
    wait_until(lambda: 'nothing has come on /clock' in process.output, 'a warning')
