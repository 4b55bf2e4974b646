"""The resolution follows the time that frames take, and comes to rest."""

import numpy as np
import pytest

pytest.importorskip('rclpy')

from dfd_ros.ros.resolution_control import FIRST_HOLD, LEVELS, ResolutionControl


def run(control, cost, period, seconds, start=0.0, noise=0.0):
    """The changes of a camera of this period (s), where `cost(resolution, time)` is what a frame takes (s)."""
    draw, changes, now = np.random.default_rng(0), [], start
    while now < start + seconds:
        took = cost(control.resolution, now) * draw.uniform(1 - noise, 1 + noise)
        now += max(took, period)
        if control.add(took, period, now):
            changes.append(control.resolution)
    return changes


def by_pixels(milliseconds, constant=0.0):
    """Time of a frame of 640 px, of which a share is constant."""
    return lambda resolution, now: 1e-3 * milliseconds * (constant + (1 - constant) * (resolution / 640) ** 2)


@pytest.mark.parametrize('period', [0.01, 0.03, 0.05, 0.1, 0.2])
@pytest.mark.parametrize('constant', [0.0, 0.3, 0.8])
@pytest.mark.parametrize('noise', [0.0, 0.3])
def test_it_comes_to_rest_where_it_keeps_up(period, constant, noise):
    control, cost = ResolutionControl(640), by_pixels(100, constant)
    run(control, cost, period, 2000 * period, noise=noise)
    assert cost(control.resolution, 0) <= period or control.resolution == LEVELS[0]
    assert run(control, cost, period, 5000 * period, start=2000 * period, noise=noise) == []


def test_it_stays_where_there_is_time():
    assert run(ResolutionControl(640), by_pixels(30), 0.04, 600) == []


def test_it_rises_again_when_the_load_is_gone():
    control = ResolutionControl(640)
    assert run(control, by_pixels(300), 0.1, 60)[-1] < 480
    assert run(control, by_pixels(30), 0.1, 600, start=60)[-1] == 640


def test_a_load_that_comes_and_goes_changes_it_less_and_less():
    control = ResolutionControl(640)

    def cost(resolution, now):
        return by_pixels(300 if now % (4 * FIRST_HOLD) < 2 * FIRST_HOLD else 20)(resolution, now)

    first = run(control, cost, 0.1, 1000)
    assert len(run(control, cost, 0.1, 4000, start=1000)) < len(first)


def test_an_image_smaller_than_all_levels_has_one():
    assert run(ResolutionControl(96), by_pixels(1e6), 0.1, 100) == []


def test_stamps_that_stand_still_change_nothing():
    control = ResolutionControl(640)
    assert not any(control.add(9.0, 0.0, float(i)) for i in range(100))
