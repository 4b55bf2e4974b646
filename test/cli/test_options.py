"""Options out of range are one line that names the option, however large the number is."""

import argparse
import math

import pytest

from dfd_ros.cli._options import require_within
from dfd_ros.core.errors import InputError


@pytest.mark.parametrize(
    'value, words',
    [
        (0, '--sweep-count 0: must be at least 1'),
        (1001, '--sweep-count 1001: must be at most 1000'),
        (math.nan, '--sweep-count nan: must be at most 1000'),
        (-math.inf, '--sweep-count -inf: must be at least 1'),
        (10**400, '--sweep-count <a number of 1329 bits>: must be at most 1000'),
        (-(10**400), '--sweep-count <a number of 1329 bits>: must be at least 1'),
    ],
)
def test_out_of_range(value, words):
    with pytest.raises(InputError) as error:
        require_within(argparse.Namespace(sweep_count=value), sweep_count=(1, 1000))
    assert str(error.value) == words


def test_in_range_or_not_given():
    require_within(argparse.Namespace(near=None, far=math.inf), near=(0.1, 1), far=(0.1, math.inf))
