"""Values that no lens has."""

import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState

STATE = LensState(1.0, 4e-3, 1.8, 1e-6, 1.02, 0.1, math.inf, stamp=3.0)
IMPOSSIBLE = [
    ('focus_distance', 5e-324),
    ('focus_distance', 0.0),
    ('focal_length', 100.0),
    ('focal_length', 1.0),
    ('f_number', -1.0),
    ('pixel_pitch', 1.0),
    ('magnification', 1e30),
    ('near', math.inf),
    ('far', 0.1),
]


@pytest.mark.parametrize('field, value', IMPOSSIBLE)
def test_values_that_no_lens_has_are_refused_or_unknown(field, value):
    with pytest.raises(InputError, match=rf'^a\.yaml: .*{field.removesuffix("_length")}'):
        replace(STATE, **{field: value}).checked('a.yaml')
    values = {**asdict(STATE), field: value}
    message = SimpleNamespace(**values, near_distance=values['near'], far_distance=values['far'])
    if field == 'focus_distance':
        with pytest.raises(InputError, match='lens_state: focus_distance is'):
            LensState.of_message(message, 3.0)
    else:
        assert math.isnan(getattr(LensState.of_message(message, 3.0), field))


def test_values_that_lenses_have():
    for state in (STATE, LensState(math.inf), replace(STATE, focus_distance=math.inf, magnification=math.nan)):
        assert state.checked('a.yaml') is state
