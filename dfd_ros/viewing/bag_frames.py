"""The frames of a bag: images with their lens states, without a depth sensor beside them."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dfd_ros.bags.association import LENS_TOLERANCE
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.color_images import COLOR_TYPES, ColorImages
from dfd_ros.bags.depth_reprojection import Intrinsics
from dfd_ros.bags.recording_events import CAMERA_INFO, COMPRESSED, LENS_STATE, is_rectified, lens_state, stamp_of
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.significant_bits import SignificantBits
from dfd_ros.viewing.recorded_scenes import Shot
from dfd_ros.viewing.viewed_frame import Pinhole

WAITING = 100  # maximum number of messages without their counterpart
IMAGES = [f'image_raw{suffix}' for suffix in ('', *COMPRESSED['image'])]


class BagFrames:
    """Reads a bag from the start, again and again."""

    def __init__(self, path: Path, image: str = '', lens_state: str = '') -> None:
        """image, lens_state: topics; empty = found by their types.

        Raises:
            InputError: it is no bag, has no such topics, or images in video and PyAV is not installed.
        """
        self._bag = Bag(path)
        self._lens_topic = lens_state or self._only_lens_topic()
        self._image_topic = image or self._image_topic_beside(self._lens_topic)
        self._bag.require(self._lens_topic, LENS_STATE)
        self._bag.require(self._image_topic, *COLOR_TYPES)
        ColorImages(self._bag, self._image_topic)  # which says if it cannot decode them
        plain = next(filter(self._image_topic.endswith, COMPRESSED['image']), '')
        info = self._image_topic.removesuffix(plain).rpartition('/')[0] + '/camera_info'
        self._info_topic = info if self._bag.topics.get(info) == CAMERA_INFO else ''

    def _only_lens_topic(self) -> str:
        found = sorted(topic for topic, kind in self._bag.topics.items() if kind == LENS_STATE)
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(f'{self._bag.path}: no topic of type {LENS_STATE} in it, and depth needs the focus')
        raise InputError(f'{self._bag.path}: lens states on {", ".join(found)}; give one as --lens-state-topic')

    def _image_topic_beside(self, lens_topic: str) -> str:
        folder = lens_topic.rpartition('/')[0]
        beside = [f'{folder}/{name}' for name in IMAGES if self._bag.counts[f'{folder}/{name}']]
        if beside:
            return beside[0]
        images = sorted(topic for topic, kind in self._bag.topics.items() if kind in COLOR_TYPES)
        raise InputError(
            f'{self._bag.path}: no images on {folder}/{IMAGES[0]}; give the topic as --image-topic'
            + (f': {", ".join(images)}' if images else '')
        )

    def shots(self) -> Iterator[Shot]:
        """The frames in the order of recording, without the distortion of the lens; those with a moving focus are left
        out.

        Raises:
            InputError: no image has a lens state.
        """
        # By stamp. Images are decoded when their lens state is there.
        images: OrderedDict[float, Callable[[], np.ndarray]] = OrderedDict()
        states: OrderedDict[float, LensState] = OrderedDict()
        cameras: dict[tuple[int, int], Intrinsics] = {}  # by width and height of the image
        count, decoded = 0, ColorImages(self._bag, self._image_topic, SignificantBits())
        topics = [self._image_topic, self._lens_topic, *([self._info_topic] if self._info_topic else [])]
        for item in self._bag.read(topics, again=True):
            try:
                if item.topic == self._info_topic:
                    size = item.message.width, item.message.height
                    cameras[size] = Intrinsics.from_message(
                        item.message, item.topic, rectified=is_rectified(self._image_topic)
                    )
                    continue
                stamp = stamp_of(item.message)
                if item.topic == self._lens_topic:
                    states[stamp] = lens_state(item.message, item.topic)
                else:
                    images[stamp] = decoded.loader(item)
            except (InputError, AttributeError, TypeError, ValueError, OverflowError):
                continue
            for waiting in (images, states):
                while len(waiting) > WAITING:
                    waiting.popitem(last=False)
            stamp_of_state = _nearest(states, stamp)
            stamp_of_image = _nearest(images, stamp)
            if stamp_of_state is None or stamp_of_image is None:
                continue
            load, state = images.pop(stamp_of_image), states.pop(stamp_of_state)
            if not state.settled:
                continue
            try:
                image = load()
            except Exception:  # whatever a decoder makes of broken data; `dfd convert` reports it
                continue
            count += 1
            camera = cameras.get((image.shape[1], image.shape[0])) or cameras.get((0, 0))
            if camera is None:
                yield Shot(image, state, Pinhole.of_lens(image.shape[0], image.shape[1], state))
            else:
                view = Pinhole(camera.fx, camera.fy, camera.cx, camera.cy)
                yield Shot(_undistorted(image, camera), state, view)
        if not count:
            raise InputError(
                f'{self._bag.path}: no image on {self._image_topic} has a lens state on {self._lens_topic} within '
                f'{LENS_TOLERANCE:g} s'
            )


def _nearest(stamps: OrderedDict[float, Any], stamp: float) -> float | None:
    found = min(stamps, key=lambda one: abs(one - stamp), default=None)
    return found if found is not None and abs(found - stamp) <= LENS_TOLERANCE else None


def _undistorted(image: np.ndarray, camera: Intrinsics) -> np.ndarray:
    if not camera.distortion:
        return image
    return cv2.remap(image, *_maps(camera, image.shape[1], image.shape[0]), cv2.INTER_LINEAR)


@functools.lru_cache(32)  # a driver may give another one for each focus
def _maps(camera: Intrinsics, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return camera.projection.maps(camera.matrix, (width, height), cv2.CV_16SC2)
