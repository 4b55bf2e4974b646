"""Where the lens of a camera was in each of its frames: from the goals that the driver has accepted, its reports, and a
model of the motion. There is no ROS in this module."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from dfd_ros.cameras.driver_file import Motion, Report
from dfd_ros.cameras.lens_motion import LensMotion, Position, is_of_another_rate
from dfd_ros.ros.drivers.focus_scale import FocusScale
from dfd_ros.ros.drivers.frame_rate import FrameRate
from dfd_ros.ros.drivers.position_reports import PositionReports

REMEMBERED = 64  # goals
STILL = 0.25  # of the tolerance: what a lens at rest may seem to move
OLDEST, FUTURE = 2.0, 0.1  # s that stamps may be behind and ahead of the clock
LEAST = 0.25  # of a frame, by which measured times of the motion are off at least
APART = 1.0  # s between the stamps of frames and those of reports, which then have two clocks


class PositionUnknown(Exception):
    """With the problem, and what it means or what to do."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f'{problem}: {advice}')
        self.problem = problem


@dataclass(frozen=True)
class Goal:
    """A value of the driver that the lens is sent to."""

    value: float
    command_id: int
    at: float = -math.inf
    """s, when it was sent or, once accepted, when the driver has answered."""


class LensTracker:
    """All times are of the node's clock, in s; stamps are those of frames and reports."""

    def __init__(self, report: Report, topics: tuple[str, str], rate: FrameRate, margin_frames: float = 0.0) -> None:
        """`topics`: names of the topics of reports and frames, for messages. `rate`: of the frames. `margin_frames`:
        by how many frames the latencies may be wrong: that of a stamped report, otherwise that of the motion, where
        this was not measured."""
        self._report = report
        self._report_topic, self._frame_topic = topics
        self._rate = rate
        self._margin_frames = margin_frames
        self._timing = Motion()
        self._motion = LensMotion(0.0, 0.0, 0.0)
        self._scale: FocusScale | None = None
        self._report_scale: FocusScale | None = None
        self._goals: deque[Goal] = deque(maxlen=REMEMBERED)  # accepted, the last one at the end
        self.reports = PositionReports()
        self.sending: Goal | None = None
        self.accepted: Goal | None = None
        """By the driver, and nothing has changed since."""
        self._taken = math.nan  # the value that the driver has made of it
        self.is_obeyed = False
        """Whether the reports have shown the lens at rest where it was sent. Until then they may be in another unit."""

    def set_up(self, scale: FocusScale, report_scale: FocusScale, timing: Motion) -> None:
        """The scales of commands and of reports. The position is unknown until a goal is accepted."""
        self._scale, self._report_scale, self._timing = scale, report_scale, timing
        self._motion = LensMotion(timing.slew, timing.settle_s, scale.maximum - scale.minimum, timing.uncertainty_s)
        self.accepted = None
        self.is_obeyed = not self.must_be_obeyed

    @property
    def must_be_obeyed(self) -> bool:
        """Whether reports can be compared with commands: both are in one unit."""
        return self._report.kind == 'topic' and self._report_scale is self._scale

    @property
    def latency(self) -> float:
        """s from the driver's answer to the start of the motion."""
        return self._timing.latency_s + self._timing.latency_frames * self._rate.period

    @property
    def other_rate(self) -> float:
        """Frames a second at which the times were measured, where the rate is another now; else 0."""
        measured = self._timing.rate_hz
        is_relevant = self._timing.uncertainty_s is not None and self._rate.is_known
        return measured if is_relevant and is_of_another_rate(measured, 1 / self._rate.period) else 0.0

    @property
    def _is_measured(self) -> bool:
        return self._timing.uncertainty_s is not None and not self.other_rate

    @property
    def _uncertainty(self) -> float | None:
        """s by which measured times are off; None: they were not measured."""
        if self._timing.uncertainty_s is None or not self._is_measured:
            return None
        # Commands are on their way for some ms, and exposures take some.
        return max(self._timing.uncertainty_s, LEAST * self._rate.period)

    @property
    def report_shift(self) -> float:
        """s from the stamp of a report to the frame that shows it."""
        return self._report.latency_frames * self._rate.period + self._report.latency_s

    # The driver.

    def accept(self, value: float, now: float) -> None:
        """The driver has answered what is `sending`, and taken `value` for it."""
        goal, self.sending = self.sending, None
        assert goal is not None
        self._command(value, goal.at, now, goal.command_id)
        self._taken = value
        self._remember(replace(goal, at=now))

    def rename(self, command_id: int, now: float) -> None:
        """Another command wants the value that the driver has accepted last."""
        assert self.accepted is not None
        self._motion.command(self._taken, now, now, 0.0, command_id)
        self._remember(replace(self.accepted, command_id=command_id))

    def _remember(self, goal: Goal) -> None:
        self.accepted = goal
        self._goals.append(goal)

    def forget(self) -> None:
        """The position is unknown from now on."""
        self.sending = self.accepted = None
        self._goals.clear()
        self._motion.forget()

    def refute(self) -> None:
        """The driver has not done what it has accepted, or reports in another unit."""
        self.accepted, self.is_obeyed = None, False

    def count_anew(self, now: float) -> None:
        """The rate of the frames has become known: where times are counted in frames, the last goal counts as sent now,
        to a lens that may be anywhere."""
        self._motion.forget()
        if self.accepted is not None:
            self._command(self._taken, now, now, self.accepted.command_id)

    def rests(self, now: float) -> bool:
        """Whether the lens rests by the model of its motion. False where its position is unknown."""
        position = self._during(now, now)
        return position is not None and position.rests

    def _command(self, value: float, sent: float, answered: float, command_id: int) -> None:
        self._motion.uncertainty = self._uncertainty
        stretch = max(self._rate.period * self._timing.rate_hz, 1.0)
        self._motion.command(value, sent, answered, self.latency, command_id, stretch)

    def _late(self, sent: float) -> float:
        margin = 0.0 if self._is_measured else self._margin_frames * self._rate.period
        return margin + self._rate.missing_since(sent)

    def _during(self, begin: float, end: float) -> Position | None:
        self._motion.uncertainty = self._uncertainty
        return self._motion.during(begin, end, self._late)

    # Frames.

    def expects_report(self, stamp: float) -> bool:
        """Whether a frame can be labelled better by a report that is still to come."""
        if self._report.kind != 'topic' or not len(self.reports):
            return False
        # A report without a stamp arrives up to `latency_s` after its position was true.
        needed = self._rate.period + self.report_shift if self._report.stamp == 'arrival' else -self.report_shift
        if self._margin_frames:
            needed = max(needed, 0.0)
        return not self.reports.reach(stamp + needed, self._rate.period)

    def position(self, stamp: float, arrival: float) -> Position | None:
        """The position during the exposure of a frame; None: unknown.

        Raises:
            PositionUnknown: the clocks of frames, reports and this node differ.
        """
        if self._scale is None:
            return None
        has_reports = self._report.kind == 'topic'
        if not has_reports or self._report.stamp == 'arrival':
            self._require_one_clock(arrival - stamp)
        # Not measured: the exposure was at any time from before the stamp to the arrival, as the driver's clock may be
        # behind or ahead.
        begin, end = min(stamp, arrival) - self._rate.period, arrival
        if self._is_measured:
            begin = end = stamp
        return self._reported(stamp, arrival, begin, end) if has_reports else self._modelled(begin, end)

    def _modelled(self, begin: float, end: float) -> Position | None:
        off = self._uncertainty
        delay = 0.0 if off is None else self.latency - off
        if self.sending is not None and self.sending.at + delay < end:
            return None
        return self._during(begin, end)

    def _reported(self, stamp: float, arrival: float, begin: float, end: float) -> Position | None:
        assert self._scale is not None and self._report_scale is not None
        report, scale, rate = self._report, self._report_scale, self._rate
        by_arrival, still = report.stamp == 'arrival', STILL * scale.tolerance
        if by_arrival:
            exposed = stamp + rate.period + self.report_shift
            settling = stamp - report.settle_frames * rate.period
        else:
            exposed = rate.before(stamp, report.latency_frames)[1] - report.latency_s
            settling = rate.before(stamp, report.latency_frames + report.settle_frames)[0] - report.latency_s
        settling = min(settling, (stamp if by_arrival else exposed) - self._timing.settle_s)
        position = self.reports.during(settling, exposed, rate.period, still)
        if position is None:
            if self.reports.last and abs(apart := self.reports.last[0] - exposed) > APART:
                raise PositionUnknown(
                    f'{self._report_topic} and {self._frame_topic} are stamped {apart:.3g} s apart',
                    'by two clocks, or one of them is late',
                )
            return None
        if by_arrival:
            model = self._during(begin, end)
            if self.sending is not None or model is None or not model.rests:
                position = replace(position, rests=False)
            if not self._is_measured:
                position = replace(position, travel=math.inf)
        elif margin := math.ceil(self._margin_frames):  # any report of these may be that of the frame
            first = rate.before(stamp, report.latency_frames + report.settle_frames + margin)[0] - report.latency_s
            around = self.reports.during(first, max(stamp, exposed), rate.period, still)
            rests = position.rests and around is not None and around.rests
            position = replace(position, rests=rests, travel=math.inf)
        distance = scale.distance(position.value)
        value = self._scale.value(distance) if distance > 0 else math.nan
        if self.accepted is None:  # before it has obeyed, its autofocus may be on
            return Position(value, False)
        near = self._scale.tolerance
        if position.rests and abs(value - self.accepted.value) <= near:
            self.is_obeyed = True
        reached = [goal.command_id for goal in self._goals if goal.at <= arrival and abs(value - goal.value) <= near]
        # Between two scales of one lens, the way is the same share of the range.
        share = (self._scale.maximum - self._scale.minimum) / (scale.maximum - scale.minimum)
        if not self.is_obeyed:
            return Position(value, False)
        rests = position.rests and (bool(reached) or not self.must_be_obeyed)
        return Position(value, rests, reached[-1] if reached else 0, position.travel * share)

    def _require_one_clock(self, age: float) -> None:
        if not -FUTURE <= age <= OLDEST:
            raise PositionUnknown(
                f'{self._frame_topic} is stamped {abs(age):.3g} s {"before" if age > 0 else "after"} its arrival',
                'the clocks of the driver and of this machine differ; synchronise them',
            )
