"""Focus bridge: makes a camera driver that knows nothing of this package obey ``focus_command``, and says where its
lens is."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import ParameterEvent
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, qos_profile_parameter_events
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Empty, Header

from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.cameras.driver_file import Motion, read_driver
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.cameras.lens_motion import WAY_ROUND, Position
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.core.v4l2_controls import DeviceLost
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import messages, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.diagnostics import WARN, Report, Window
from dfd_ros.ros.drivers.conversation import Conversation, NoAnswer, Steps
from dfd_ros.ros.drivers.focus_scale import FocusScale, Limits
from dfd_ros.ros.drivers.frame_rate import SILENCE, FrameRate
from dfd_ros.ros.drivers.interfaces import find_interface, find_key, get_number, number_limits
from dfd_ros.ros.drivers.lens_tracker import Goal, LensTracker, PositionUnknown
from dfd_ros.ros.drivers.links import Changed, ParameterLink, identity, make_link
from dfd_ros.ros.drivers.position_reports import PositionReports
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.node_parameters import FocusBridgeParameters
from dfd_ros.ros.node_runner import run
from dfd_ros.ros.synchronisation import NANOSECONDS, nanoseconds
from dfd_ros.ros.throttled_warnings import log_text

WATCH_PERIOD = 0.1  # s
GRAPH_PERIOD = 0.5  # s between two looks at who is there
RETRY = 1.0  # s after a failure
PATIENCE, PATIENCE_FRAMES = 1.0, 20  # s, and frames, that a lens may take to reach the position commanded
# rclpy spends most of the bridge's time on what it waits for, and each topic brings two events more.
NO_PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
NO_SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)
QUARREL = 5  # changes by somebody else within 10 s
WAITING, SETTING_UP, READY, FAILED = 'waiting for the driver', 'setting up', 'ready', 'failed'


@dataclass(frozen=True)
class _Frame:
    header: Header
    width: int
    stamp: float  # s
    arrival: float
    came: float
    """s, by the clock that never stands still."""
    is_even: bool
    """Whether it and those before it came at the rate of the camera: else nobody knows when the lens moved."""


class FocusBridgeNode(ManagedNode):
    """Turns ``focus_command`` into what a driver understands, and publishes a ``lens_state`` for each ``camera_info``.

    Images are not touched. Whatever is not known to be right is published as not settled, with the reason in the log.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('focus_bridge', **options)
        self._settings = BoundParameters(self, FocusBridgeParameters)
        self.diagnostics.hardware_id = self._settings.values.driver

    # The life cycle.

    def configure(self) -> None:
        values = self._settings.values
        driver = read_driver(values.driver, node=values.driver_node, device=values.video_device)
        calibration = Calibration.read(values.calibration) if values.calibration else Calibration()
        self._measured = calibration.motion
        is_measured = self._measured is not None
        if driver.has_stamped_reports:
            latency = self._measured.report_latency_frames if self._measured is not None else None
            if is_measured := latency is not None:
                report = replace(driver.report, latency_frames=latency, latency_s=0.0)
                driver = replace(driver, report=report, margin_frames=0.0)
        self._driver = driver
        if driver.margin_frames and not is_measured:
            what = 'the latency of its reports' if driver.has_stamped_reports else 'its latency'
            self.get_logger().warning(
                f'{values.driver}: {what} is not measured, so frames settle {driver.margin_frames:g} frames later than '
                f'they could, and none while the lens moves; dfd calibrate latency --driver {values.driver} measures '
                'it, for calibration:=calibration.yaml'
            )
        self._aperture = calibration.aperture
        self._table = FocusTable.found(values.focus_table, calibration)
        # Measured values say more than the unit that the driver claims.
        self._unit = 'table' if self._table else self._driver.command.unit
        if self._unit == 'table' and self._table is None:
            raise InputError(
                f'parameter focus_table: the driver {values.driver} sets the focus by numbers without a unit, so '
                'focus_table or calibration has to say which focus distances they stand for'
            )
        if self._driver.report.unit == 'table' and self._table is None:
            raise InputError(
                f'parameter focus_table: the driver {values.driver} reports numbers without a unit, so focus_table or '
                'calibration has to say which focus distances they stand for'
            )
        self._publisher = self.create_publisher(
            LensStateMessage, 'lens_state', qos.PUBLISHER, qos_overriding_options=qos.overridable()
        )

    def activate(self) -> None:
        self._phase = WAITING
        self._problem = ''
        self._scale: FocusScale | None = None
        self._reporter: str | None = None  # the hardware that the reports are of
        self._mixed_at = -math.inf  # s, when they were last of another
        self._wanted: Goal | None = None
        self._conversation: Conversation | None = None
        self._retry_at = self._send_at = self._graph_at = self._read_at = -math.inf
        self._sent: deque[float] = deque(maxlen=16)  # values whose parameter events are still to come
        self._rivals: list[str] = []
        self._changes = Window(10.0)
        self._frames: deque[_Frame] = deque()  # without their lens state
        self._rate = FrameRate()
        self._frame_since_sent = True
        self._info_at = self._report_at = time.monotonic()
        self._last_distance = math.nan
        self._settled = Window(5.0)
        self._commands = self._refused = self._reasserted = self._reached_id = 0
        self._link = make_link(self, self._driver)
        # A topic that nobody listens to: who publishes it drives this lens.
        claim = ''.join(c if c.isalnum() else '_' for c in identity(self._driver, self._link))
        self._claim = self.create_publisher(
            Empty, f'/_focus_bridge/d{claim}', QoSProfile(depth=1), event_callbacks=NO_PUBLISHER_EVENTS
        )
        overridable = {'qos_overriding_options': qos.overridable()}
        self.create_subscription(FocusCommand, 'focus_command', self._on_command, qos.COMMAND, **overridable)
        self.create_subscription(CameraInfo, 'camera_info', self._on_camera_info, qos.SENSOR_SUBSCRIBER, **overridable)
        self._info_topic = self.resolve_topic_name('camera_info')
        self._report_topics = self._subscribe_to_reports()
        topics = self._report_topics, self._info_topic
        self._tracker = LensTracker(self._driver.report, topics, self._rate, self._driver.margin_frames)
        if isinstance(self._link, ParameterLink):
            events = qos_profile_parameter_events
            self.create_subscription(
                ParameterEvent,
                '/parameter_events',
                self._on_parameter_event,
                events,
                event_callbacks=NO_SUBSCRIPTION_EVENTS,
            )
        # Simulated time may stand still.
        self.create_timer(WATCH_PERIOD, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _subscribe_to_reports(self) -> str:
        report = self._driver.report
        if report.kind != 'topic':
            return ''
        kind = find_interface(report.type, 'msg')
        if report.stamp == 'header' and not hasattr(kind, 'header'):
            raise InputError(f'{report.type} has no header: give report: stamp: arrival in the driver file')
        if not report.key:
            number_limits(kind(), report.field, report.type)
        names = [self.resolve_topic_name(self._driver.resolve(name.strip())) for name in report.topic.split('|')]
        for name in names:
            self.create_subscription(
                kind, name, self._on_report, qos.LENS_STATE_SUBSCRIBER, event_callbacks=NO_SUBSCRIPTION_EVENTS
            )
        return ' or '.join(names)

    def _rest(self) -> None:
        self._forsake()
        if link := vars(self).pop('_link', None):
            link.close()
        super()._rest()

    # What comes in.

    def _on_command(self, command: FocusCommand) -> None:
        if self._scale is None:
            self._warn(f'{self._phase}: {self._problem or "no focus command can be obeyed yet"}')
            return
        self._wanted = Goal(self._scale.value(command.focus_distance), command.command_id)
        self._commands += 1
        self._advance()

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._info_at = time.monotonic()
        stamp = nanoseconds(info.header.stamp) / NANOSECONDS
        was_known, now = self._rate.is_known, self._now()
        self._rate.add(stamp, now)
        if self._rate.is_known and not was_known:
            self._tracker.count_anew(now)
        self._frame_since_sent = True
        self._frames.append(_Frame(info.header, info.width, stamp, now, self._info_at, self._rate.is_even))
        self._publish_lens_states()
        self._advance()

    def _on_report(self, message: Any) -> None:
        report = self._driver.report
        if report.key:
            text, hardware = find_key(message, report.key)
            if text is None:  # of another node
                return
            if hardware != self._reporter:
                if self._reporter is not None:
                    self._tracker.reports = PositionReports()
                    self._mixed_at = time.monotonic()
                    self._warn(
                        f'{self._report_topics}: {report.key} comes from {quoted(self._reporter)} and '
                        f'{quoted(hardware)}: give the metadata of each camera a topic of its own'
                    )
                self._reporter = hardware
            try:
                value = float(text)
            except ValueError:
                raise InputError(f'{self._report_topics}: {report.key} is {quoted(text)}, not a number') from None
        else:
            value = get_number(message, report.field)
        if not math.isfinite(value):
            return
        self._report_at = time.monotonic()
        stamped = report.stamp == 'header'
        self._tracker.reports.add(nanoseconds(message.header.stamp) / NANOSECONDS if stamped else self._now(), value)
        self._publish_lens_states()

    def _on_parameter_event(self, event: ParameterEvent) -> None:
        if event.node != self._driver.node.rstrip('/') or self._phase in (WAITING, FAILED):
            return
        if any(parameter.name == self._link.focus_parameter for parameter in event.new_parameters):
            if self._phase == READY:
                self._start_again(f'{event.node} has started again')
            return
        for parameter in event.changed_parameters:
            name, value = parameter.name, parameter_value_to_python(parameter.value)
            is_theirs = self._phase == READY and name == self._link.focus_parameter and not self._is_ours(value)
            if is_theirs or value != self._link.watched.get(name, value):
                self._on_change(f'{name} of {event.node}', value)

    def _is_ours(self, value: Any) -> bool:
        """Whether an event of the focus is of what the bridge has sent. Events come in the order of the sets; refused
        ones have none."""
        assert self._scale is not None
        if not isinstance(value, int | float):
            return False
        for skipped, sent in enumerate(self._sent):
            if abs(value - sent) <= self._scale.tolerance:
                for _ in range(skipped + 1):
                    self._sent.popleft()
                return True
        accepted = self._tracker.accepted
        return accepted is not None and abs(value - accepted.value) <= self._scale.tolerance

    def _on_change(self, name: str, value: Any = None) -> None:
        """Somebody else has set something of the driver: it is set again, less eagerly if that continues."""
        self._changes.add()
        self._reasserted += 1
        again = 'set again' if self._changes.total < QUARREL else f'set again, for the {QUARREL}th time or more in 10 s'
        to_value = '' if value is None else f' to {value}'
        self._fail(f'{name} was changed{to_value} by somebody else; it is {again}', self._changes.total >= QUARREL)

    # What is done to the driver.

    def _watch(self) -> None:
        if self._conversation is not None:
            self._conversation.check()
        if time.monotonic() >= self._graph_at:
            self._graph_at = time.monotonic() + GRAPH_PERIOD
            self._look_around()
        if self._phase == READY:
            self._check_reports()
        self._publish_lens_states()
        self._advance()

    def _look_around(self) -> None:
        missing = self._link.missing
        if missing and self._phase != WAITING:
            self._start_again(missing)
        elif missing:
            self._problem = missing
            if not self.is_starting:
                self._warn(f'waiting for the driver: {missing}')
        claims = self.get_publishers_info_by_topic(self._claim.topic_name)
        rivals = []
        if len(claims) > 1:
            rivals = sorted(f'{claim.node_namespace.rstrip("/")}/{claim.node_name}' for claim in claims)
        if self._rivals and not rivals:
            self._start_again('the other bridge has gone')
        self._rivals = rivals
        if rivals:
            self._problem = f'{len(rivals)} bridges drive {self._link.target}: {", ".join(rivals)}; end all but one'
            self._warn(self._problem)
        if self._phase == READY and not self._driver.has_stamped_reports and (was := self._tracker.other_rate):
            self._warn(
                f'{self._info_topic} has {1 / self._rate.period:.3g} frames a second, and the latency was measured at '
                f'{was:.3g}: it counts as not measured; measure it at this rate'
            )
        silent = time.monotonic() - self._info_at
        if silent > SILENCE and not self.is_starting and self._phase != WAITING:
            self._warn(f"nothing on {self._info_topic}: is that the name of the driver's camera info?")

    def _check_reports(self) -> None:
        """Whether the driver says what it should, and does what it says."""
        report, goal = self._driver.report, self._tracker.accepted
        if report.kind != 'topic':
            return
        now = time.monotonic()
        if now - self._report_at > SILENCE > now - self._info_at:
            what = report.key or report.field
            self._problem = f'no {what} on {self._report_topics}: the position of the lens is not known'
            self._warn(self._problem + '; see docs/cameras.md for drivers that do not report it')
            return
        last = self._tracker.reports.last
        if goal is None or last is None or self._scale is None or self._is_recent(goal):
            return
        if self._tracker.must_be_obeyed and abs(last[1] - goal.value) > self._scale.tolerance:
            self._refused += 1
            self._tracker.refute()
            self._problem = f'the driver has accepted {self._link.target} = {goal.value:g}, and reports {last[1]:g}'
            self._warn(f'{self._problem}, or in another unit; it is set again')
        elif self._problem and self._tracker.is_obeyed:
            self._problem = ''

    def _is_recent(self, goal: Goal) -> bool:
        """Whether the lens may still be on its way to an accepted goal."""
        is_new = self._now() - goal.at < PATIENCE + self._tracker.latency
        return is_new or self._rate.arrived_since(goal.at) < PATIENCE_FRAMES

    def _advance(self) -> None:
        """The next conversation, if none is going on and one is due."""
        now = time.monotonic()
        if (self._conversation is not None and not self._conversation.over) or self._rivals:
            return
        if self._phase in (WAITING, FAILED):
            if now >= self._retry_at:
                self._retry_at = now + GRAPH_PERIOD
                if not self._link.missing:
                    self._phase = SETTING_UP
                    self._ask(self._link.set_up(), self._on_set_up, self._link.target)
            return
        wanted, accepted = self._wanted, self._tracker.accepted
        if not self._tracker.is_obeyed and accepted is not None and self._is_recent(accepted):
            return  # the first goal shows whether reports can be believed
        if wanted is not None and (accepted is None or wanted.value != accepted.value):
            # One for each frame: camera_ros drops a command that comes before the last has gone with a frame.
            if now >= self._retry_at and (self._frame_since_sent or now > self._send_at + 3 * self._rate.period):
                self._send_by_the_way_round(wanted, accepted)
        elif wanted is not None and accepted is not None and wanted.command_id != accepted.command_id:
            self._tracker.rename(wanted.command_id, self._now())
        elif self._driver.report.kind == 'read_back' and now >= self._read_at:
            self._read_at = now + self._driver.report.every_s
            self._ask(self._link.read_back(), self._on_read_back, self._link.target)

    def _ask(self, steps: Steps, done: Any, what: str) -> None:
        self._conversation = Conversation(steps, done, what)
        self._conversation.begin()

    def _send_by_the_way_round(self, wanted: Goal, accepted: Goal | None) -> None:
        """Sends where a motor with hysteresis has to come from, and the goal once it rests there."""
        assert self._scale is not None
        before = None if accepted is None else self._scale.way_round(accepted.value, wanted.value)
        if before is not None:
            self._send(Goal(before, WAY_ROUND))
            return
        if accepted is None or accepted.command_id != WAY_ROUND or self._tracker.rests(self._now()):
            self._send(wanted)

    def _send(self, goal: Goal) -> None:
        self._send_at, self._frame_since_sent = time.monotonic(), False
        self._tracker.sending = replace(goal, at=self._now())
        self._sent.append(goal.value)
        self._ask(self._link.send(goal.value), self._on_sent, f'{self._link.target} = {goal.value:g}')

    def _on_set_up(self, limits: Limits | None, error: Exception | None) -> None:
        if error is None:
            assert limits is not None
            command = self._driver.command
            try:
                self._scale = FocusScale(self._unit, limits.within(command.minimum, command.maximum), self._table)
            except InputError as problem:
                error = InputError(f'{self._link.target}: {problem}')
        if error is not None:
            self._on_error(error)
            return
        assert self._scale is not None
        report_scale, report_unit = self._scale, self._driver.report.unit or self._unit
        if report_unit != self._unit:
            report_scale = FocusScale(report_unit, _limits(report_unit, self._scale), self._table)
        motion = self._driver.motion
        if (measured := self._measured) is not None:
            slew = measured.slew_dioptre_s * (self._scale.maximum - self._scale.minimum) / self._scale.range.width
            latencies = {'latency_frames': measured.latency_frames, 'latency_s': measured.latency_s}
            rate = measured.rate_hz if measured.rate_hz > 0 else 0.0
            about = {'settle_s': measured.settle_s, 'uncertainty_s': measured.uncertainty_s, 'rate_hz': rate}
            motion = Motion(slew=slew, **latencies, **about)
        self._tracker.set_up(self._scale, report_scale, motion)
        if self._wanted is None:  # so that it is somewhere that is known
            self._wanted = Goal(self._scale.value(self._scale.range.far), 0)
        else:  # of before the driver was gone: its limits may have changed
            inside = min(max(self._wanted.value, self._scale.minimum), self._scale.maximum)
            self._wanted = Goal(inside, self._wanted.command_id)
        if self._phase != READY:
            near, far = self._scale.range.near, self._scale.range.far
            self.get_logger().info(f'{self._link.target}: manual focus, {near:.3g} to {far:.3g} m')
        self._phase, self._problem = READY, ''
        self._report_at = time.monotonic()
        self._advance()

    def _on_sent(self, taken: float | None, error: Exception | None) -> None:
        goal = self._tracker.sending
        if error is not None or goal is None:
            self._on_error(error or InputError('nothing was sent'))
            return
        assert self._scale is not None
        value = goal.value if taken is None else taken
        if abs(value - goal.value) > self._scale.rounding:
            self._fail(f'{self._link.target} is {value:g}, not the {goal.value:g} that was set', later=True)
            return
        self._tracker.accept(value, self._now())
        self._read_at = time.monotonic() + self._driver.report.every_s
        if self._driver.report.kind != 'topic':
            self._problem = ''
        self._advance()

    def _on_read_back(self, value: float | None, error: Exception | None) -> None:
        if isinstance(error, Changed):
            self._on_change(str(error))
        elif error is not None:
            self._on_error(error)
        elif (accepted := self._tracker.accepted) is not None and self._scale is not None:
            off = math.nan if value is None else abs(value - accepted.value)
            if not off <= self._scale.rounding:
                self._on_change(self._link.target, value)

    def _on_error(self, error: Exception) -> None:
        """A driver that refuses, does not answer, or has gone."""
        if isinstance(error, DeviceLost):
            self._start_again(str(error))
            self._link.close()
            return
        self._refused += 1
        self._fail(str(error) if isinstance(error, NoAnswer) else log_text(error), later=True)

    def _fail(self, problem: str, later: bool) -> None:
        """Sets up again, at once or `later`; until then nobody knows where the lens is."""
        self._forsake()
        self._phase, self._problem = FAILED, problem
        self._retry_at = time.monotonic() + (RETRY if later else 0.0)
        self._warn(problem)

    def _start_again(self, why: str) -> None:
        self._forsake()
        self._phase, self._problem = WAITING, why
        self._retry_at = -math.inf
        self._warn(f'{why}; the focus is set up again when the driver is there')

    def _forsake(self) -> None:
        if conversation := vars(self).get('_conversation'):
            conversation.drop()
            self._conversation = None
            self._tracker.forget()

    # What goes out.

    @property
    def _most_travel(self) -> float:
        """Values over which the lens may move in a frame that counts as settled."""
        span = self._scale.maximum - self._scale.minimum if self._scale else 0.0
        # The reports round.
        return 1.01 * self._settings.values.max_travel * span

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds / NANOSECONDS

    def _publish_lens_states(self) -> None:
        now, patience = self._now(), self._driver.report.wait_s
        while self._frames:
            frame = self._frames[0]
            waits = self._phase == READY and not self._rivals and self._tracker.expects_report(frame.stamp)
            # Simulated time may be slow, or stand still.
            is_new = time.monotonic() - frame.came < max(patience, SILENCE)
            if waits and is_new and 0 <= now - frame.arrival < patience:
                return
            self._frames.popleft()
            self._publish(frame, self._position(frame))

    def _position(self, frame: _Frame) -> Position | None:
        """The position of the lens during the exposure of a frame; None: unknown."""
        if self._phase != READY or self._rivals or time.monotonic() - self._mixed_at < SILENCE:
            return None
        try:
            if not self._rate.is_known:
                self._require_rising_stamps()
                return None
            return self._tracker.position(frame.stamp, frame.arrival)
        except PositionUnknown as unknown:
            self._problem = unknown.problem
            self._warn(str(unknown))
            return None

    def _require_rising_stamps(self) -> None:
        if math.isnan(jump := self._rate.jump):  # the first frames
            return
        way = f'{abs(jump):.3g} s {"before" if jump < 0 else "after"}'
        raise PositionUnknown(
            f'{self._info_topic}: a frame is stamped {way} the one before it',
            'the stamps of a camera have to rise, by less than 3 s from frame to frame',
        )

    def _publish(self, frame: _Frame, position: Position | None) -> None:
        follows = frame.is_even and position is not None and 0 < self._most_travel >= position.travel
        settled = position is not None and (position.rests or follows) and position.command_id != WAY_ROUND
        if position is not None and self._scale is not None:
            self._last_distance = self._scale.distance(position.value)
        range_ = self._scale.range if self._scale else None
        distance = self._last_distance
        if math.isnan(distance):  # not settled: any that the lens may have
            distance = range_.far if range_ else math.inf
        lens, magnification = Lens(), math.nan
        if self._aperture is not None and frame.width:
            lens = self._aperture.lens.scaled(frame.width / self._aperture.width)
            magnification = self._aperture.magnification(distance)
        state = LensState(
            distance,
            lens.focal_length,
            lens.f_number,
            lens.pixel_pitch,
            magnification,
            range_.near if range_ else math.nan,
            range_.far if range_ else math.nan,
            settled,
        )
        self._settled.add(float(settled))
        command_id = position.command_id if settled and position is not None else 0
        if settled:
            self._reached_id = command_id or self._reached_id
        self._publisher.publish(messages.to_message(state, frame.header, self._reached_id))

    def report(self) -> Report:
        values: dict[str, float | int | str] = {
            'driver': self._settings.values.driver,
            'state': self._phase,
            'rate (Hz)': self._settled.rate,
            'settled (%)': 100 * self._settled.mean,
            'focus distance (m)': self._last_distance,
            'commands': self._commands,
            'refused': self._refused,
            'set again': self._reasserted,
        }
        if self._problem or self._phase != READY:
            return Report(WARN, self._problem or self._phase, values)
        if not self._settled.values:
            return Report(WARN, f'nothing on {self._info_topic}', values)
        return Report(values=values)


def _limits(unit: str, scale: FocusScale) -> Limits:
    """Those of another scale of the same lens."""
    if unit == 'table':
        return Limits()
    near, far = scale.range.near, scale.range.far
    return Limits(1 / far, 1 / near) if unit == 'dioptre' else Limits(near, far)


def main(arguments: list[str] | None = None) -> int:
    return run(FocusBridgeNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
