"""What the depth node publishes of each estimate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from dfd_ros.inference import depth_filters
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.ros import image_messages, qos
from dfd_ros.ros.compressed_images import to_compressed_depth
from dfd_ros.ros.node_parameters import DepthParameters
from dfd_ros.ros.point_clouds import to_point_cloud
from dfd_ros.ros.rectification import Rectification, rectification


class DepthOutputs:
    """Publishes what somebody subscribes to, and computes nothing else."""

    def __init__(self, node: Node, rectifies: str, warn: Callable[[str], None]) -> None:
        """`rectifies`: the parameter ``rectification``."""
        overridable = qos.overridable()

        def publisher(message_type: type, topic: str) -> Publisher:
            return node.create_publisher(message_type, topic, qos.PUBLISHER, qos_overriding_options=overridable)

        self._rectifies, self._warn = rectifies, warn
        self._info_topic = node.resolve_topic_name('camera_info')
        self._depth = publisher(Image, 'depth/image' if rectifies == 'none' else 'depth/image_rect')
        self._compressed = publisher(CompressedImage, f'{self._depth.topic_name}/compressedDepth')
        self._info = publisher(CameraInfo, 'depth/camera_info')
        self._coc = publisher(Image, 'coc/image')
        self._confidence = publisher(Image, 'confidence/image')
        self._all_in_focus = publisher(Image, 'all_in_focus/image')
        self._points = publisher(PointCloud2, 'points')
        self._median = depth_filters.MedianOfThree()

    def are_wanted(self) -> bool:
        """Whether somebody subscribes to a result."""
        images = self._depth, self._compressed, self._coc, self._confidence, self._all_in_focus
        return any(publisher.get_subscription_count() for publisher in (*images, self._points))

    def all_in_focus_is_wanted(self) -> bool:
        return self._all_in_focus.get_subscription_count() > 0

    def publish(
        self, estimate: Estimate, threshold: float, image: np.ndarray, raw_info: CameraInfo, values: DepthParameters
    ) -> float:
        """Publishes an estimate of `image`; `threshold`: of the confidence. `raw_info`: with the header of all.

        Gives the share of the pixels that have depth after the filters; NaN where nobody subscribes to depth.
        """
        header = raw_info.header
        view = rectification(raw_info, self._info_topic, is_rectified=self._rectifies == 'done')
        published = view if self._rectifies != 'none' else Rectification()
        if self._info.get_subscription_count():
            self._info.publish(published.camera_info(raw_info))
        share = self._publish_depth(estimate, threshold, image, raw_info, view, published, values)  # robots wait for it
        for publisher, name in ((self._coc, 'coc'), (self._confidence, 'confidence')):
            if publisher.get_subscription_count():
                publisher.publish(image_messages.to_message(published(getattr(estimate, name)), header))
        if estimate.all_in_focus is not None:  # stays in the view of the image, whose place it takes
            self._all_in_focus.publish(image_messages.to_message(estimate.all_in_focus, header))
        return share

    def _publish_depth(
        self,
        estimate: Estimate,
        threshold: float,
        image: np.ndarray,
        raw_info: CameraInfo,
        view: Rectification,
        published: Rectification,
        values: DepthParameters,
    ) -> float:
        """Depth as an image and as points, which are always in the rectified `view`. Gives what `publish` gives."""
        header = raw_info.header
        of_depth = self._depth, self._compressed, self._points
        if not any(publisher.get_subscription_count() for publisher in of_depth):
            return math.nan
        depth = self._filtered(estimate, threshold, values)
        share = 1 - np.count_nonzero(np.isnan(depth)) / depth.size
        if self._depth.get_subscription_count():
            self._depth.publish(image_messages.to_message(published(depth), header))
        if self._points.get_subscription_count():
            matrix = np.reshape(view.camera_info(raw_info).k, (3, 3))
            if not matrix[0, 0] > 0:
                self._warn(f'{self._points.topic_name}: no points, since {self._info_topic} is not calibrated (K = 0)')
            else:
                points = to_point_cloud(view(depth), view(image), matrix, header, values.points_decimation)
                self._points.publish(points)
        if self._compressed.get_subscription_count():
            self._compressed.publish(to_compressed_depth(published(depth), header))
        return share

    def _filtered(self, estimate: Estimate, threshold: float, values: DepthParameters) -> np.ndarray:
        depth = estimate.masked_depth(threshold)
        if values.median:
            depth = self._median(depth)
        else:
            self._median.reset()
        if estimate.range is None:  # nothing is known
            return depth
        depth = depth_filters.clean(depth, estimate.range, values.edge_jump, values.speckle_size)
        if values.out_of_range == 'keep':
            return depth
        return depth_filters.limited(depth, estimate.range, np.inf if values.out_of_range == 'infinite' else np.nan)
