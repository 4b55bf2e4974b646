"""What camera and depth node publish of a scene that the test knows, with the number of each frame in its image."""

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from dfd_ros.core.lens_state import LensState
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos

NEAR, FAR = 0.5, 1.0  # m, of the left and the right half
FOCI = 2.0, 1.0, 0.6, 0.4, 0.25  # m
BITS = 8  # of the number of a frame, as black and white blocks in the upper row
RESULTS = 'depth/image_rect', 'coc/image', 'confidence/image', 'all_in_focus/image'


class PublishedScene:
    """Publishes a frame a call."""

    def __init__(self, node, height: int = 480, width: int = 640, results: tuple[str, ...] = RESULTS) -> None:
        self.node, self.count = node, 0
        topics = {'image_raw': Image, 'camera_info': CameraInfo, 'lens_state': LensStateMessage}
        topics |= dict.fromkeys(results, Image)
        self.publishers = {topic: node.create_publisher(kind, topic, qos.PUBLISHER) for topic, kind in topics.items()}
        draw = np.random.default_rng(0)
        texture = draw.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8)
        self._image = np.kron(texture, np.ones((8, 8, 1), np.uint8))
        depth = np.full((height, width), NEAR, np.float32)
        depth[:, width // 2 :] = FAR
        waves = np.sin(np.arange(width, dtype=np.float32) / 9)
        self.maps = {
            'depth/image_rect': depth,
            'coc/image': np.broadcast_to(6 + 5 * waves, depth.shape).astype(np.float32),
            'confidence/image': np.broadcast_to(0.7 + 0.2 * waves, depth.shape).astype(np.float32),
        }

    def state(self) -> LensState:
        """The lens in the frame to come."""
        return LensState(FOCI[self.count % len(FOCI)], 4e-3, 2.0, 8e-6, near=FOCI[-1], far=FOCI[0])

    def subscribers(self) -> int:
        """Of the depth image."""
        return self.publishers['depth/image_rect'].get_subscription_count()

    def publish(self) -> int:
        """Publishes the next frame, and gives its number."""
        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id='lens')
        state, image = self.state(), numbered(self._image, self.count)
        height, width = image.shape[:2]
        sent = {
            'camera_info': lambda: messages.camera_info(state, width, height, header),
            'lens_state': lambda: messages.to_message(state, header, self.count),
            'image_raw': lambda: image_messages.to_message(image, header),
            'all_in_focus/image': lambda: image_messages.to_message(image, header),
            **{t: lambda t=t: image_messages.to_message(self.maps[t], header) for t in self.maps},
        }
        for topic, make in sent.items():
            if topic in self.publishers and self.publishers[topic].get_subscription_count():
                self.publishers[topic].publish(make())
        self.count += 1
        return self.count - 1


def numbered(image: np.ndarray, number: int) -> np.ndarray:
    """A copy with a number in its upper row."""
    image, size = image.copy(), image.shape[1] // BITS
    for bit in range(BITS):
        image[: size // 2, bit * size : (bit + 1) * size] = 255 * (number >> bit & 1)
    return image


# JavaScript: the number in an image element. By way of a bitmap: a canvas that draws the element itself makes Chromium
# keep every decoded picture.
READ_NUMBER = f"""
(async (image) => {{
  const canvas = window.dfdCanvas || (window.dfdCanvas = document.createElement('canvas'));
  canvas.width = {BITS}; canvas.height = 1;
  const context = canvas.getContext('2d', {{willReadFrequently: true}});
  const bitmap = await createImageBitmap(image);
  const size = bitmap.width / {BITS};
  context.imageSmoothingEnabled = false;
  for (let bit = 0; bit < {BITS}; bit++)
    context.drawImage(bitmap, bit * size + size / 2, size / 4, 1, 1, bit, 0, 1, 1);
  bitmap.close();
  const pixels = context.getImageData(0, 0, {BITS}, 1).data;
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit++) if (pixels[4 * bit] > 127) number += 1 << bit;
  return number;
}})"""
