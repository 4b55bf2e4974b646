"""The model of a lens that does not say where it is."""

import math

import pytest

from dfd_ros.cameras.lens_motion import LensMotion


def test_unmeasured_it_may_move_from_the_command_on():
    motion = LensMotion(slew=10.0, settle_s=0.1, span=5.0)
    assert motion.during(0.0, 0.1) is None
    motion.command(2.0, 0.0, 0.0, 0.0, 1)
    motion.command(4.0, 10.0, 10.01, 0.2, 2)
    assert motion.during(9.9, 10.0).rests
    early = motion.during(10.0, 10.05)
    assert (early.rests, early.travel) == (False, math.inf)
    last = motion.during(10.52, 10.55)
    assert (last.rests, last.value, last.command_id) == (True, 4.0, 2)


def test_an_exposure_before_the_first_command():
    motion = LensMotion(slew=0.0, settle_s=0.0, span=5.0)
    motion.command(2.0, 10.0, 10.0, 0.0, 1)
    assert not motion.during(9.8, 9.9).rests


class TestMeasured:
    @pytest.fixture
    def motion(self):
        motion = LensMotion(slew=10.0, settle_s=0.0, span=5.0, uncertainty=0.002)
        motion.command(2.0, 0.0, 0.0, 0.0, 1)
        return motion

    def test_at_rest_until_the_latency_is_over(self, motion):
        motion.command(4.0, 10.0, 10.0, 0.2, 2)
        before = motion.during(10.19, 10.19)
        assert (before.rests, before.value, before.command_id) == (True, 2.0, 1)
        assert not motion.during(10.199, 10.199).rests

    def test_a_lens_whose_driver_answers_late_may_be_late(self, motion):
        motion.command(4.0, 10.0, 10.1, 0.2, 2)  # the first took no time
        rested = [motion.during(time_s, time_s).rests for time_s in (10.19, 10.21, 10.49, 10.51)]
        assert rested == [True, False, False, True]
        position = motion.during(10.4, 10.4)
        assert position.value == pytest.approx(3.49) and position.travel == pytest.approx(1.02)

    def test_commands_overtake_the_latency(self, motion):
        for i in range(10):  # a command each 0.03 s, seven frames late
            motion.command(2.0 + 0.1 * (i + 1), 10.0 + 0.03 * i, 10.0 + 0.03 * i, 0.2, i + 2)
        for i in range(10):
            position = motion.during(10.225 + 0.03 * i, 10.225 + 0.03 * i)
            assert (position.rests, position.command_id) == (True, i + 2)
            assert position.value == pytest.approx(2.0 + 0.1 * (i + 1))

    def test_the_way_during_an_exposure_is_known(self, motion):
        motion.command(4.0, 10.0, 10.0, 0.2, 2)
        position = motion.during(10.3, 10.3)
        assert not position.rests
        assert position.value == pytest.approx(3.0, abs=0.03) and position.travel == pytest.approx(0.04, abs=0.001)

    def test_what_settles_may_be_behind(self):
        motion = LensMotion(slew=0.0, settle_s=0.1, span=5.0, uncertainty=0.0)
        motion.command(2.0, 0.0, 0.0, 0.0, 1)
        motion.command(4.0, 10.0, 10.0, 0.2, 2)
        position = motion.during(10.25, 10.25)
        assert (position.value, position.travel, position.rests) == (3.0, 2.0, False)
        assert motion.during(10.31, 10.31).rests

    def test_the_first_command_comes_from_nowhere(self):
        motion = LensMotion(slew=10.0, settle_s=0.0, span=5.0, uncertainty=0.0)
        motion.command(2.0, 1.0, 1.0, 0.1, 1)
        assert motion.during(1.2, 1.2).travel == math.inf
        assert motion.during(1.7, 1.7).rests
