"""Focus distances against the numbers of a driver."""

import math

import pytest

pytest.importorskip('rclpy')

from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.core.errors import InputError
from dfd_ros.ros.drivers.focus_scale import FocusScale, Limits

TABLE = FocusTable([3, 243], [math.inf, 0.1])


def values(scale):
    return [scale.value(distance) for distance in (math.inf, 5.0, 1.0, 0.31, 0.2, 0.1, 0.01)]


@pytest.mark.parametrize(('step', 'origin'), [(1, 0), (20, 0), (20, 1)])
def test_only_values_that_the_driver_takes(step, origin):
    got = values(FocusScale('table', Limits(0, 250, step, origin), TABLE))
    assert all((value - origin) % step == 0 and 3 <= value <= 243 for value in got) and len(set(got)) > 3


def test_a_step_that_is_no_whole_number():
    got = values(FocusScale('dioptre', Limits(0.1, 9.95, 0.25, 0.1), None))
    assert all((value - 0.1) / 0.25 == pytest.approx(round((value - 0.1) / 0.25)) for value in got)
    assert got[0] == 0.1 and got[-1] == pytest.approx(9.85)


def test_narrower_limits_keep_the_steps_of_the_driver():
    scale = FocusScale('dioptre', Limits(0.0, 10.0, 1.0).within(0.4, 7.7), None)
    assert values(scale)[0] == 1.0 and values(scale)[-1] == 7.0 and (scale.minimum, scale.maximum) == (0.4, 7.7)


def test_a_range_without_two_steps_is_refused():
    with pytest.raises(InputError, match='steps of 300 from 0: fewer than two of them lie from 3 to 243'):
        FocusScale('table', Limits(0, 600, 300), TABLE)


def test_whole_metres_need_a_limit():
    assert FocusScale('metre', Limits(0.5)).value(math.inf) == math.inf
    with pytest.raises(InputError, match='1 to inf metre: give command: minimum and maximum in the driver file'):
        FocusScale('metre', Limits(1, step=1))


def test_the_way_round_ends_at_or_below_the_overshoot():
    table = FocusTable([0, 250], [math.inf, 0.1], hysteresis=25)
    assert FocusScale('table', Limits(0, 250, 20), table).way_round(240, 200) == 160  # 1.5 times 25 below: 162.5
    assert FocusScale('table', Limits(0, 250), table).way_round(240, 200) == 162.5
    assert FocusScale('table', Limits(0, 250, 20), table).way_round(200, 240) is None
