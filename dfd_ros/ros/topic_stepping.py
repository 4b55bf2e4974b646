"""Records the steps of the focus of a camera that obeys `focus_command`, for its latency."""

from __future__ import annotations

import time
from collections.abc import Callable

from sensor_msgs.msg import CompressedImage, Image

from dfd_ros.calibration.focus_steps import WARM_UP, FocusSteps, FocusStepsBuilder, default_pause, take_steps
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, vergence
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.client_node import require_no_rivals, spinning
from dfd_ros.ros.guarded_node import GuardedNode
from dfd_ros.ros.synchronisation import NANOSECONDS, nanoseconds

PATIENCE = 15.0  # s until the first image and the first lens state with limits
SILENCE = 5.0  # s without an image, after which the camera has gone
OLDEST, FUTURE = 2.0, 0.1  # s that stamps may be behind and ahead of the clock, as for the focus bridge
POLL = 0.05  # s


class FocusStepper(GuardedNode):
    """Sends focus commands, and keeps the frames and the lens states that come meanwhile."""

    def __init__(self, topics: dict[str, str], compressed: bool) -> None:
        """`topics`: names of image_raw, lens_state and focus_command."""
        super().__init__('calibrate_latency')
        image = topics['image_raw'] + ('/compressed' if compressed else '')
        self.builder = FocusStepsBuilder(image)
        self.range: VergenceRange | None = None
        self.age = 0.0  # s, of the last image when it came
        self.image_at = time.monotonic()  # s, when it came
        self.commands = self.create_publisher(FocusCommand, topics['focus_command'], qos.COMMAND)
        kind = CompressedImage if compressed else Image
        self.create_subscription(kind, image, self._on_image, qos.SENSOR_SUBSCRIBER)
        self.create_subscription(LensStateMessage, topics['lens_state'], self._on_lens_state, qos.LENS_STATE_SUBSCRIBER)
        self.image_topic = self.resolve_topic_name(image)
        self.lens_state_topic = self.resolve_topic_name(topics['lens_state'])
        self._command_id = 0

    @property
    def now(self) -> float:
        return self.get_clock().now().nanoseconds / NANOSECONDS

    def send(self, distance: float) -> float:
        """Commands a focus distance (m); gives when (s)."""
        self._command_id += 1
        at = self.get_clock().now()
        command = FocusCommand(focus_distance=distance, command_id=self._command_id)
        command.header.stamp = at.to_msg()
        self.commands.publish(command)
        return at.nanoseconds / NANOSECONDS

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = nanoseconds(message.header.stamp) / NANOSECONDS
        self.age, self.image_at = self.now - stamp, time.monotonic()
        self.builder.add_frame(stamp, image_messages.to_rgb(message, self.image_topic))

    def _on_lens_state(self, message: LensStateMessage) -> None:
        state = messages.from_message(message, self.lens_state_topic)
        self.builder.add_label(state.stamp, vergence(state.focus_distance))
        self._command_id = max(self._command_id, message.command_id)
        self.range = state.range or self.range


def record_focus_steps(
    topics: dict[str, str], count: int, pause: float = 0.0, *, compressed: bool = False, check: Callable[[], object]
) -> FocusSteps:
    """The frames of a camera while it steps its focus.

    Args:
        topics: names of image_raw, lens_state and focus_command.
        pause: s between two steps; 0 = by the rate of the camera.
        check: called again and again, may raise.

    Raises:
        InputError: no images or lens states, or no more of them, two clocks, another node that commands the focus or
            publishes lens states.
    """

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if left <= 4 * POLL:
                time.sleep(left)
                continue
            check()
            require_no_rivals(node, node.commands, node.lens_state_topic)
            if node.builder.frames and time.monotonic() - node.image_at > SILENCE:
                raise InputError(f'nothing more on {node.image_topic} for {SILENCE:g} s: has the camera ended?')

    with spinning(lambda: FocusStepper(topics, compressed)) as node:
        began = time.monotonic()
        while node.builder.frames < WARM_UP or node.range is None:
            wait(5 * POLL)
            if time.monotonic() - began > PATIENCE:
                if node.builder.frames < WARM_UP:
                    raise InputError(f'nothing on {node.image_topic} within {PATIENCE:g} s: is the camera running?')
                raise InputError(
                    f'{node.lens_state_topic} does not say what the lens can focus: is the focus bridge or the camera '
                    'node running, and does its driver answer?'
                )
        if not -FUTURE <= node.age <= OLDEST:
            raise InputError(
                f'{node.image_topic} is stamped {abs(node.age):.3g} s {"before" if node.age > 0 else "after"} its '
                'arrival: the clocks of the camera and of this machine differ; synchronise them'
            )
        first = node.builder.frames
        began = time.monotonic()
        wait(1.0)
        period = (time.monotonic() - began) / max(node.builder.frames - first, 1)
        take_steps(node.builder, node.send, wait, node.range, count, pause or default_pause(period), period)
        return node.builder.steps()
