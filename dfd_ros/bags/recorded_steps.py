"""The steps of a focus in a bag, for its latency."""

from __future__ import annotations

import math
from pathlib import Path

from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.color_images import COLOR_TYPES, ColorImages
from dfd_ros.bags.recording_events import COMPRESSED, LENS_STATE, lens_state, stamp_of
from dfd_ros.calibration.focus_steps import FocusSteps, FocusStepsBuilder
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import vergence

FOCUS_COMMAND = 'dfd_ros/msg/FocusCommand'


def read_focus_steps(path: str | Path, image: str, focus_command: str, lens_state_topic: str) -> FocusSteps:
    """Images, focus commands and, where there are any, lens states of a bag. Names are topics.

    Raises:
        InputError: one line that names the bag and what it lacks.
    """
    bag = Bag(path)
    image, command, labels = ('/' + name.lstrip('/') for name in (image, focus_command, lens_state_topic))
    # image_transport advertises all its transports, and a recorder has them all, though most are empty.
    variants = [image + suffix for suffix in ('', *COMPRESSED['image']) if image + suffix in bag.topics]
    image = next((name for name in variants if bag.counts[name]), image)
    bag.require(image, *COLOR_TYPES)
    bag.require(command, FOCUS_COMMAND)
    has_labels = bag.topics.get(labels) == LENS_STATE
    builder, images = FocusStepsBuilder(str(path)), ColorImages(bag, image)
    last = math.nan
    for item in bag.read([image, command, *([labels] if has_labels else [])]):
        if item.topic == command:
            distance = item.message.focus_distance
            # The sweep sends a command again that nobody has answered.
            if distance > 0 and distance != last:
                builder.add_command(stamp_of(item.message) or item.time * 1e-9, vergence(distance))
                last = distance
        elif item.topic == image:
            try:
                builder.add_frame(stamp_of(item.message), images.image(item))
            except InputError as error:
                bag.ignore(item.topic, 'that cannot be decoded', str(error))
        else:
            state = lens_state(item.message, item.topic)
            builder.add_label(state.stamp, vergence(state.focus_distance))
    return builder.steps()
