"""Focal stacks of which only the order of focus is known."""

import math

import numpy as np
import pytest
from focus_pictures import sweep
from sharpest_focus import SharpestFocus

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack, relative_lens_states
from dfd_ros.inference.estimator import DepthEstimator

FRAMES = 'frames:\n- {file: 00.png}\n- {file: 01.png, focus_distance_m: null}\n- {file: 02.png}\n'


@pytest.fixture
def folder(tmp_path):
    FocalStack(sweep(3), relative_lens_states(3), is_metric=False).write(tmp_path / 'stack')
    return tmp_path / 'stack'


def places(stack):
    return [stack.range.normalise(state.focus_distance) for state in stack.lens_states]


def test_there_and_back(folder):
    for reverse in (False, True):
        stack = FocalStack.read(folder, metric=False)
        assert not stack.is_metric and places(stack) == ([1, 0.5, 0] if reverse else [0, 0.5, 1])
        stack.images.reverse()
        stack.lens_states.reverse()
        stack.write(folder, overwrite=True)


def test_metres_are_asked_for_unless_told_otherwise(folder):
    with pytest.raises(InputError, match=r'frames\[0\], focus_distance_m: unknown, and 00.png has no EXIF'):
        FocalStack.read(folder)


def test_some_distances_are_not_enough(folder):
    (folder / 'stack.yaml').write_text(FRAMES.replace('null', '2.0'))
    with pytest.raises(InputError, match=r'frames\[0\], focus_distance_m: unknown'):
        FocalStack.read(folder, metric=False)


def test_the_order_is_one_of_two(folder):
    (folder / 'stack.yaml').write_text(f'order: upwards\n{FRAMES}')
    with pytest.raises(InputError, match="order: 'upwards' should be 'far_to_near' or 'near_to_far'"):
        FocalStack.read(folder, metric=False)


def test_estimates_have_vergence_but_no_metres():
    relative = FocalStack(sweep(4), relative_lens_states(4), is_metric=False)
    metric = FocalStack(relative.images, relative.lens_states)
    estimator = DepthEstimator(network=SharpestFocus())
    found, with_metres = (estimator.estimate_stack(stack) for stack in (relative, metric))
    assert not found.is_metric and found.range is None and np.isnan(found.depth).all()
    known = ~np.isnan(with_metres.depth)
    np.testing.assert_array_equal(found.vergence[known], with_metres.vergence[known])
    assert np.isnan(found.vergence[~known]).all()
    np.testing.assert_array_equal(found.confidence, with_metres.confidence)
    assert found.threshold(0.1, 0.5) == with_metres.threshold(0.1, 0.5)


def test_lens_states_are_even_steps_from_infinity():
    states = relative_lens_states(5)
    assert states[0].focus_distance == math.inf and states[-1].focus_distance == 1.0
    np.testing.assert_allclose(np.diff([1 / state.focus_distance for state in states]), 0.25)
