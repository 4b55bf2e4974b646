"""Figures of merit against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.training import metrics

TRUTH = torch.tensor([1.0, 2.0, 4.0, math.nan])
ESTIMATE = torch.tensor([1.0, 2.6, 3.0, 7.0])


def test_by_hand():
    # Errors 0, 0.6 and -1; the pixel without truth does not count.
    assert metrics.mae(ESTIMATE, TRUTH) == pytest.approx(1.6 / 3)
    assert metrics.mse(ESTIMATE, TRUTH) == pytest.approx(1.36 / 3)
    assert metrics.mse(ESTIMATE, TRUTH, largest=4.0) == pytest.approx(1.36 / 3 / 16)
    assert metrics.rms(ESTIMATE, TRUTH, largest=4.0) == pytest.approx(math.sqrt(1.36 / 3) / 4)
    assert metrics.abs_rel(ESTIMATE, TRUTH) == pytest.approx((0.3 + 0.25) / 3)
    # Ratios 1, 1.3 and 1.333.
    assert metrics.accuracy(ESTIMATE, TRUTH) == pytest.approx(100 / 3)
    assert metrics.accuracy(ESTIMATE, TRUTH, threshold=1.31) == pytest.approx(200 / 3)


def test_unknown_pixels_do_not_count():
    holes = torch.tensor([math.nan, 2.6, math.inf, 1.0])
    assert metrics.mae(holes, TRUTH) == pytest.approx(0.6)


def test_nothing_valid_is_nan_and_not_zero():
    nothing = torch.full((3,), math.nan)
    for metric in (metrics.mae, metrics.mse, metrics.rms, metrics.accuracy, metrics.abs_rel):
        assert math.isnan(metric(nothing, torch.ones(3)))


def test_a_ratio_of_exactly_the_threshold_is_not_accurate():
    assert metrics.accuracy(torch.tensor([1.25, 0.8]), torch.ones(2)) == 0


def test_most_confident():
    error = torch.tensor([4.0, 1.0, 2.0, 3.0])
    confidence = torch.tensor([0.1, 0.9, 0.8, 0.2])
    assert metrics.most_confident(error, confidence, 0.5) == pytest.approx(1.5)
    assert metrics.most_confident(error, confidence, 1.0) == pytest.approx(2.5)
    assert metrics.most_confident(error, confidence, 0.01) == pytest.approx(1.0)  # at least one pixel


def ause(*arguments, **options):
    return metrics.sparsification(*arguments, **options).ause


def test_ause_by_hand():
    error = torch.tensor([1.0, 3.0])
    # Taken away in the wrong order: after half the pixels the mean error is 3, not 1; the mean of all is 2.
    assert ause(error, torch.tensor([0.2, 0.9]), points=2) == pytest.approx((0 + (3 - 1) / 2) / 2)


@given(st.lists(st.floats(0.01, 10), min_size=5, max_size=50))
@settings(deadline=None)
def test_ause_is_zero_for_the_perfect_order_and_never_less(errors):
    error = torch.tensor(errors, dtype=torch.float64)
    assert ause(error, -error) == pytest.approx(0, abs=1e-9)
    assert ause(error, error) >= ause(error, error.flip(0)) - 1e-9 >= -2e-9
