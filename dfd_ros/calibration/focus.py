"""The focus map: the focus distance for each control value of the focus motor.

Each sweep sees a target at one known distance; the control value of its sharpest image is a point of the map. Where
some sweeps have rising values and others falling ones, the difference is the hysteresis of the motor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfd_ros.calibration.board import Board, opencv
from dfd_ros.calibration.calibration_file import CameraModel, FocusMap
from dfd_ros.calibration.recorded_sweep import Sweep, sharpest_value
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import distance, vergence

ENTRIES = 9  # of the table that is written
MAX_RESIDUAL = 0.1  # of the span in vergence
STRETCH = 0.25  # of the span in vergence: largest extension of the map to infinity


@dataclass(frozen=True)
class SweepPeak:
    """The result of one sweep."""

    name: str
    values: np.ndarray
    sharpness: np.ndarray
    """(T,) relative to the largest."""
    value: float
    """Control value at which the target is sharpest."""
    distance: float
    """m, of the target."""
    falling: bool = False
    """Whether the motor went from large values to small ones."""


def sharpness(image: np.ndarray) -> float:
    """Gradient energy of the middle of an image (H, W, 3) uint8, relative to its brightness: Tenengrad of

    Krotkov, "Focusing", IJCV 1988, on an image smoothed by one pixel so that noise does not count.
    """
    cv2 = opencv()
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    h, w = grey.shape
    grey = grey[h // 8 : h - h // 8, w // 8 : w - w // 8]
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1)))
    return float((gx * gx + gy * gy).mean() / max(float(grey.mean()), 1.0) ** 2)


def peak_of(sweep: Sweep, board: Board | None = None, camera: CameraModel | None = None) -> SweepPeak:
    """The sharpest control value of a sweep, and its target's distance: from the sweep, otherwise from the board.

    Raises `InputError` if the sweep is never sharp or the distance is unknown.
    """
    contrast = np.array([sharpness(image) for image in sweep.images])
    value = sharpest_value(sweep.values, contrast, sweep.name)
    target = sweep.distance
    if not target > 0:
        target = _distance_of_board(sweep, contrast, board, camera)
    return SweepPeak(sweep.name, sweep.values, contrast / contrast.max(), value, target, sweep.falling)


def _distance_of_board(sweep: Sweep, contrast: np.ndarray, board: Board | None, camera: CameraModel | None) -> float:
    """Mean depth of the board in the sharpest image."""
    if board is None or camera is None:
        raise InputError(
            f'{sweep.name}: distance_m is not given, and measuring it on a board needs the intrinsics of '
            'the focus camera; run dfd calibrate intrinsics first'
        )
    image = sweep.images[int(np.argmax(contrast))]
    view = board.find(image, sweep.name)
    if view is None:
        raise InputError(
            f'{sweep.name}: distance_m is not given, and the sharpest image does not show the board; give distance_m'
        )
    cv2 = opencv()
    camera = camera.resized(image.shape[1], image.shape[0])
    corners, distortion = camera.for_opencv(view.corners)
    _, turn, shift = cv2.solvePnP(view.points, corners, camera.matrix, distortion)
    depths = (view.points @ cv2.Rodrigues(turn)[0].T + shift.reshape(3))[:, 2]
    # Sharpness is measured in the middle of the image, which the board should fill.
    return float(1 / np.mean(1 / depths))


def fit_focus_map(peaks: Sequence[SweepPeak], to_infinity: bool = False) -> FocusMap:
    """A monotone map through the peaks: a straight line in vergence, a parabola from four distances on.

    By the thin-lens equation a lens barrel moves in proportion to vergence; motors deviate slightly. `to_infinity`
    extends the map from the farthest distance to infinity. With peaks of both directions, the map is that of rising
    values, and those of falling ones are less by the hysteresis. Raises `InputError` if the distances are too few or
    too similar, or if no monotone map fits.
    """
    at = np.array([vergence(peak.distance) for peak in peaks])
    values = np.array([peak.value for peak in peaks])
    if len(peaks) < 2 or np.ptp(at) < 0.05:
        raise InputError(
            f'focus: {len(peaks)} sweeps over {np.ptp(at) if len(at) else 0:.2f} dioptres, at least two '
            'with targets at clearly different distances are needed'
        )
    far, near, span = at.min(), at.max(), np.ptp(at)
    if to_infinity:
        if far > STRETCH * span:
            raise InputError(
                f'focus: the farthest target is at {distance(far):.2f} m, too near to extend the map '
                f'to infinity; sweep over one at {distance(STRETCH / (1 + STRETCH) * near):.2f} m or '
                'farther'
            )
        far = 0.0
    falling = np.array([peak.falling for peak in peaks])
    hysteresis, degree = math.nan, 2 if len(np.unique(at)) >= 4 else 1
    if falling.any() and not falling.all():
        columns = np.column_stack([at[:, None] ** np.arange(degree + 1), -falling.astype(float)])
        hysteresis = float(np.linalg.lstsq(columns, values, rcond=None)[0][-1])
        values = values + hysteresis * falling
    curve = np.polynomial.Polynomial.fit(at, values, degree)
    ends = curve.deriv()(np.array([far, near]))
    if not (ends * np.sign(ends[0])).min() > 1e-6 * max(np.abs(values).max(), 1.0) / span:
        raise InputError(
            'focus: the control value does not rise or fall monotonically with the focus distance; ' + _listed(peaks)
        )
    # Error of the map in vergence: the error of the value divided by the slope.
    errors = (values - curve(at)) / curve.deriv()(at)
    residual = float(np.sqrt((errors**2).mean()))
    if residual > MAX_RESIDUAL * span:
        raise InputError(
            f'focus: the sweeps are {residual:.2f} dioptres off any monotone map; a distance is wrong, or '
            'the motor does not return to its positions; ' + _listed(peaks)
        )
    grid = np.linspace(far, near, ENTRIES)
    distances = tuple(distance(float(v)) for v in grid)
    return FocusMap(tuple(float(v) for v in curve(grid)), distances, residual, len(peaks), max(hysteresis, 0.0))


def _listed(peaks: Sequence[SweepPeak]) -> str:
    ordered = sorted(peaks, key=lambda peak: peak.distance)
    return 'found: ' + ', '.join(f'{peak.distance:.3g} m at {peak.value:.4g}' for peak in ordered)
