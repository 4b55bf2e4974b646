"""Lens states with the stamps of other images."""

import math

import numpy as np
import pytest

from dfd_ros.core.frame_offset import FrameOffset


@pytest.mark.parametrize('late', [0, 1, 2, -1])
def test_lens_states_that_are_a_frame_off(late):
    """Each image and its lens state arrive together; the stamp of the lens state is that of another image."""
    offset, draw = FrameOffset(), np.random.default_rng(0)
    for i in range(30):
        offset.add_image(0.1 * i)
        jitter = draw.normal(0, 0.004)
        offset.add_pair(0.1 * i + jitter, 0.1 * (i - late))
    assert offset.frames == late


def test_a_delay_that_varies_is_no_frame():
    offset, draw = FrameOffset(), np.random.default_rng(0)
    for i in range(30):
        offset.add_image(0.1 * i)
        offset.add_pair(0.1 * i + draw.uniform(0, 0.2), 0.1 * i)
    assert offset.frames == 0


def test_unknown_times_of_arrival_say_nothing():
    offset = FrameOffset()
    for i in range(30):
        offset.add_image(0.1 * i)
        offset.add_pair(math.nan, 0.1 * i)
    assert offset.frames == 0
