"""The column of the page about a training run: the curves of its log and its validation picture."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import read_image
from dfd_ros.viewing.page_plots import BLUE, HEIGHT, ORANGE, axes
from dfd_ros.viewing.training_run import TrainingRun

if TYPE_CHECKING:
    import viser

PERIOD = 5.0  # s between two looks at the files
POINTS = 500  # of a curve
GROUPS = {'training': BLUE, 'validation': ORANGE}


class Curve:
    """A figure of a group over the steps, chosen by its name."""

    def __init__(self, gui: viser.GuiApi, run: TrainingRun, group: str) -> None:
        self._run, self._group = run, group
        names = [name.removeprefix(f'{group} ') for name in run.curves if name.startswith(f'{group} ')] or ['loss']
        chosen = next((name for name in names if name not in ('hours', 'step')), names[0])
        self._name = gui.add_dropdown(group, tuple(names), initial_value=chosen)
        self._name.on_update(lambda _: self.draw())
        self._plot = gui.add_uplot(
            (np.zeros(1), np.zeros(1)),
            ({'label': 'step'}, {'label': group, 'stroke': GROUPS[group], 'width': 1.5}),
            axes=axes('step', ''),
            scales={'x': {'time': False}},
            legend={'show': True},
            height=HEIGHT + 30,
        )
        self.draw()

    def draw(self) -> None:
        """Draws the curve as it is now."""
        curve = np.array(self._run.curves.get(f'{self._group} {self._name.value}', [(0.0, np.nan)]))
        # Of the last step backwards, so that the newest is always there.
        curve = curve[:: -max(1, -(-len(curve) // POINTS))][::-1]
        self._plot.data = (np.ascontiguousarray(curve[:, 0]), np.ascontiguousarray(curve[:, 1]))


class RunPanel:
    """Follows the files of a run."""

    def __init__(self, gui: viser.GuiApi, run: TrainingRun) -> None:
        self._run, self._gui = run, gui
        self._looked, self._drawn = time.monotonic(), 0.0
        run.read_log()
        gui.add_html(
            '<div style="padding:0.2rem 0.6rem;font-size:0.8rem">depth is estimated with '
            f'<b>the best weights, of step {run.weights_step}</b></div>'
        )
        self._curves = [Curve(gui, run, group) for group in GROUPS]
        self._picture: Any = gui.add_image(np.zeros((1, 1, 3), np.uint8), label='validation', visible=False)
        self._show_picture()

    def refresh(self) -> None:
        """Shows what the training has written since, if it is time to look."""
        now = time.monotonic()
        if now - self._looked < PERIOD:
            return
        self._looked = now
        with contextlib.suppress(InputError, OSError):  # removed meanwhile: the last state remains
            if self._run.read_log():
                for curve in self._curves:
                    curve.draw()
            self._show_picture()

    def _show_picture(self) -> None:
        path = self._run.picture
        written = path.stat().st_mtime if path.exists() else 0.0
        if written == self._drawn:
            return
        self._drawn = written
        self._picture.image = read_image(path)
        self._picture.visible = True
