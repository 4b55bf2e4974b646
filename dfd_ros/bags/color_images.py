"""The colour images of a topic of a bag: raw, compressed one by one, or video."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from dfd_ros.bags import image_decoding
from dfd_ros.bags.bag_reader import Bag, BagMessage
from dfd_ros.bags.video_stream import VIDEO_TYPES, VideoStream, codec_of, require_pyav
from dfd_ros.core.significant_bits import SignificantBits

COLOR_TYPES = (*image_decoding.IMAGE_TYPES, *VIDEO_TYPES)


class ColorImages:
    """Decodes the images of one topic. It must be given all messages, in the order of recording.

    Args:
        bits: as of `image_decoding.to_rgb`.

    Attributes:
        is_video: whether the first message is.
    """

    def __init__(self, bag: Bag, topic: str, bits: SignificantBits | None = None) -> None:
        """Raises InputError if it is video and PyAV is not installed."""
        self._topic, self._bits = topic, bits
        self._video = VideoStream(topic)
        self._newest: BagMessage | None = None
        first = next(bag.read([topic], again=True), None)
        self.is_video = first is not None and bool(codec_of(first.message, topic))
        if self.is_video:
            require_pyav(topic)

    def loader(self, item: BagMessage) -> Callable[[], np.ndarray]:
        """A function that decodes the image, (H, W, 3) uint8 RGB; it may raise anything. Only the message of the newest
        image is kept, others are read again.

        Raises InputError, and BeforeKeyframe of video.
        """
        codec = codec_of(item.message, self._topic)
        if codec:
            return self._video.add(codec, bytes(item.message.data), item.reload)
        self._newest = item
        return functools.partial(self._decoded, item.reload)

    def image(self, item: BagMessage) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises whatever a decoder makes of broken data."""
        if codec_of(item.message, self._topic):
            return self.loader(item)()
        return image_decoding.to_rgb(item.message, self._topic, self._bits)

    def _decoded(self, reload: Callable[[], Any]) -> np.ndarray:
        newest = self._newest
        message = newest.message if newest is not None and newest.reload is reload else reload()
        return image_decoding.to_rgb(message, self._topic, self._bits)
