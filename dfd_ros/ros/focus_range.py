"""The part of the range of the lens that the depth node wants swept, on its way to the sweep node."""

from __future__ import annotations

from std_msgs.msg import Header

from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.adaptive_range import AdaptiveRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.msg import FocusRange as FocusRangeMessage
from dfd_ros.ros import qos
from dfd_ros.ros.managed_node import ManagedNode

NO_RANGE = 'adaptive_range: the lens state does not say what the lens can focus; set near and far, or its limits'


class FocusRangePublisher:
    """Chooses the range after each estimate, and publishes it on ``focus_range``."""

    def __init__(self, node: ManagedNode, limits: VergenceRange | None) -> None:
        """`limits`: those of the parameters."""
        self._limits = limits
        self._adaptive = AdaptiveRange()
        self._publisher = node.create_publisher(
            FocusRangeMessage, 'focus_range', qos.COMMAND, qos_overriding_options=qos.overridable()
        )

    @property
    def range(self) -> VergenceRange | None:
        """What is swept; None: not known yet."""
        return self._adaptive.range

    def publish(self, estimator: DepthEstimator, estimate: Estimate, state: LensState, header: Header) -> str:
        """Gives what is wrong; empty: nothing."""
        limits = self._limits or state.range
        if limits is None:
            return NO_RANGE
        swept = self._adaptive.push(state.focus_distance, estimate, limits)
        estimator.change_range(swept)
        self._publisher.publish(FocusRangeMessage(header=header, near_distance=swept.near, far_distance=swept.far))
        return ''
