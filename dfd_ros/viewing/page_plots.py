"""The plots of the page: the sweep over time, and the evidence of a point over vergence."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from dfd_ros.core.optics import vergence
from dfd_ros.viewing.evidence_curve import EvidenceCurve
from dfd_ros.viewing.viewed_frame import ViewedFrame

if TYPE_CHECKING:
    import viser.uplot

SPAN = 20.0  # s of the sweep that are shown
PERIOD = 0.2  # s between two drawings of a plot
ORANGE, BLUE, GREY = '#ffaa3c', '#5db2ff', '#8a919e'
HEIGHT = 150  # px


def axes(x: str, y: str) -> tuple[viser.uplot.Axis, ...]:
    """With these labels."""
    style: viser.uplot.Axis = {
        'stroke': GREY,
        'grid': {'stroke': 'rgba(138,145,158,0.2)', 'width': 1},
        'ticks': {'show': False},
    }
    return (
        {**style, 'label': x, 'labelSize': 18, 'labelFont': '11px sans-serif', 'size': 28, 'font': '11px sans-serif'},
        {**style, 'label': y, 'labelSize': 16, 'labelFont': '11px sans-serif', 'size': 34, 'font': '11px sans-serif'},
    )


def unit(is_metric: bool) -> str:
    """Of vergence in a label."""
    return '(1/m)' if is_metric else '(0 far, 1 near)'


class SweepPlot:
    """Where the focus is and was: vergence over the last seconds."""

    def __init__(self, gui: viser.GuiApi) -> None:
        self._foci: deque[tuple[float, float]] = deque(maxlen=1000)
        self._drawn = 0.0
        self._is_metric = True
        self._limits = (0.0, 1.0)
        empty = np.zeros(1)
        self._plot = gui.add_uplot(
            (empty, empty),
            (
                {'label': 's'},
                {'label': 'focus', 'stroke': ORANGE, 'width': 1.5, 'points': {'show': True, 'size': 4, 'fill': ORANGE}},
            ),
            axes=axes('time (s)', 'focus (1/m)'),
            scales=self._scales(),
            legend={'show': False},
            height=HEIGHT,
        )

    def _scales(self) -> dict:
        return {'x': {'time': False, 'range': (-SPAN, 0.0)}, 'y': {'range': self._limits}}

    def push(self, frame: ViewedFrame) -> None:
        """Adds the focus of a frame, and redraws if that is due."""
        now = time.monotonic()
        range_ = frame.range
        if frame.is_metric != self._is_metric:  # another scene
            self._is_metric = frame.is_metric
            self._foci.clear()
            self._plot.axes = axes('time (s)', f'focus {unit(frame.is_metric)}')
        if frame.focus_distance > 0:
            self._foci.append((now, vergence(frame.focus_distance)))
        if now - self._drawn < PERIOD or not self._foci:
            return
        self._drawn = now
        times, foci = np.array([item for item in list(self._foci) if now - item[0] <= SPAN] or [(now, np.nan)]).T
        low, high = float(np.nanmin(foci)), float(np.nanmax(foci))
        if range_ is not None:
            low, high = min(low, 1 / range_.far), max(high, 1 / range_.near)
        margin = max(0.05 * (high - low), 0.01)
        limits = (round(low - margin, 2), round(high + margin, 2))
        if limits != self._limits:
            self._limits = limits
            self._plot.scales = self._scales()
        self._plot.data = (times - now, foci)


class EvidencePlot:
    """The evidence of one point: its sharpness at each focus, and the estimate with its uncertainty."""

    def __init__(self, gui: viser.GuiApi) -> None:
        self._drawn = 0.0
        self._is_metric = True
        self._limits = (0.0, 1.0)
        empty = np.zeros(1)
        self._plot = gui.add_uplot(
            (empty, empty, empty),
            (
                {'label': 'vergence'},
                {'label': 'sharpness', 'stroke': BLUE, 'width': 1.5, 'points': {'show': False}},
                {'label': 'estimate', 'stroke': ORANGE, 'width': 2, 'points': {'show': False}},
            ),
            axes=axes('vergence (1/m)', 'relative'),
            scales=self._scales(),
            legend={'show': True},
            height=HEIGHT + 30,
            visible=False,
        )

    def _scales(self) -> dict:
        return {'x': {'time': False, 'range': self._limits}, 'y': {'range': (0.0, 1.05)}}

    def show(self, is_shown: bool) -> None:
        """Whether there is anything to plot."""
        if self._plot.visible != is_shown:
            self._plot.visible = is_shown

    def draw(self, curve: EvidenceCurve, is_metric: bool, at_once: bool = False) -> None:
        """Draws a curve if that is due, or `at_once`."""
        now = time.monotonic()
        if now - self._drawn < PERIOD and not at_once:
            return
        self._drawn = now
        if is_metric != self._is_metric:
            self._is_metric = is_metric
            self._plot.axes = axes(f'vergence {unit(is_metric)}', 'relative')
        limits = (float(curve.vergence[0]), float(curve.vergence[-1]))
        if limits != self._limits and limits[0] < limits[1]:
            self._limits = limits
            self._plot.scales = self._scales()
        self._plot.data = (curve.vergence, curve.sharpness, curve.estimate)
