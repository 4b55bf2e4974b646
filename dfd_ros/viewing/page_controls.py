"""The sliders of the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, distance
from dfd_ros.viewing.controls import Controls, Settings
from dfd_ros.viewing.page_plots import unit

if TYPE_CHECKING:
    import viser

STEPS = 200  # of a slider over vergence
MIN_RANGE = 0.05  # share of what the lens covers that the range has at least
MAX_STEPS = 30
DIGITS = 3  # of a vergence, after the point
MARKS = 2  # between the ends, and at them


class ControlPanel:
    """Sliders that show the settings and change them. They appear once the settings and the lens are known."""

    def __init__(self, server: viser.ViserServer, controls: Controls) -> None:
        self._controls = controls
        self._folder = server.gui.add_folder('controls')
        self._gui = server.gui
        self._server = server
        self._limits: VergenceRange | None = None
        self._can_focus, self._is_metric = False, True
        self._shown: Settings | None = None
        self._parts: list[Any] = []
        with self._folder:
            self._waiting = server.gui.add_html(
                '<div style="padding:0.2rem 0.6rem;opacity:0.65;font-size:0.8rem">waiting for the camera</div>'
            )

    def show(self) -> None:
        """Shows the current settings. Call it regularly: others may change them."""
        settings, limits = self._controls.settings, self._controls.limits
        if settings is None or limits is None or not limits.width > 0:
            return
        controls = self._controls
        if (limits, controls.can_focus, controls.is_metric) != (self._limits, self._can_focus, self._is_metric):
            self._build(settings, limits)
        elif settings != self._shown:
            self._fill(settings)
        self._shown = settings

    def _build(self, settings: Settings, limits: VergenceRange) -> None:
        for part in self._parts:
            part.remove()
        self._waiting.visible = False
        self._limits = limits
        gui = self._gui
        low, high = 1 / limits.far, 1 / limits.near
        step = (high - low) / STEPS
        self._is_metric = self._controls.is_metric
        places = [low + (high - low) * i / MARKS for i in range(MARKS + 1)]
        marks = tuple((v, _short(distance(v)) if self._is_metric else f'{v:.2g}') for v in places)
        scale = 'vergence, which is 1 / distance' if self._is_metric else 'the order of focus'
        with self._folder:
            self._confidence = gui.add_slider(
                'confidence', 0.0, 1.0, 0.01, settings.confidence, hint='Depth of less confidence is not shown.'
            )
            self._range = gui.add_multi_slider(
                f'range {unit(self._is_metric)}',
                low,
                high,
                step,
                self._inside(settings.range),
                min_range=MIN_RANGE * (high - low),
                marks=marks,
                hint=f'What the sweep covers, in {scale}.',
            )
        self._range.precision = DIGITS
        self._parts = [self._confidence, self._range]
        self._confidence.on_update(lambda event: self._change(event, confidence=self._confidence.value))
        self._range.on_update(self._on_range)
        self._can_focus = self._controls.can_focus
        if self._can_focus:
            self._build_focus(settings, marks, scale)

    def _build_focus(self, settings: Settings, marks: tuple[tuple[float, str], ...], scale: str) -> None:
        gui = self._gui
        assert self._limits is not None
        low, high = 1 / self._limits.far, 1 / self._limits.near
        with self._folder:
            self._sweeping = gui.add_checkbox('sweep', settings.sweeping, hint='Off: the focus rests.')
            self._pattern = gui.add_dropdown(
                'pattern', self._controls.patterns, initial_value=settings.pattern, hint='Order of the foci.'
            )
            self._steps = gui.add_slider(
                'steps', 2, max(MAX_STEPS, settings.steps), 1, settings.steps, hint='Foci from one end to the other.'
            )
            self._focus = gui.add_slider(
                f'focus {unit(self._is_metric)}',
                low,
                high,
                (high - low) / STEPS,
                self._vergence(settings.focus),
                marks=marks,
                hint=f'Rests the focus there, in {scale}.',
            )
        self._focus.precision = DIGITS
        self._parts += [self._sweeping, self._pattern, self._steps, self._focus]
        self._sweeping.on_update(lambda event: self._change(event, sweeping=self._sweeping.value))
        self._pattern.on_update(lambda event: self._change(event, pattern=self._pattern.value))
        self._steps.on_update(lambda event: self._change(event, steps=int(self._steps.value)))
        self._focus.on_update(
            lambda event: self._change(event, focus=self._distance(self._focus.value), sweeping=False)
        )

    def _fill(self, settings: Settings) -> None:
        values: list[tuple[Any, Any]] = [
            (self._confidence, settings.confidence),
            (self._range, self._inside(settings.range)),
        ]
        if self._can_focus:
            values += [
                (self._sweeping, settings.sweeping),
                (self._pattern, settings.pattern),
                (self._steps, settings.steps),
                (self._focus, self._vergence(settings.focus)),
            ]
        for part, value in values:
            if part.value != value:
                part.value = value

    def _on_range(self, event: viser.GuiEvent) -> None:
        low, high = self._range.value
        self._change(event, range=VergenceRange(self._distance(high), self._distance(low)))

    def _change(self, event: viser.GuiEvent, **changes: Any) -> None:
        if event.client is None:  # it was set here
            return
        try:
            self._controls.change(**changes)
        except InputError as error:
            event.client.add_notification('Not possible', str(error), color='red', auto_close_seconds=8)
            if (settings := self._controls.settings) is not None:
                self._fill(settings)

    def _vergence(self, metres: float) -> float:
        assert self._limits is not None
        return min(max(1 / metres if metres > 0 else 0.0, 1 / self._limits.far), 1 / self._limits.near)

    def _inside(self, range_: VergenceRange) -> tuple[float, float]:
        return self._vergence(range_.far), self._vergence(range_.near)

    def _distance(self, vergence: float) -> float:
        """m; at its ends exactly the limits of the lens, which the steps of a slider miss."""
        assert self._limits is not None
        slack = self._limits.width / STEPS / 2
        if vergence > 1 / self._limits.near - slack:
            return self._limits.near
        return self._limits.far if vergence < 1 / self._limits.far + slack else distance(vergence)


def _short(metres: float) -> str:
    return '∞' if math.isinf(metres) else f'{metres:.2g} m'
