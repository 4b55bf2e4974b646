"""Sweep node: moves the focus through its range, each step when the one before has been seen."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator

from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import messages, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.diagnostics import WARN, Diagnostics, Report
from dfd_ros.ros.node_parameters import SweepParameters
from dfd_ros.ros.node_runner import run
from dfd_ros.ros.throttled_warnings import ThrottledWarnings

WATCH_PERIOD = 0.05  # s, how often the time since the last command is looked at
NOTHING_AFTER = 3.0  # s without a lens state
MAX_ID = 2**32 - 1


def focus_distances(parameters: SweepParameters, range_: VergenceRange) -> Iterator[float]:
    """The focus distances (m) of the pattern, cycle after cycle without end."""
    steps, near_to_far = parameters.steps, parameters.near_to_far
    for cycle in itertools.count():
        if parameters.pattern == 'ping_pong':
            # Without its last, which is the first of the next cycle.
            yield from sweeps.ping_pong(range_, steps, near_to_far=near_to_far)[:-1]
        elif parameters.pattern == 'jumps':
            yield from sweeps.jumps(range_, steps, seed=parameters.seed + cycle)
        elif parameters.pattern == 'uneven':
            yield from sweeps.uneven(range_, steps, near_to_far=near_to_far, seed=parameters.seed + cycle)
        else:
            yield from sweeps.ramp(range_, steps, near_to_far=near_to_far)


class SweepNode(Node):
    """Closes the loop: ``focus_command`` out; on to the next when ``lens_state`` shows a settled answer."""

    def __init__(self, **options) -> None:
        super().__init__('sweep', **options)
        self._warn = ThrottledWarnings(self)
        self._range: VergenceRange | None = None  # None: to begin anew with the next lens state
        self._distances: Iterator[float] = iter(())
        self._command: FocusCommand | None = None
        self._frames = 0  # settled frames that have answered the command
        self._sent_at = self._seen_at = time.monotonic()
        self._commands = self._resent = 0
        self._settings = BoundParameters(self, SweepParameters, on_change=self._on_change)

        overridable = qos.overridable()
        self._publisher = self.create_publisher(
            FocusCommand, 'focus_command', qos.COMMAND, qos_overriding_options=overridable
        )
        self._subscription = self.create_subscription(
            LensStateMessage,
            'lens_state',
            self._on_lens_state,
            qos.LENS_STATE_SUBSCRIBER,
            qos_overriding_options=overridable,
        )
        self.create_service(SetBool, '~/enable', self._on_enable)
        self.create_timer(WATCH_PERIOD, self._watch)
        Diagnostics(self, self._report)

    def _on_change(self, _: SweepParameters) -> None:
        self._range = self._command = None
        self._seen_at = time.monotonic()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (result,) = self.set_parameters([Parameter('enabled', value=request.data)])
        response.success = result.successful
        response.message = result.reason or ('sweeping' if request.data else 'stopped; the focus stays as it is')
        return response

    def _on_lens_state(self, message: LensStateMessage) -> None:
        self._seen_at = time.monotonic()
        if not self._settings.values.enabled:
            return
        try:
            state = messages.from_message(message, self._subscription.topic_name)
            if self._range is None:
                self._range = self._choose_range(state)
                self._distances = focus_distances(self._settings.values, self._range)
                # Counting on from the camera's last command: one of an earlier sweep cannot pass for ours.
                self._next(message.command_id)
                return
        except InputError as error:
            self._warn(str(error))
            return
        if self._answers(message, state):
            self._frames += 1
            if self._frames >= self._settings.values.frames_per_step:
                self._next(self._command.command_id)

    def _choose_range(self, state: LensState) -> VergenceRange:
        values = self._settings.values
        near, far = values.near or state.near, values.far or state.far
        if math.isnan(near) or math.isnan(far):
            raise InputError(
                f'{self._subscription.topic_name} does not say what the lens can focus: set the parameters near and far'
            )
        if not near < far:
            raise InputError(
                f'parameters near and far: near is {near} m and far {far} m with the limits of the lens; set both'
            )
        return VergenceRange(near, far)

    def _answers(self, message: LensStateMessage, state: LensState) -> bool:
        """Whether this frame was exposed with the focus at rest where the command wants it."""
        if not message.settled:
            return False
        if message.command_id:
            return message.command_id == self._command.command_id
        # A camera driver that does not number its answers: go by where its focus is.
        wanted, got = (self._range.normalise(d) for d in (self._command.focus_distance, state.focus_distance))
        return abs(wanted - got) <= self._settings.values.tolerance

    def _next(self, last_id: int) -> None:
        self._command = FocusCommand(focus_distance=next(self._distances), command_id=last_id % MAX_ID + 1)
        self._frames = 0
        self._commands += 1
        self._send()

    def _send(self) -> None:
        self._command.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(self._command)
        self._sent_at = time.monotonic()

    def _watch(self) -> None:
        values, now = self._settings.values, time.monotonic()
        if not values.enabled:
            return
        if now - self._seen_at > NOTHING_AFTER:
            self._warn(f'nothing on {self._subscription.topic_name}: is the camera running?')
        if self._command is not None and now - self._sent_at > values.timeout:
            self._warn(
                f'{self._publisher.topic_name}: no settled frame for command '
                f'{self._command.command_id} ({self._command.focus_distance:.3g} m) within '
                f'{values.timeout:g} s; sending it again'
            )
            self._resent += 1
            self._send()

    def _report(self) -> Report:
        values = self._settings.values
        figures = {'pattern': values.pattern, 'commands': self._commands, 'sent again': self._resent}
        if not values.enabled:
            return Report(message='stopped', values=figures)
        if self._command is None:
            return Report(WARN, f'waiting for {self._subscription.topic_name}', figures)
        figures['focus distance (m)'] = self._command.focus_distance
        if time.monotonic() - self._sent_at > values.timeout:
            return Report(WARN, 'the camera does not answer', figures)
        return Report(message='sweeping', values=figures)


def main(arguments: list[str] | None = None) -> int:
    return run(SweepNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
