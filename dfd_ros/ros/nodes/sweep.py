"""Sweep node: moves the focus through its range, each step when the one before has been seen, or without waiting."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator

from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from std_msgs.msg import Float32
from std_srvs.srv import SetBool

from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import FocusRange as FocusRangeMessage
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import messages, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.diagnostics import WARN, Report
from dfd_ros.ros.guarded_node import STARTS_WITHIN
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.node_parameters import SweepParameters
from dfd_ros.ros.node_runner import run

WATCH_PERIOD = 0.05  # s, how often the time since the last command is looked at
NOTHING_AFTER = 3.0  # s without a lens state
SHOWN_FOR = 5.0  # s that diagnostics show a focus that rested elsewhere
PATIENCE = 30  # frames in which a lens may answer, where they take longer than the parameter timeout
WAITS_FOR = 20.0  # s that a pipelined sweep waits for the lens where it found no settled frame
FEW_STEPS = 4  # at most an eighth of the range may an answer be off
FOLLOWS_FOR = 5.0  # s that a focus_range counts
STEADY = 0.02  # of the range in vergence: a held focus does not follow depth that trembles
MAX_ID = 2**32 - 1


class PatternTrial:
    """Tries a ramp and a ping_pong, and keeps the one of which more frames are settled.

    Whether the jump of a ramp costs frames depends on how fast the lens is, which nobody knows beforehand.
    """

    # The lens starts anywhere, and answers come late: the cycles between the two that count do not.
    TRIED = ('ramp', 'ramp', 'ping_pong', 'ping_pong')
    COUNTED = {1: 'ramp', 3: 'ping_pong'}
    WORTH = 1.05  # times as many, to give up the ramp

    def __init__(self) -> None:
        self._cycle = -1
        self._frames: dict[str, list[bool]] = {name: [] for name in self.COUNTED.values()}

    def add(self, settled: bool) -> None:
        """A frame."""
        if name := self.COUNTED.get(self._cycle):
            self._frames[name].append(settled)

    def begin_cycle(self) -> str:
        """The pattern of the cycle that begins."""
        self._cycle += 1
        return self.TRIED[self._cycle] if self._cycle < len(self.TRIED) else self.best

    @property
    def best(self) -> str:
        ramp, ping_pong = (sum(frames) / max(len(frames), 1) for frames in self._frames.values())
        return 'ping_pong' if ping_pong > self.WORTH * ramp else 'ramp'


def focus_distances(
    parameters: SweepParameters,
    range_: VergenceRange,
    trial: PatternTrial | None = None,
    focus_on: Callable[[], float] | None = None,
) -> Iterator[float]:
    """The focus distances (m) to command, without end.

    trial: of the pattern auto. focus_on: gives the distance to hold the focus on, 0 = none; by default that of the
    parameters.
    """
    focus_on = focus_on or (lambda: parameters.focus_on)
    for distance in _swept_distances(parameters, range_, trial or PatternTrial()):
        yield distance
        for _ in range(parameters.hold_steps):
            if held := focus_on():
                yield held


def _swept_distances(parameters: SweepParameters, range_: VergenceRange, trial: PatternTrial) -> Iterator[float]:
    """The pattern, cycle after cycle."""
    steps, near_to_far = parameters.steps, parameters.near_to_far
    for cycle in itertools.count():
        pattern = trial.begin_cycle() if parameters.pattern == 'auto' else parameters.pattern
        if pattern == 'ping_pong':
            # Without its last, which is the first of the next cycle.
            yield from sweeps.ping_pong(range_, steps, near_to_far=near_to_far)[:-1]
        elif pattern == 'jumps':
            yield from sweeps.jumps(range_, steps, seed=parameters.seed + cycle)
        elif pattern == 'uneven':
            yield from sweeps.uneven(range_, steps, near_to_far=near_to_far, seed=parameters.seed + cycle)
        else:
            yield from sweeps.ramp(range_, steps, near_to_far=near_to_far)


class SweepNode(ManagedNode):
    """Closes the loop: ``focus_command`` out; on to the next when ``lens_state`` shows a settled answer."""

    def __init__(self, **options) -> None:
        super().__init__('sweep', **options)
        self._lens: LensState | None = None  # the last one received
        self._frame_id = ''
        self._range: VergenceRange | None = None  # the limits; None: the sweep starts with the next lens state
        self._swept: VergenceRange | None = None  # all of it, or the part that focus_range asks for
        self._wanted = (math.nan, math.nan)  # m, near and far of the last focus_range
        self._wanted_until = -math.inf
        self._distances: Iterator[float] = iter(())
        self._command: FocusCommand | None = None
        self._last_id = 0  # of all commands sent or answered
        self._problem = ''  # with the last lens state
        self._frames = 0  # settled frames that have answered the command; pipelined: frames since it
        self._trial = PatternTrial()
        self._settled_at = self._waits_until = self._state_at = -math.inf
        self._since_settled = self._since_sent = 0  # frames
        self._sent_at = self._silent_from = math.inf
        self._elsewhere_at = -math.inf
        self._commands = self._resent = self._elsewhere = 0
        self._settings = BoundParameters(self, SweepParameters, on_change=self._on_change, check=self._check)
        self._focus_on = self._settings.values.focus_on  # m, 0: sweep only
        self._held = 0.0  # m, where the focus was held last

    def configure(self) -> None:
        self._publisher = self.create_publisher(
            FocusCommand, 'focus_command', qos.COMMAND, qos_overriding_options=qos.overridable()
        )
        self._topic = self.resolve_topic_name('lens_state')
        self.create_service(SetBool, '~/enable', self._on_enable)

    def activate(self) -> None:
        self._lens = self._range = self._command = None
        self._wanted_until = -math.inf
        self._silent_from = time.monotonic() + STARTS_WITHIN  # without a lens state until then
        self.create_subscription(
            LensStateMessage,
            'lens_state',
            self._on_lens_state,
            qos.LENS_STATE_SUBSCRIBER,
            qos_overriding_options=qos.overridable(),
        )
        self.create_subscription(
            Float32, 'focus_on', self._on_focus_on, qos.COMMAND, qos_overriding_options=qos.overridable()
        )
        self.create_subscription(
            FocusRangeMessage,
            'focus_range',
            self._on_focus_range,
            qos.COMMAND,
            qos_overriding_options=qos.overridable(),
        )
        # Simulated time may stand still.
        self.create_timer(WATCH_PERIOD, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _check(self, values: SweepParameters) -> None:
        """Raises InputError where the lens cannot do what `values` want."""
        if self._lens is not None:
            self._choose_range(values, self._lens)

    def _on_change(self, values: SweepParameters) -> None:
        self._focus_on, self._held = values.focus_on, 0.0
        self._range = self._command = None
        self._waits_until = -math.inf
        self._silent_from = time.monotonic() + NOTHING_AFTER

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        (result,) = self.set_parameters([Parameter('enabled', value=request.data)])
        response.success = result.successful
        response.message = result.reason or ('sweeping' if request.data else 'stopped; the focus stays as it is')
        return response

    def _on_focus_on(self, message: Float32) -> None:
        if message.data < 0:
            self._warn(
                f'{self.resolve_topic_name("focus_on")}: {message.data:.3g} m is no distance: give one above 0, or 0 '
                'to sweep only'
            )
        self._focus_on = message.data if message.data > 0 else 0.0  # NaN: 0

    def _on_focus_range(self, message: FocusRangeMessage) -> None:
        near, far = message.near_distance, message.far_distance
        if not 0 < near < far:
            self._warn(
                f'{self.resolve_topic_name("focus_range")}: near_distance {near:.3g} m and far_distance {far:.3g} m '
                'are no range: near has to be above 0 and less than far'
            )
            return
        self._wanted, self._wanted_until = (near, far), time.monotonic() + FOLLOWS_FOR

    def _part(self, limits: VergenceRange) -> VergenceRange:
        """What of the limits is swept."""
        if time.monotonic() > self._wanted_until:
            return limits
        near, far = max(self._wanted[0], limits.near), min(self._wanted[1], limits.far)
        if near < far and VergenceRange(near, far).width > STEADY * limits.width:
            return VergenceRange(near, far)
        self._warn(
            f'{self.resolve_topic_name("focus_range")}: {self._wanted[0]:.3g} to {self._wanted[1]:.3g} m is outside of '
            f'{limits.near:.3g} to {limits.far:.3g} m: everything is swept'
        )
        return limits

    def _hold(self) -> float:
        """The distance (m) to hold the focus on, in the range; 0: none."""
        assert self._range is not None
        near, far = self._range.near, self._range.far
        wanted = min(max(self._focus_on, near), far) if self._focus_on else 0.0
        if wanted and self._apart(wanted, self._focus_on) > STEADY:
            self._warn(
                f'{self.resolve_topic_name("focus_on")}: {self._focus_on:.3g} m is outside of {near:.3g} to {far:.3g} '
                'm, which are swept: the focus is held at the nearer end'
            )
        if not (wanted and self._held and self._apart(wanted, self._held) <= STEADY):
            self._held = wanted
        return self._held

    def _apart(self, one: float, other: float) -> float:
        """Of two distances (m), in vergence, as a share of the range."""
        assert self._range is not None
        return abs(self._range.normalise(one) - self._range.normalise(other))

    def _on_lens_state(self, message: LensStateMessage) -> None:
        self._state_at = time.monotonic()
        self._silent_from = self._state_at + NOTHING_AFTER
        self._since_sent += 1
        self._since_settled = 0 if message.settled else self._since_settled + 1
        try:
            state = messages.from_message(message, self._topic)
            self._lens, self._frame_id = state, message.header.frame_id
            if not self._settings.values.enabled:
                return
            range_ = self._choose_range(self._settings.values, state)
        except InputError as error:
            self._problem = str(error)
            # A focus bridge does not know the limits before its driver has answered.
            if message.settled or not self.is_starting:
                self._warn(self._problem)
            return
        self._problem = ''
        if self._range is not None and self._is_other(range_, self._range):
            self._warn(
                f'{self._topic}: the lens now covers {range_.near:.3g} to {range_.far:.3g} m, not '
                f'{self._range.near:.3g} to {self._range.far:.3g} m; the sweep starts again'
            )
            self._range = None
        if self._range is None or self._command is None:
            self._range = range_
            self._trial = PatternTrial()
            self._settled_at, self._since_settled = time.monotonic(), 0
            self._begin_sweep(self._part(range_))
            # Counting on from the last command: the answer to an earlier one, even to one on its way, cannot pass for
            # that to ours.
            self._last_id = max(self._last_id, message.command_id)
            self._next()
            return
        if (part := self._part(self._range)) != self._swept:
            self._begin_sweep(part)  # with the next command
        self._trial.add(message.settled)
        if message.settled:
            self._settled_at = time.monotonic()
        if self._is_pipelined or self._answers(message, state, self._command, self._range):
            self._frames += 1
            if self._frames >= self._settings.values.frames_per_step:
                self._next()

    def _begin_sweep(self, part: VergenceRange) -> None:
        self._swept = part
        self._distances = focus_distances(self._settings.values, part, self._trial, self._hold)

    @property
    def _is_pipelined(self) -> bool:
        return self._settings.values.pipelined and time.monotonic() >= self._waits_until

    def _choose_range(self, values: SweepParameters, state: LensState) -> VergenceRange:
        """What is swept: the parameters' limits, else the lens's. Raises InputError where they contradict."""
        near, far = values.near or state.near, values.far or state.far
        if math.isnan(near) or math.isnan(far):
            if self._range is not None:  # known before
                return self._range
            log = '' if state.settled else 'see the log of the camera or its focus bridge, or '
            raise InputError(
                f'{self._topic} does not say what the lens can focus: {log}set the parameters near and far'
            )
        if not near < far:
            raise InputError(
                f'parameters near and far: with the limits of the lens, near is {near:.4g} m and far {far:.4g} m; '
                'set both'
            )
        if values.focus_on and not near <= values.focus_on <= far:
            raise InputError(f'parameter focus_on: {values.focus_on:.4g} m is outside of {near:.4g} to {far:.4g} m')
        return VergenceRange(near, far)

    def _is_other(self, range_: VergenceRange, than: VergenceRange) -> bool:
        near, far = than.normalise(range_.near), than.normalise(range_.far)
        return max(abs(near - 1), abs(far)) > self._settings.values.tolerance

    def _answers(
        self, message: LensStateMessage, state: LensState, command: FocusCommand, range_: VergenceRange
    ) -> bool:
        """Whether this frame was exposed with the focus at rest where the command wants it."""
        if not message.settled:
            return False
        values = self._settings.values
        wanted, got = (range_.normalise(d) for d in (command.focus_distance, state.focus_distance))
        off = abs(wanted - got)
        if not message.command_id:  # a camera driver that does not number its answers: go by where its focus is
            return off <= values.tolerance
        if message.command_id != command.command_id:
            return False
        # A lens may round to steps of its own, but not to another position of the sweep.
        spacing = (self._swept or range_).width / range_.width / max(values.steps - 1, FEW_STEPS)
        if off > max(values.tolerance, 0.5 * spacing):
            self._elsewhere += 1
            self._elsewhere_at = time.monotonic()
            self._warn(
                f'{self._topic}: the answer to command {command.command_id} '
                f'({command.focus_distance:.3g} m) rests at {state.focus_distance:.3g} m: beyond the limits of the '
                'lens, or its motor is stuck'
            )
        return True

    def _next(self) -> None:
        self._last_id = self._last_id % MAX_ID + 1
        command = FocusCommand(focus_distance=next(self._distances), command_id=self._last_id)
        self._command = command
        self._frames = 0
        self._commands += 1
        self._send(command)

    def _send(self, command: FocusCommand) -> None:
        command.header.stamp = self.get_clock().now().to_msg()
        command.header.frame_id = self._frame_id
        self._publisher.publish(command)
        self._sent_at, self._since_sent = time.monotonic(), 0

    def _is_late(self, since: float, frames: int) -> bool:
        """Whether the lens has had `timeout` s `since` then, and enough `frames`, while they come."""
        timeout, now = self._settings.values.timeout, time.monotonic()
        return now - since > timeout and (frames >= PATIENCE or now - self._state_at > timeout)

    def _watch(self) -> None:
        values, now = self._settings.values, time.monotonic()
        if not values.enabled:
            return
        if now > self._silent_from:
            self._warn(f'nothing on {self._topic}: is the camera running?')
        if self._command is not None and self._is_pipelined and self._is_late(self._settled_at, self._since_settled):
            self._waits_until = now + WAITS_FOR
            self._settled_at, self._since_settled = now, 0
            self._warn(
                f'{self._topic}: pipelined, and no settled frame within {values.timeout:g} s; the sweep waits for the '
                f'lens for {WAITS_FOR:g} s: measure it with dfd calibrate latency, or raise frames_per_step, steps or '
                'max_travel'
            )
        if self._command is not None and self._is_late(self._sent_at, self._since_sent):
            self._warn(
                f'{self._publisher.topic_name}: no settled frame for command '
                f'{self._command.command_id} ({self._command.focus_distance:.3g} m) within '
                f'{values.timeout:g} s; sending it again'
            )
            self._resent += 1
            self._send(self._command)

    def report(self) -> Report:
        values, now = self._settings.values, time.monotonic()
        figures: dict[str, float | int | str] = {
            'pattern': f'auto: {self._trial.best}' if values.pattern == 'auto' else values.pattern,
            'commands': self._commands,
            'sent again': self._resent,
            'answered elsewhere': self._elsewhere,
        }
        if not values.enabled:
            return Report(message='stopped', values=figures)
        if self._problem:
            return Report(WARN, self._problem, figures)
        if self._command is None:
            return Report(WARN, f'waiting for {self._topic}', figures)
        figures['focus distance (m)'] = self._command.focus_distance
        figures['focus on (m)'] = self._focus_on
        if self._swept is not None:
            figures['swept (m)'] = f'{self._swept.near:.3g} to {self._swept.far:.3g}'
        if self._is_late(self._sent_at, self._since_sent):
            return Report(WARN, 'the camera does not answer', figures)
        if now - self._elsewhere_at < SHOWN_FOR:
            return Report(WARN, 'the focus rests elsewhere than commanded', figures)
        if values.pipelined and not self._is_pipelined:
            return Report(WARN, 'no frame settles while the sweep is pipelined; it waits for the lens', figures)
        return Report(message='sweeping', values=figures)


def main(arguments: list[str] | None = None) -> int:
    return run(SweepNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
