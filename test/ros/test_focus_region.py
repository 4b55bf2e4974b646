"""The distance of what lies in a rectangle."""

import math

import numpy as np
import pytest

pytest.importorskip('rclpy')

from sensor_msgs.msg import RegionOfInterest

from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.ros.focus_region import distance_in

REGION = RegionOfInterest(x_offset=4, y_offset=2, width=4, height=4)


def estimate(depth, confidence=1.0):
    depth = np.asarray(depth, np.float32)
    maps = np.zeros_like(depth)
    return Estimate(depth, maps, np.full_like(depth, confidence), maps, maps, None, 1)


def test_the_median_in_vergence():
    depth = np.full((8, 12), 3.0)
    depth[2:6, 4:8] = [0.5, 0.5, 1.0, np.inf]
    assert distance_in(REGION, estimate(depth), 0.3, (8, 12)) == pytest.approx(1 / 1.5)


def test_pixels_are_those_of_the_image_not_of_a_reduced_estimate():
    depth = np.full((4, 6), 3.0)
    depth[1:3, 2:4] = 0.5
    assert distance_in(REGION, estimate(depth), 0.3, (8, 12)) == pytest.approx(0.5)


def test_what_is_not_sure_does_not_count():
    depth = np.full((8, 12), 0.5)
    assert math.isnan(distance_in(REGION, estimate(depth, confidence=0.2), 0.3, (8, 12)))
    depth[2:6, 4:8] = np.nan
    assert math.isnan(distance_in(REGION, estimate(depth), 0.3, (8, 12)))
    depth[2, 4:6] = 0.7  # an eighth
    assert distance_in(REGION, estimate(depth), 0.3, (8, 12)) == pytest.approx(0.7)


def test_the_part_of_a_rectangle_outside_of_the_image_does_not_count():
    depth = np.full((8, 12), 0.5)
    wide = RegionOfInterest(x_offset=10, y_offset=6, width=4000000000, height=4000000000)
    assert distance_in(wide, estimate(depth), 0.3, (8, 12)) == pytest.approx(0.5)
    outside = RegionOfInterest(x_offset=12, y_offset=0, width=4, height=4)
    assert math.isnan(distance_in(outside, estimate(depth), 0.3, (8, 12)))


def test_an_empty_rectangle_has_no_distance():
    depth = np.full((4, 6), 0.5)  # of half the pixels of the image: an odd offset lies within one
    for width, height in ((0, 0), (0, 4), (4, 0)):
        empty = RegionOfInterest(x_offset=5, y_offset=3, width=width, height=height)
        assert math.isnan(distance_in(empty, estimate(depth), 0.3, (8, 12)))


def test_everything_at_infinity():
    assert distance_in(REGION, estimate(np.full((8, 12), np.inf)), 0.3, (8, 12)) == math.inf
