"""Quality of service, after REP 2003: drivers publish reliably, consumers of sensor data take best effort.

A reliable publisher serves both kinds of subscriber, and a best-effort subscriber takes both kinds of
publisher, so the nodes connect to any camera driver and any viewer. Each topic's history, depth and
reliability can be overridden by the ``qos_overrides.*`` parameters of ROS.
"""

from __future__ import annotations

from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _profile(reliability: QoSReliabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)


# A late frame is useless: short queues, no retransmission.
SENSOR_SUBSCRIBER = _profile(QoSReliabilityPolicy.BEST_EFFORT, 5)
# Lens states are small, and many may arrive between two images.
LENS_STATE_SUBSCRIBER = _profile(QoSReliabilityPolicy.BEST_EFFORT, 50)
PUBLISHER = _profile(QoSReliabilityPolicy.RELIABLE, 5)
# Only the last command counts.
COMMAND = _profile(QoSReliabilityPolicy.RELIABLE, 1)


def overridable() -> QoSOverridingOptions:
    """Lets YAML and ``-p`` override history, depth and reliability of one publisher or subscription."""
    return QoSOverridingOptions.with_default_policies()
