"""The images, depth images and lens states of a bag as a stream of events, in the order of recording."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dfd_ros.bags import image_decoding
from dfd_ros.bags.association import DepthExposure, Event, Exposure, LensReport
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.clock_offset import ChangeSignal, estimate
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState

CAMERA_INFO, TF_MESSAGE = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'
LENS_STATE = 'dfd_ros/msg/LensState'
OFFSET_SECONDS = 60.0  # of the recording are used to find the clock offset
COMPRESSED = ('/compressed', '/compressedDepth')


@dataclass(frozen=True)
class Recording:
    """A recording that has been opened.

    Attributes:
        events: of the recording.
        frames: its coordinate frames, which are filled while the events are read.
        notes: lines about its state, complete once the events have been read.
        clock_offset: s, added to the stamps of the RGB-D sensor.
        images: number of images of the focus camera.
    """

    events: Iterator[Event]
    frames: Frames
    notes: list[str]
    clock_offset: float
    images: int


@dataclass(frozen=True)
class Topics:
    """The names of the topics of a bag."""

    image: str = '/image_raw'
    lens_state: str = '/lens_state'
    camera_info: str = '/camera_info'
    color: str = '/rgbd/color/image_raw'
    depth: str = '/rgbd/depth/image_rect'
    depth_info: str = '/rgbd/depth/camera_info'

    def of(self, bag: Bag, *, with_images: bool = True) -> Topics:
        """The names in this bag: absolute, and of the compressed topic if only that exists. Raises InputError."""
        names = {f.name: '/' + getattr(self, f.name).lstrip('/') for f in fields(self)}
        for name in ('image', 'color', 'depth'):
            compressed = [names[name] + suffix for suffix in COMPRESSED if names[name] + suffix in bag.topics]
            if names[name] not in bag.topics and compressed:
                names[name] = compressed[-1]
        roles: dict[str, str] = {}
        for role, topic in names.items():
            if topic in roles:
                raise InputError(f'{bag.path}: {roles[topic]} and {role} are both {topic}; give the right topics')
            roles[topic] = role
        bag.require(names['depth'], *image_decoding.IMAGE_TYPES)
        if with_images:
            bag.require(names['image'], *image_decoding.IMAGE_TYPES)
            bag.require(names['lens_state'], LENS_STATE)
        for name in ('camera_info', 'depth_info'):
            if names[name] in bag.topics:
                bag.require(names[name], CAMERA_INFO)
        return Topics(**names)


class CameraInfos:
    """The CameraInfo messages of one camera, by their stamps."""

    def __init__(self) -> None:
        self._infos: deque[tuple[float, Any]] = deque(maxlen=1000)

    def add(self, message: Any) -> None:
        self._infos.append((stamp_of(message), message))

    def at(self, stamp: float) -> Any:
        """The one nearest to this stamp (s), None if there is none."""
        if not self._infos:
            return None
        at = bisect_left(self._infos, stamp, key=lambda item: item[0])
        return min(
            (self._infos[i] for i in (at - 1, at) if 0 <= i < len(self._infos)),
            key=lambda item: abs(item[0] - stamp),
            default=self._infos[-1],
        )[1]


def stamp_of(message: Any) -> float:
    """s."""
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def lens_state(message: Any) -> LensState:
    """Of a dfd_ros/msg/LensState. Raises InputError if the focus distance is not positive."""
    if not message.focus_distance > 0:
        raise InputError(f'focus_distance is {message.focus_distance} m')
    return LensState.of_message(message, stamp_of(message))


def events(
    bag: Bag, topics: Topics, frames: Frames, *, offset: float = 0.0, with_images: bool = True
) -> Iterator[Event]:
    """The events of a bag, in the order of recording. Transforms on TF go to `frames`.

    offset: s, added to the stamps of the RGB-D sensor. with_images: False for the bag of an RGB-D sensor alone.
    """
    tf = [topic for topic, kind in bag.topics.items() if kind == TF_MESSAGE]
    wanted = [topics.depth, topics.depth_info, *tf]
    if with_images:
        wanted += [topics.image, topics.lens_state, topics.camera_info]
    image_infos, depth_infos = CameraInfos(), CameraInfos()
    for topic, time, message in bag.messages(wanted):
        received = time * 1e-9
        if topic == topics.image and with_images:
            stamp = stamp_of(message)
            yield Exposure(
                stamp,
                functools.partial(image_decoding.to_rgb, message, topic),
                message.header.frame_id,
                functools.partial(image_infos.at, stamp),
                received=received,
            )
        elif topic == topics.depth:
            stamp = stamp_of(message)
            yield DepthExposure(
                Exposure(
                    stamp + offset,
                    functools.partial(image_decoding.to_depth, message, topic),
                    message.header.frame_id,
                    functools.partial(depth_infos.at, stamp),
                    received=received,
                )
            )
        elif topic == topics.lens_state and with_images:
            try:
                yield LensReport(lens_state(message), received)
            except InputError:
                continue  # its image counts as one without a lens state
        elif topic == topics.camera_info and with_images:
            image_infos.add(message)
        elif topic == topics.depth_info:
            depth_infos.add(message)
        else:
            frames.add(message, static=topic.endswith('tf_static'))


def rgbd_signal(bag: Bag, topics: Topics) -> ChangeSignal:
    """Changes in the RGB-D sensor's images: of colour if the bag has it, else of depth."""
    has_color = bag.topics.get(topics.color) in image_decoding.IMAGE_TYPES
    return _signal(
        bag,
        topics.color if has_color else topics.depth,
        image_decoding.to_rgb if has_color else image_decoding.to_depth,
    )


def _signal(bag: Bag, topic: str, decode: Callable[[Any, str], np.ndarray]) -> ChangeSignal:
    signal, first = ChangeSignal(), None
    for _, _, message in bag.messages([topic]):
        stamp = stamp_of(message)
        first = stamp if first is None else first
        if stamp - first > OFFSET_SECONDS:
            break
        signal.push(stamp, decode(message, topic))
    return signal


def clock_offset(bag: Bag, topics: Topics) -> float:
    """Seconds to add to the stamps of the bag's RGB-D sensor, estimated from the images. Raises InputError."""
    try:
        return estimate(_signal(bag, topics.image, image_decoding.to_rgb), rgbd_signal(bag, topics)).seconds
    except InputError as error:
        raise InputError(f'{bag.path}: {error}') from None
