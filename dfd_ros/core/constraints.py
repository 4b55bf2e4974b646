"""Constraints of settings, which `dfd_ros.core.parsing` checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, WrapValidator

Number = TypeVar('Number')


def _ordered(pair: tuple) -> tuple:
    if not pair[0] <= pair[1]:
        raise ValueError(f'{pair} is not a pair of minimum and maximum')
    return pair


def _nan_where_null(value: Any, validate: Callable[[Any], float]) -> float:
    return math.nan if value is None else validate(value)


Unknown = WrapValidator(_nan_where_null)
"""Of a number that may be null, which is NaN: not known."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Pair = Annotated[tuple[Number, Number], AfterValidator(_ordered)]
"""Minimum and maximum, such as ``Pair[Share]``."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Of an image, px."""
Frames = Annotated[int, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=0, le=1000)]
Motion = Annotated[float, Field(ge=0, le=1000)]
"""px."""
Size = Annotated[float, Field(gt=0, le=10)]
"""A share of the image's shorter side."""
