"""The images, depth images and lens states of a bag as a stream of events, in the order of recording."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dfd_ros.bags import image_decoding
from dfd_ros.bags.association import DepthExposure, Event, Exposure, LensReport, Timeline, UnusableImage
from dfd_ros.bags.bag_reader import Bag, BagMessage
from dfd_ros.bags.clock_offset import ChangeSignal, estimate
from dfd_ros.bags.color_images import COLOR_TYPES, ColorImages
from dfd_ros.bags.depth_reprojection import CameraInfo, Intrinsics
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.video_stream import BEFORE_KEYFRAME, BeforeKeyframe
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.significant_bits import SignificantBits

CAMERA_INFO, TF_MESSAGE = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'
LENS_STATE = 'dfd_ros/msg/LensState'
OFFSET_SECONDS = 60.0  # of the recording are used to find the clock offset
_COLOR = '/compressed', '/ffmpeg', '/foxglove'  # compressed_, ffmpeg_ and foxglove_compressed_video_transport
COMPRESSED = {'image': _COLOR, 'color': _COLOR, 'depth': ('/compressedDepth', '/compressed')}
_LOOKED_AT = 500  # images, for the bits that they use
NO_STAMP = 'with a header stamp of 0'


@dataclass(frozen=True)
class Recording:
    """A recording that has been opened.

    Attributes:
        events: of the recording.
        frames: its coordinate frames, which are filled while the events are read.
        notes: gives lines about its state, complete once the events have been read.
        clock_offset: s, added to the stamps of the RGB-D sensor.
        images: number of images of the focus camera.
    """

    events: Iterator[Event]
    frames: Frames
    notes: Callable[[], list[str]]
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
        """The names in this bag: absolute, and of the compressed topic if only that has messages. Raises InputError."""
        names = {f.name: '/' + getattr(self, f.name).lstrip('/') for f in fields(self)}
        for name, suffixes in COMPRESSED.items():
            variants = [names[name] + suffix for suffix in ('', *suffixes) if names[name] + suffix in bag.topics]
            # image_transport advertises all its transports, and a recorder has them all, though most are empty.
            names[name] = next((v for v in variants if bag.counts[v]), variants[0] if variants else names[name])
        roles: dict[str, str] = {}
        for role, topic in names.items():
            if topic in roles:
                raise InputError(f'{bag.path}: {roles[topic]} and {role} are both {topic}; give the right topics')
            roles[topic] = role
        bag.require(names['depth'], *image_decoding.IMAGE_TYPES)
        if with_images:
            bag.require(names['image'], *COLOR_TYPES)
            bag.require(names['lens_state'], LENS_STATE)
        for name in ('camera_info', 'depth_info'):
            if names[name] in bag.topics:
                bag.require(names[name], CAMERA_INFO)
        return Topics(**names)

    @property
    def depth_is_rectified(self) -> bool:
        return is_rectified(self.depth)


def is_rectified(topic: str) -> bool:
    """By ROS's names: image_rect and image_rect_raw are rectified, image_raw and the like are as the sensor saw them,
    with the distortion of their camera_info."""
    for suffix in {*COMPRESSED['image'], *COMPRESSED['depth']}:
        topic = topic.removesuffix(suffix)
    return 'rect' in topic.rpartition('/')[2]


class CameraInfos:
    """The calibrations of one camera, by their stamps; see `Intrinsics.from_message` for `rectified`."""

    def __init__(self, topic: str, *, rectified: bool = False) -> None:
        self._topic, self._rectified = topic, rectified
        self._infos: Timeline[CameraInfo] = Timeline()
        self._first: CameraInfo | None = None

    def __bool__(self) -> bool:
        return self._first is not None

    def add(self, message: Any) -> None:
        """Raises InputError if it is not a valid calibration."""
        intrinsics = Intrinsics.from_message(message, self._topic, rectified=self._rectified)
        info = CameraInfo(intrinsics, int(message.width), int(message.height))
        self._first = self._first or info
        self._infos.add(stamp_of(message), info)

    def at(self, stamp: float) -> CameraInfo | None:
        """The one nearest to this stamp (s), None if there is none."""
        return self._infos.nearest(stamp)[1] or self._first


def stamp_of(message: Any) -> float:
    """s."""
    stamp = message.header.stamp if hasattr(message, 'header') else message.timestamp  # of CompressedVideo
    return stamp.sec + stamp.nanosec * 1e-9


def frame_id_of(message: Any) -> str:
    return (message.header if hasattr(message, 'header') else message).frame_id


def lens_state(message: Any, topic: str) -> LensState:
    """From a dfd_ros/msg/LensState. Raises InputError if it has no focus distance, or one that no lens has."""
    return LensState.of_message(message, stamp_of(message), topic)


def events(
    bag: Bag, topics: Topics, frames: Frames, *, offset: float = 0.0, with_images: bool = True, bits: int = 0
) -> Iterator[Event]:
    """The events of a bag, in the order of recording. Transforms on TF go to `frames`.

    Messages that are of no use are ignored, and are in the notes of the bag.

    offset: s, added to the stamps of the RGB-D sensor. with_images: False for the bag of an RGB-D sensor alone.
    bits: that 16-bit images use, by `image_bits`; 0 = those that each image needs.
    """
    images = ColorImages(bag, topics.image, SignificantBits(bits) if bits else None) if with_images else None
    static_tf = [topic for topic, kind in bag.topics.items() if kind == TF_MESSAGE and topic.endswith('tf_static')]
    tf = [topic for topic, kind in bag.topics.items() if kind == TF_MESSAGE]
    infos = {topics.depth_info: CameraInfos(topics.depth_info, rectified=topics.depth_is_rectified)}
    if with_images:
        infos[topics.camera_info] = CameraInfos(topics.camera_info)
    _add_latched(bag, infos, static_tf, frames)

    def exposure(
        message: Any, stamp: float, load: Callable[[], np.ndarray], info_topic: str, received: float, shift: float = 0.0
    ) -> Exposure:
        info = functools.partial(infos[info_topic].at, stamp)
        return Exposure(stamp + shift, load, frame_id_of(message), info, received=received)

    def event(item: BagMessage) -> Event | None:
        topic, message, received = item.topic, item.message, item.time * 1e-9
        if topic in infos:
            infos[topic].add(message)
            return None
        if topic in tf:
            for problem in frames.add(message, static=topic in static_tf):
                bag.ignore(topic, 'transforms that are impossible', problem)
            return None
        stamp = stamp_of(message)
        if images is not None and topic == topics.image:
            try:
                load = images.loader(item)
            except BeforeKeyframe:
                return UnusableImage(BEFORE_KEYFRAME, received)
            if stamp == 0:
                return UnusableImage(NO_STAMP, received)
            return exposure(message, stamp, load, topics.camera_info, received)
        if stamp == 0:
            bag.ignore(topic, NO_STAMP)
            return None
        if topic == topics.lens_state:
            return LensReport(lens_state(message, topic), received, frame_id_of(message))
        load = functools.partial(_depth, item.reload, topic)
        return DepthExposure(exposure(message, stamp, load, topics.depth_info, received, offset))

    wanted = [topics.depth, *infos, *tf, *([topics.image, topics.lens_state] if with_images else [])]
    for item in bag.read(wanted):
        try:
            found = event(item)
        except InputError as error:
            bag.ignore(item.topic, 'not valid', str(error).removeprefix(f'{item.topic}: '))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            # The bag's own definition of the type lacks a field, or has another type for it.
            bag.ignore(item.topic, f'not as {bag.topics[item.topic]} is today', str(error))
        else:
            if found is not None:
                yield found


def _add_latched(bag: Bag, infos: dict[str, CameraInfos], static_tf: list[str], frames: Frames) -> None:
    """Adds what is published once, or seldom, and may be recorded after the images that need it."""
    left = Counter({topic: bag.counts[topic] for topic in static_tf})
    for item in bag.read([*infos, *static_tf], again=True):
        try:
            if item.topic in static_tf:
                left[item.topic] -= 1
                frames.add(item.message, static=True, known=False)
            elif not infos[item.topic]:
                infos[item.topic].add(item.message)
        except (AttributeError, TypeError, ValueError, OverflowError):
            continue  # reported when it is read with all the others
        if not any(count > 0 for count in left.values()) and all(
            info or not bag.counts[topic] for topic, info in infos.items()
        ):
            return


def frame_of(bag: Bag, topic: str) -> str:
    """The frame of a topic's images, by its first message; empty if it has none."""
    for item in bag.read([topic], again=True) if topic in bag.topics else ():
        return str(frame_id_of(item.message)).lstrip('/')
    return ''


def image_bits(bag: Bag, topic: str) -> int:
    """The bits that the 16-bit images of a topic use, one number for the whole bag; 0 if they have 8 bits.

    Raises InputError if they are video and PyAV is not installed.
    """
    bits, step = SignificantBits(), max(bag.counts[topic] // _LOOKED_AT, 1)
    images = ColorImages(bag, topic, bits)
    for number, item in enumerate(() if images.is_video else bag.read([topic], again=True)):
        if number % step == 0:
            try:
                images.image(item)
            except Exception:  # whatever a decoder makes of broken data; reported by the conversion
                continue
            if not bits.bits:
                break
    return bits.bits


def _depth(reload: Callable[[], Any], topic: str) -> np.ndarray:
    return image_decoding.to_depth(reload(), topic)


def rgbd_signal(bag: Bag, topics: Topics) -> ChangeSignal:
    """Changes in the RGB-D sensor's images: of colour if the bag has it, else of depth."""
    if bag.topics.get(topics.color) in COLOR_TYPES:
        return _color_signal(bag, topics.color)
    return _signal(bag, topics.depth, lambda item: image_decoding.to_depth(item.message, topics.depth))


def _color_signal(bag: Bag, topic: str) -> ChangeSignal:
    return _signal(bag, topic, ColorImages(bag, topic, SignificantBits()).image)


def _signal(bag: Bag, topic: str, decode: Callable[[BagMessage], np.ndarray]) -> ChangeSignal:
    signal, first = ChangeSignal(), None
    for item in bag.read([topic], again=True):
        stamp = stamp_of(item.message)
        first = stamp if first is None else first
        if stamp - first > OFFSET_SECONDS:
            break
        try:
            image = decode(item)
        except Exception:  # whatever a decoder makes of broken data; reported by the conversion
            continue
        signal.push(stamp, image)
    return signal


def clock_offset(bag: Bag, topics: Topics) -> float:
    """Seconds to add to the stamps of the bag's RGB-D sensor, estimated from the images. Raises InputError."""
    try:
        return estimate(_color_signal(bag, topics.image), rgbd_signal(bag, topics)).seconds
    except InputError as error:
        raise InputError('; '.join([f'{bag.path}: {error}', *bag.notes()])) from None
