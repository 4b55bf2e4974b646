"""A ROS 2 node that prints how far away the middle of the image is.

    ros2 launch dfd_ros depth_from_focus.launch.py source:=synthetic     # or: dfd run --source synthetic
    python examples/ros_subscriber.py

Depth (32FC1, m, NaN = unknown) and confidence (32FC1, 0..1) of a frame have the same stamp.
"""

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

MIN_CONFIDENCE = 0.5  # ignore depth that is more likely wrong


def to_array(message: Image) -> np.ndarray:
    """(H, W) float32; cv_bridge does the same."""
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    values = rows[:, : 4 * message.width].copy().view('>f4' if message.is_bigendian else '<f4')
    return values.astype(np.float32)


class Distance(Node):
    def __init__(self) -> None:
        super().__init__('distance')
        self._depth: Image | None = None
        self._confidence: Image | None = None
        self.create_subscription(Image, 'depth/image_rect', self._on_depth, qos_profile_sensor_data)
        self.create_subscription(Image, 'confidence/image', self._on_confidence, qos_profile_sensor_data)

    def _on_depth(self, message: Image) -> None:
        self._depth = message
        self._print_if_complete()

    def _on_confidence(self, message: Image) -> None:
        self._confidence = message
        self._print_if_complete()

    def _print_if_complete(self) -> None:
        if not self._depth or not self._confidence or self._depth.header.stamp != self._confidence.header.stamp:
            return
        depth, confidence = to_array(self._depth), to_array(self._confidence)
        height, width = depth.shape
        middle = np.s_[height * 2 // 5 : height * 3 // 5 + 1, width * 2 // 5 : width * 3 // 5 + 1]
        trusted = depth[middle][(confidence[middle] >= MIN_CONFIDENCE) & np.isfinite(depth[middle])]
        if trusted.size:
            print(f'{np.median(trusted):.2f} m', flush=True)
        else:
            print('unknown', flush=True)


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Distance())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
