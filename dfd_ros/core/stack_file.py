"""What a stack.yaml says, by `dfd_ros.core.parsing`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dfd_ros.core.constraints import Finite, Unknown

Distance = Annotated[float, Field(gt=0), Unknown]
"""m; infinity allowed."""
Number = Annotated[float, Field(gt=0, allow_inf_nan=False), Unknown]


@dataclass(frozen=True)
class LensEntry:
    focal_length_mm: Number = math.nan
    f_number: Number = math.nan
    sensor_width_mm: Number = math.nan
    near_m: Number = math.nan
    far_m: Distance = math.nan


@dataclass(frozen=True)
class FrameEntry:
    file: Annotated[str, Field(min_length=1)]
    focus_distance_m: Distance = math.nan
    magnification: Number = math.nan
    stamp_s: Annotated[Finite, Unknown] = math.nan


@dataclass(frozen=True)
class StackFile:
    frames: Annotated[list[FrameEntry], Field(min_length=1)]
    lens: LensEntry | None = None
    order: Literal['far_to_near', 'near_to_far'] | None = None
    depth: str | None = None
