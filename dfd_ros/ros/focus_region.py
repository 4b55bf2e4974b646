"""The distance of what lies in a rectangle of the images, for the sweep to hold the focus on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Float32

from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.ros import qos

MIN_KNOWN = 0.1  # of the pixels of the rectangle


class FocusRegion:
    """Takes the rectangle from ``focus_region``, in pixels of ``image_raw``, and publishes ``focus_on`` (m).

    NaN where too little of the rectangle has depth; the sweep then looks everywhere. An empty rectangle ends it, after
    one more NaN. All but the callback is for one thread.
    """

    def __init__(self, node: Node, warn: Callable[[str], None]) -> None:
        self._node, self._warn = node, warn
        self._region = self._published = RegionOfInterest()
        self._topic = node.resolve_topic_name('focus_region')
        self._publisher = node.create_publisher(
            Float32, 'focus_on', qos.COMMAND, qos_overriding_options=qos.overridable()
        )

    def subscribe(self) -> None:
        self._node.create_subscription(
            RegionOfInterest, 'focus_region', self._on_region, qos.COMMAND, qos_overriding_options=qos.overridable()
        )

    def _on_region(self, region: RegionOfInterest) -> None:
        self._region = region

    @property
    def is_due(self) -> bool:
        """Whether the next estimate is to be published."""
        return self._region is not self._published or not _is_empty(self._region)

    def publish(self, estimate: Estimate, threshold: float, shape: tuple[int, int]) -> None:
        """`threshold`: least confidence of what counts. `shape`: height and width (px) of ``image_raw``; the estimate's
        may be less."""
        if not self.is_due:
            return
        region = self._published = self._region
        height, width = shape
        if not _is_empty(region) and (region.x_offset >= width or region.y_offset >= height):
            self._warn(
                f'{self._topic}: the rectangle begins at ({region.x_offset}, {region.y_offset}) px, outside of the '
                f'images of {width}x{height} px'
            )
        self._publisher.publish(Float32(data=distance_in(region, estimate, threshold, shape)))


def _is_empty(region: RegionOfInterest) -> bool:
    return not (region.width and region.height)


def distance_in(region: RegionOfInterest, estimate: Estimate, threshold: float, shape: tuple[int, int]) -> float:
    """The distance (m) whose vergence is the median in the rectangle; NaN: too little of it is known, or it is empty.

    `threshold`, `shape`: as of `FocusRegion.publish`.
    """
    if _is_empty(region):
        return math.nan
    estimate = estimate.reduced
    rows, columns = (
        slice(math.floor(start * used / whole), math.ceil((start + length) * used / whole))
        for start, length, used, whole in zip(
            (region.y_offset, region.x_offset), (region.height, region.width), estimate.depth.shape, shape
        )
    )
    depth = estimate.depth[rows, columns]
    known = ~np.isnan(depth) & (estimate.confidence[rows, columns] >= threshold)
    if not depth.size or np.count_nonzero(known) < MIN_KNOWN * depth.size:
        return math.nan
    median = float(np.median(1 / depth[known]))  # of infinity: 0
    return 1 / median if median > 0 else math.inf
