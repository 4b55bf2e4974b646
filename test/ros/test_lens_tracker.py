"""Where a lens was in each frame: from reports, a measured motion, or neither. No ROS."""

import math

import pytest

from dfd_ros.cameras.driver_file import Motion, Report
from dfd_ros.cameras.lens_motion import WAY_ROUND
from dfd_ros.ros.drivers.focus_scale import FocusScale, Limits
from dfd_ros.ros.drivers.frame_rate import FrameRate
from dfd_ros.ros.drivers.lens_tracker import Goal, LensTracker, PositionUnknown
from dfd_ros.ros.drivers.position_reports import PositionReports

PERIOD = 0.1
SCALE = FocusScale('dioptre', Limits(0.0, 10.0))


def tracker(report=Report(), motion=Motion(), report_scale=SCALE, rate=None, margin_frames=0):
    rate = rate or FrameRate(PERIOD)
    made = LensTracker(report, ('/report', '/camera_info'), rate, margin_frames)
    made.set_up(SCALE, report_scale, motion)
    return made


def send(made, value, command_id, at, answered=0.0):
    made.sending = Goal(value, command_id, at)
    made.accept(value, at + answered)


def test_reports_of_a_lens_that_moves():
    reports = PositionReports()
    for i in range(20):
        reports.add(i / 30, 1.0 + 0.1 * max(i - 5, 0))
    still, moving = (reports.during((i - 1) / 30, i / 30, 1 / 30, 0.01) for i in (4, 10))
    assert (still.rests, still.value, still.travel) == (True, 1.0, 0.0)
    assert not moving.rests and moving.value == pytest.approx(1.45) and moving.travel == pytest.approx(0.1)
    assert reports.during(19 / 30, 21 / 30, 1 / 30, 0.01).travel == math.inf


def frames(stamps, delay=0.05):
    rate = FrameRate(PERIOD)
    for stamp in stamps:
        rate.add(stamp, stamp + delay)
    return rate


def test_reports_that_come_in_a_burst_all_count():
    reports = PositionReports()
    for time_s, value in ((0.0, 1.0), (0.1, 1.0), (0.2, 2.0), (0.21, 3.0)):
        reports.add(time_s, value)
    position = reports.during(0.2, 0.21, 0.1, 0.01)
    assert (position.rests, position.value, position.travel) == (False, 2.5, 1.0)


class TestWithoutReports:
    def test_nothing_is_known_before_the_first_goal_and_after_forgetting(self):
        made = tracker()
        assert made.position(1.0, 1.05) is None
        send(made, 4.0, 1, at=2.0)
        assert made.position(5.0, 5.05).rests
        made.forget()
        assert made.position(6.0, 6.05) is None and made.accepted is None

    def test_a_frame_is_in_doubt_while_a_command_is_on_its_way(self):
        made = tracker()
        send(made, 4.0, 1, at=2.0)
        made.sending = Goal(6.0, 2, 5.0)
        assert made.position(4.8, 4.9).value == 4.0
        assert made.position(4.95, 5.05) is None

    def test_a_measured_latency_keeps_frames_before_the_motion(self):
        made = tracker(motion=Motion(latency_frames=3, uncertainty_s=0.001))
        send(made, 4.0, 1, at=2.0)
        send(made, 6.0, 2, at=5.0, answered=0.08)  # counts from the command, not from the answer
        before, after = made.position(5.27, 5.35), made.position(5.55, 5.6)
        assert (before.value, before.command_id, before.rests) == (4.0, 1, True)
        assert (after.value, after.command_id) == (6.0, 2)

    def test_another_command_for_the_same_value(self):
        made = tracker()
        send(made, 4.0, 1, at=2.0)
        made.rename(2, 5.0)
        assert (made.accepted.value, made.position(6.0, 6.05).command_id) == (4.0, 2)

    def test_another_command_keeps_the_value_that_the_motor_has_taken(self):
        made = tracker()
        made.sending = Goal(4.0, 1, 2.0)
        made.accept(4.3, 2.0)
        made.rename(2, 5.0)
        position = made.position(5.0, 5.05)
        assert (position.value, position.rests, position.command_id) == (4.3, True, 2)

    def test_until_it_is_measured_the_lens_may_rest_later(self):
        for timing, first in ((Motion(settle_s=0.0), 2.5), (Motion(settle_s=0.0, uncertainty_s=0.0), 2.2)):
            made = tracker(motion=timing, margin_frames=3)
            send(made, 4.0, 1, at=2.0)
            rested = [made.position(stamp, stamp + 0.05).rests for stamp in (first - 0.15, first)]
            assert rested == [timing.uncertainty_s is not None, True]

    def test_a_lens_that_moves_frame_by_frame_waits_for_frames_that_are_late(self):
        early = [i * PERIOD for i in range(21)]
        stamps = [*early, 2.5, 2.6, 2.7, 2.8, 2.9]  # 0.4 s without frames
        made = tracker(motion=Motion(latency_frames=4, settle_s=0.0), rate=frames(early))
        send(made, 4.0, 1, at=0.0)
        send(made, 6.0, 2, at=2.06)
        made._rate = frames(stamps)
        rested = {stamp: made.position(stamp, stamp + 0.05).rests for stamp in (2.7, 2.8, 3.0)}
        assert rested == {2.7: False, 2.8: False, 3.0: True}  # by the clock the lens would rest at 2.46

    def test_at_a_lower_rate_a_lens_that_moves_frame_by_frame_is_slower(self):
        made = tracker(motion=Motion(slew=10.0, settle_s=0.0, rate_hz=20.0))  # frames come at half of that
        send(made, 0.0, 1, at=0.0)
        send(made, 5.0, 2, at=10.0)
        assert [made.position(stamp, stamp + 0.05).rests for stamp in (11.05, 11.15)] == [False, True]

    def test_what_was_measured_at_another_rate_counts_as_not_measured(self):
        stamps = [i * PERIOD for i in range(21)]
        for rate_hz, rests in ((11.0, True), (30.0, False)):
            timing = Motion(latency_frames=4, settle_s=0.0, uncertainty_s=0.0, rate_hz=rate_hz)
            made = tracker(motion=timing, rate=frames(stamps), margin_frames=6)
            send(made, 4.0, 1, at=0.0)
            send(made, 6.0, 2, at=2.0)
            assert made.position(2.2, 2.25).rests == rests and bool(made.other_rate) != rests

    def test_what_was_sent_before_the_rate_was_known_counts_from_then_on(self):
        made = tracker(motion=Motion(latency_frames=4, settle_s=0.0))
        send(made, 4.0, 1, at=0.0)
        made.count_anew(3.0)
        assert [made.position(stamp, stamp + 0.05).rests for stamp in (3.3, 3.6)] == [False, True]

    @pytest.mark.parametrize('off', [-1.5, -0.3, 0.08])
    def test_a_clock_that_is_a_little_apart_makes_no_wrong_label(self, off):
        made = tracker(motion=Motion(settle_s=0.0))
        send(made, 4.0, 1, at=0.0)
        send(made, 6.0, 2, at=5.0)
        for i in range(100):
            exposed = 4.0 + 0.05 * i
            position = made.position(exposed + off, max(exposed, exposed + off - 0.05))
            assert not position.rests or position.value == (4.0 if exposed < 5.0 else 6.0)
        assert position.rests

    def test_where_the_motor_comes_from_is_named(self):
        made = tracker()
        send(made, 1.0, WAY_ROUND, at=2.0)
        assert not made.rests(2.05) and made.rests(3.0)
        assert made.position(3.0, 3.05).command_id == WAY_ROUND

    @pytest.mark.parametrize(('age', 'text'), [(5.0, '5 s before its arrival'), (-1.0, '1 s after its arrival')])
    def test_clocks_that_differ(self, age, text):
        made = tracker()
        send(made, 4.0, 1, at=2.0)
        with pytest.raises(PositionUnknown, match=f'/camera_info is stamped {text}: .*synchronise'):
            made.position(10.0, 10.0 + age)


class TestReports:
    def test_a_frame_waits_for_the_report_that_shows_it(self):
        made = tracker(Report(kind='topic', topic='/report', latency_frames=2))
        assert not made.expects_report(1.0)  # the driver has never reported
        for i in range(20):
            made.reports.add(i * PERIOD, 4.0)
        assert not made.expects_report(2.1) and made.expects_report(2.2)  # 2 frames after the last report, at 1.9

    def test_the_position_is_that_of_the_latency_before(self):
        made = tracker(Report(kind='topic', topic='/report', latency_frames=2))
        send(made, 4.0, 1, at=0.1)
        for i in range(20):
            made.reports.add(i * PERIOD, 4.0 if i < 10 else 6.0)
        assert made.position(0.8, 0.85).rests and made.is_obeyed
        send(made, 6.0, 2, at=1.0)
        positions = [made.position(stamp, stamp + 0.05) for stamp in (1.1, 1.2, 1.3)]
        assert [p.value for p in positions if p.rests] == [4.0, 6.0]
        assert [p.command_id for p in positions if p.rests] == [1, 2]
        assert not positions[1].rests

    @pytest.mark.parametrize('ahead', range(8))
    def test_until_it_is_measured_the_report_may_be_of_any_of_some_frames(self, ahead):
        made = tracker(Report(kind='topic', topic='/report', latency_frames=1), margin_frames=6)
        send(made, 4.0, 1, at=0.0)
        for i in range(60):
            made.reports.add(i * PERIOD, 4.0 if i < 30 else 6.0)
        assert made.position(2.0, 2.05).rests
        send(made, 6.0, 2, at=2.9)
        for i in range(20, 50):
            position = made.position(i * PERIOD, i * PERIOD + 0.05)
            assert not position.rests or position.value == (4.0 if i - ahead < 30 else 6.0)
            assert position.travel == math.inf  # it is not followed
        assert position.rests

    def test_frames_are_counted_where_they_come_in_a_burst(self):
        stamps = [i * PERIOD for i in range(20)] + [1.95, 1.96, 1.97]
        made = tracker(Report(kind='topic', topic='/report', latency_frames=2), rate=frames(stamps))
        send(made, 4.0, 1, at=0.0)
        for stamp in stamps:
            made.reports.add(stamp, 4.0 if stamp < 1.9 else 6.0)
        assert made.position(1.7, 1.75).rests
        send(made, 6.0, 2, at=1.8)
        # 1.95 shows what the report of 1.8 says, and 1.96 that of 1.9.
        assert [made.position(stamp, stamp + 0.01).rests for stamp in stamps[-3:]] == [True, False, False]

    def test_a_lens_is_not_settled_before_it_has_obeyed(self):
        made = tracker(Report(kind='topic', topic='/report'))
        for i in range(20):
            made.reports.add(i * PERIOD, 4.0)
        assert not made.position(1.0, 1.05).rests

    def test_reports_that_have_not_followed_a_goal_are_not_believed(self):
        made = tracker(Report(kind='topic', topic='/report'))
        send(made, 4.0, 1, at=0.1)
        for i in range(40):
            made.reports.add(i * PERIOD, 0.25 if i < 20 else 4.0)  # as if in metres
        assert not made.position(1.0, 1.05).rests and not made.is_obeyed
        assert made.position(3.0, 3.05).rests and made.is_obeyed
        made.refute()
        assert made.accepted is None and not made.position(3.0, 3.05).rests

    def test_a_lens_that_rests_where_it_was_never_sent_is_not_settled(self):
        made = tracker(Report(kind='topic', topic='/report'))
        send(made, 4.0, 1, at=0.1)
        for i in range(40):
            made.reports.add(i * PERIOD, 4.0 if i < 20 else 2.0)
        assert made.position(1.0, 1.05).rests
        send(made, 8.0, 2, at=2.0)
        assert not made.position(3.0, 3.05).rests

    def test_reports_have_to_agree_while_the_lens_settles(self):
        made = tracker(Report(kind='topic', topic='/report'), Motion(settle_s=0.5))
        send(made, 4.0, 1, at=0.1)
        for i in range(40):
            made.reports.add(i * PERIOD, 0.0 if i < 20 else 4.0)
        assert [made.position(stamp, stamp + 0.05).rests for stamp in (2.4, 2.6)] == [False, True]

    def test_without_stamps_the_model_has_to_rest_too(self):
        made = tracker(Report(kind='topic', topic='/report', stamp='arrival'), Motion(settle_s=0.5))
        for i in range(40):
            made.reports.add(i * PERIOD, 4.0)
        send(made, 4.0, 1, at=1.0)
        assert not made.position(1.3, 1.35).rests and made.position(3.0, 3.05).rests

    def test_reports_in_another_unit(self):
        metres = FocusScale('metre', Limits(0.1, 10.0))
        made = tracker(Report(kind='topic', topic='/report', unit='metre'), report_scale=metres)
        send(made, 4.0, 1, at=0.1)
        for i in range(20):
            made.reports.add(i * PERIOD, 0.25)
        position = made.position(1.0, 1.05)
        assert position.value == pytest.approx(4.0) and (position.rests, position.command_id) == (True, 1)

    def test_two_clocks(self):
        made = tracker(Report(kind='topic', topic='/report'))
        send(made, 4.0, 1, at=0.1)
        made.reports.add(100.0, 4.0)
        with pytest.raises(PositionUnknown, match='/report and /camera_info are stamped 90 s apart: .*two clocks'):
            made.position(10.0, 10.05)


class TestFrameRate:
    def test_the_median_and_evenness(self):
        rate = FrameRate()
        assert rate.period == pytest.approx(1 / 30) and not rate.is_known
        for i in range(5):
            assert not rate.is_even
            rate.add(i * PERIOD, i * PERIOD)
        assert rate.is_known and rate.is_even and rate.period == pytest.approx(PERIOD)
        rate.add(6 * PERIOD, 6 * PERIOD)  # one was dropped
        assert not rate.is_even and rate.period == pytest.approx(PERIOD)

    @pytest.mark.parametrize('stamp', [0.1, 60.0])
    def test_stamps_that_fall_back_and_silence_start_anew(self, stamp):
        rate = FrameRate()
        for i in range(10):
            rate.add(i * PERIOD, i * PERIOD)
        rate.add(stamp, stamp)
        assert not rate.is_known and not rate.is_even

    def test_what_has_arrived_since(self):
        rate = frames([*(i * PERIOD for i in range(10)), 1.3, 1.4])
        assert (rate.arrived_since(1.0), rate.arrived_since(1.4)) == (2, 1)
        assert rate.missing_since(0.0) == pytest.approx(0.3) and rate.missing_since(1.35) == 0.0

    def test_the_frame_before_by_number_and_by_rate(self):
        rate = frames([*(i * PERIOD for i in range(10)), 1.3, 1.4])
        assert rate.before(1.4, 2) == pytest.approx((0.9, 1.2))
        assert rate.before(0.5, 2) == pytest.approx((0.3, 0.3))
