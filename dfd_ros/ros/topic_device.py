"""A camera behind ROS topics as a device with a focus motor, for the calibration of the motor."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import FocusDevice
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos, synchronisation
from dfd_ros.ros.client_node import require_no_rivals
from dfd_ros.ros.guarded_node import GuardedNode

QUEUE = 30  # messages of a topic that wait for their counterpart
SLOP = 0.005  # s between the stamps of an image and its lens state
PATIENCE = 10.0  # s until the first image, and from a command to a settled frame
POLL = 0.05  # s

Pair = tuple[Image | CompressedImage, LensStateMessage]


class TopicDevice(GuardedNode, FocusDevice):
    """A camera that publishes `image_raw` and `lens_state` and obeys `focus_command`.

    A focus bridge, or a camera node, translates between values and distances by `table`, which need not be true: the
    values come back as they were sent.
    """

    def __init__(
        self, topics: dict[str, str], table: FocusTable, compressed: bool, check: Callable[[], object]
    ) -> None:
        """`topics`: names of image_raw, lens_state and focus_command. `check` is called while waiting, may raise."""
        super().__init__('calibrate_sweep')
        self._table = table
        self._check = check
        self._commands = self.create_publisher(FocusCommand, topics['focus_command'], qos.COMMAND)
        image = topics['image_raw'] + ('/compressed' if compressed else '')
        filters = [
            synchronisation.Subscriber(self, kind, topic, qos_profile=profile)
            for kind, topic, profile in (
                (CompressedImage if compressed else Image, image, qos.SENSOR_SUBSCRIBER),
                (LensStateMessage, topics['lens_state'], qos.LENS_STATE_SUBSCRIBER),
            )
        ]
        self._synchroniser = synchronisation.Synchroniser(filters, QUEUE, SLOP, lambda *_: None)
        self._synchroniser.registerCallback(self._on_pair)
        self.name = self._image_topic = self.resolve_topic_name(image)
        self._lens_topic = self.resolve_topic_name(topics['lens_state'])
        self._news = threading.Condition()
        self._newest: Pair | None = None
        self._count = 0
        self._command_id = 0
        self._pair: Pair | None = None

    rate = 0.0

    @property
    def focus(self) -> float:
        if self._pair is None:
            return math.nan
        return self._table.value(messages.from_message(self._pair[1], self._lens_topic).focus_distance)

    def set_focus(self, value: float) -> bool:
        self._command_id += 1
        command = FocusCommand(focus_distance=self._table.focus_distance(value), command_id=self._command_id)
        command.header.stamp = self.get_clock().now().to_msg()
        self._commands.publish(command)
        return True

    def move_focus(self, value: float, tolerance: float) -> float:
        """Sets the focus once, and waits for a frame that shows the lens at rest there."""
        self._await_pair()
        self._wait_for_range()
        require_no_rivals(self, self._commands, self._lens_topic)
        self.set_focus(value)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            state = self._await_pair()[1]
            is_answer = state.settled and state.command_id in (0, self._command_id)  # 0: a driver without numbers
            if is_answer and abs(self.focus - value) <= tolerance:
                return self.focus
        raise InputError(
            f'{self._lens_topic}: no settled frame at the focus value {value:g} within {PATIENCE:g} s, it is at '
            f'{self.focus:.3g}; the log of the focus bridge says why'
        )

    def _await_pair(self) -> Pair:
        if self.grab() is None or self._pair is None:
            raise InputError(
                f'no pairs of {self._image_topic} and {self._lens_topic} within {PATIENCE:g} s: is the camera running?'
            )
        return self._pair

    def _wait_for_range(self) -> None:
        """Until then the focus bridge obeys no command."""
        end = time.monotonic() + PATIENCE
        while self._pair is not None and messages.from_message(self._pair[1], self._lens_topic).range is None:
            self._await_pair()
            if time.monotonic() > end:
                raise InputError(
                    f'{self._lens_topic} does not say what the lens can focus: does the driver answer? The log of the '
                    'focus bridge says why'
                )

    def grab(self) -> float | None:
        with self._news:
            count, end = self._count, time.monotonic() + PATIENCE
            while self._count == count:
                self._check()
                if time.monotonic() > end:
                    return None
                self._news.wait(POLL)
            self._pair = self._newest
        return math.nan

    def retrieve(self) -> np.ndarray | None:
        return None if self._pair is None else image_messages.to_rgb(self._pair[0], self._image_topic)

    def close(self) -> None:
        pass

    def _on_pair(self, image: Image | CompressedImage, lens_state: LensStateMessage) -> None:
        with self._news:
            self._newest = image, lens_state
            self._count += 1
            self._command_id = max(self._command_id, lens_state.command_id)
            self._news.notify_all()
