"""The numbers by which a driver sets the focus, and the focus distances that they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, distance, vergence

TOLERANCE = 0.01  # of the range of values: below it a lens counts as being where it is wanted
COARSE = 0.05  # of the range: the steps to which a motor may round


@dataclass(frozen=True)
class Limits:
    """What a driver takes: its limits (infinite: it does not say), and of the values between them `origin` and what is
    a multiple of `step` away from it (0: all)."""

    minimum: float = -math.inf
    maximum: float = math.inf
    step: float = 0.0
    origin: float = 0.0

    def within(self, minimum: float | None, maximum: float | None) -> Limits:
        """Narrower limits where those are given."""
        low = self.minimum if minimum is None else max(self.minimum, minimum)
        high = self.maximum if maximum is None else min(self.maximum, maximum)
        return replace(self, minimum=low, maximum=high)


class FocusScale:
    """Focus distance (m) to value and back. Values are clamped to the limits of the driver."""

    def __init__(self, unit: str, limits: Limits, table: FocusTable | None = None) -> None:
        """`unit`: dioptre, metre, table. Raises InputError where the range is not known, or not possible."""
        self._unit = unit
        self._table = table if unit == 'table' else None
        self._step, self._origin = limits.step, limits.origin
        if unit == 'table':
            if table is None:
                raise InputError('the unit is table, and there is no focus table')
            low, high = table.limits
            if low < limits.minimum or high > limits.maximum:
                raise InputError(
                    f'the focus table has values from {low:g} to {high:g}, and the driver takes {limits.minimum:g} to '
                    f'{limits.maximum:g}: measure the table with this driver'
                )
            low = min(table.value(table.range.near), table.value(table.range.far))
        else:
            low, high = limits.minimum, limits.maximum
            if unit == 'metre':
                low = max(low, 0.0)
            endless = math.isinf(high) and (unit == 'dioptre' or self._step > 0)  # no multiple of a step is infinite
            if not low < high or endless or (unit == 'metre' and low <= 0):
                raise InputError(
                    f'the limits of the focus are {low:g} to {high:g} {unit}: give command: minimum and maximum in the '
                    'driver file'
                )
        if self._step:
            first, last = math.ceil((low - self._origin) / self._step), math.floor((high - self._origin) / self._step)
            if last <= first:
                raise InputError(
                    f'the driver takes steps of {self._step:g} from {self._origin:g}: fewer than two of them lie from '
                    f'{low:g} to {high:g}, the limits of the focus'
                )
        self.minimum, self.maximum = low, high
        near, far = self.distance(low), self.distance(high)
        self.range = table.range if unit == 'table' and table else VergenceRange(min(near, far), max(near, far))

    def value(self, focus_distance: float) -> float:
        """The value to send for a distance (m, inf allowed), clamped. Raises InputError for no distance."""
        if not focus_distance > 0:
            raise InputError(f'focus command: focus distance {focus_distance} m must be positive (inf for infinity)')
        if self._table is not None:
            value = self._table.value(focus_distance)
        else:
            value = vergence(focus_distance) if self._unit == 'dioptre' else focus_distance
        value = min(max(value, self.minimum), self.maximum)
        if not self._step:
            return value
        value = self._origin + self._step * round((value - self._origin) / self._step)
        # The ends of a table and narrower limits need not be multiples.
        return value - self._step if value > self.maximum else value + self._step if value < self.minimum else value

    def way_round(self, start: float, goal: float) -> float | None:
        """As `FocusTable.way_round`."""
        before = self._table.way_round(start, goal) if self._table else None
        if before is None or not self._step:
            return before
        return self._origin + self._step * math.floor((before - self._origin) / self._step)

    def distance(self, value: float) -> float:
        """The focus distance (m) of a value."""
        if self._table is not None:
            return self._table.focus_distance(value)
        if self._unit == 'dioptre':
            return distance(max(value, 0.0))  # below 0 lies beyond infinity
        return value

    @property
    def tolerance(self) -> float:
        """By how much two values may differ that mean the same focus."""
        span = self.maximum - self.minimum
        return max(TOLERANCE * span if math.isfinite(span) else 0.0, 0.5 * self._step)

    @property
    def rounding(self) -> float:
        """By how much the value that a driver has taken may differ from the one that was sent."""
        return max(self.tolerance, COARSE * (self.maximum - self.minimum))
