"""Values of a focus motor against focus distances."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from dfd_ros.calibration.calibration_file import Calibration, read_focus_table
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import FocusDevice
from dfd_ros.core.optics import VergenceRange, distance, vergence

TOLERANCE = 0.05  # of the table's values: a motor rounds a value to its own steps
MIN_HYSTERESIS = 0.005  # of the table's values: less is not worth a way round
OVERSHOOT = 1.5  # times the hysteresis: the play is taken up for certain


class FocusTable:
    """Control values of a focus motor by focus distance, interpolated linearly in vergence.

    A motor step changes the vergence by about the same amount everywhere, so a few entries suffice. The file::

        focus_table:
        - {value: 0, focus_distance_m: .inf}
        - {value: 250, focus_distance_m: 0.1}
        focus: {hysteresis: 6}      # optional

    With a hysteresis, the values are those of a motor that comes from smaller ones; see `way_round`. The smallest are
    then out of range: they are for the way.

    Attributes:
        range: of focus distances (m).
    """

    def __init__(self, values: list[float], focus_distances: list[float], hysteresis: float = math.nan) -> None:
        """Two or more entries, monotonic, each distance (m) and each value only once. Raises InputError.

        hysteresis: in values, see `FocusMap`; NaN = not measured.
        """
        if len(values) < 2:
            raise InputError('focus table: expected two or more entries')
        entries = sorted(zip((vergence(float(d)) for d in focus_distances), values))
        self._vergence = np.array([entry[0] for entry in entries], float)
        self._values = np.array([entry[1] for entry in entries], float)
        if not np.isfinite(self._vergence).all():
            raise InputError('focus table: every focus_distance_m must be a positive number or .inf')
        if not np.isfinite(self._values).all():
            raise InputError('focus table: every value must be a finite number')
        steps = np.diff(self._values)
        if not (np.diff(self._vergence) > 0).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise InputError('focus table: the value must rise, or fall, with every step of focus_distance_m')
        low, high = self.limits
        if hysteresis < 0 or OVERSHOOT * hysteresis >= high - low:
            raise InputError(
                f'focus table: hysteresis {hysteresis:g}: must be from 0 to less than {(high - low) / OVERSHOOT:g}, so '
                f'that the table of {low:g} to {high:g} leaves room'
            )
        self._overshoot = OVERSHOOT * hysteresis if hysteresis >= MIN_HYSTERESIS * (high - low) else 0.0
        ends = [self.focus_distance(value) for value in (low + self._overshoot, high)]
        self.range = VergenceRange(min(ends), max(ends))

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value of the table."""
        return float(self._values.min()), float(self._values.max())

    @classmethod
    def load(cls, path: str | Path) -> FocusTable:
        """Reads a table from YAML. Raises InputError that names the file."""
        table = read_focus_table(path)
        try:
            return cls(list(table.values), list(table.focus_distances), table.hysteresis)
        except InputError as error:
            raise InputError(f'{path}: {error}') from None

    @classmethod
    def found(cls, path: str, calibration: Calibration) -> FocusTable | None:
        """The table of a file, else that of a calibration; None if there is neither. Raises as `load`.

        path: '' = no file.
        """
        if path:
            return cls.load(path)
        if calibration.focus is None:
            return None
        focus = calibration.focus
        return cls(list(focus.values), list(focus.focus_distances), focus.hysteresis)

    @classmethod
    def of_dioptres(cls, device: FocusDevice) -> FocusTable:
        """The table of a device whose values are dioptres. Raises InputError where they are not."""
        if device.dioptre_limits is None:
            raise InputError(
                f'{device.name}: needs a focus table, the values of its motor against focus distances: dfd calibrate '
                'focus makes one'
            )
        low, high = device.dioptre_limits
        return cls([low, high], [distance(low), distance(high)])

    def value(self, focus_distance: float) -> float:
        """The control value for a focus distance (m), clamped to the ends of the range."""
        return max(
            float(np.interp(vergence(focus_distance), self._vergence, self._values)), self.limits[0] + self._overshoot
        )

    def way_round(self, start: float, goal: float) -> float | None:
        """The control value to go to on the way from `start` to `goal`, so that the motor comes from smaller values;
        None: it does so anyway, or has no hysteresis that is known."""
        return goal - self._overshoot if self._overshoot and goal < start else None

    def focus_distance(self, value: float) -> float:
        """The focus distance (m) of a control value, clamped to the ends of the table."""
        order = np.argsort(self._values)
        return distance(float(np.interp(value, self._values[order], self._vergence[order])))

    @property
    def tolerance(self) -> float:
        """By how much the value that a motor has may differ from the one requested."""
        return TOLERANCE * float(np.ptp(self._values))
