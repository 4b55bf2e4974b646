"""The point that was clicked: its distance, confidence and evidence."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dfd_ros.viewing.evidence_curve import evidence_curve
from dfd_ros.viewing.page_plots import EvidencePlot
from dfd_ros.viewing.sharpness_history import SharpnessHistory
from dfd_ros.viewing.viewed_frame import ViewedFrame

if TYPE_CHECKING:
    import viser

LABEL = 'pixel x, y'
HINT = (
    '<div style="padding:0.2rem 0.6rem;opacity:0.65;font-size:0.8rem">Click in a picture or on a point of the cloud.'
    '</div>'
)
# viser reports no clicks on pictures, so the page types where a picture was clicked into the field `LABEL`: in shares,
# since pictures are reduced.
ON_CLICK = """
if (!window.dfdListens) {
  window.dfdListens = true;
  document.addEventListener('pointerdown', function (event) {
    const picture = event.target;
    if (event.button !== 0 || picture.tagName !== 'IMG') return;
    const box = picture.getBoundingClientRect();
    if (box.width < 16) return;
    const label = Array.from(document.querySelectorAll('label')).find((l) => l.textContent.trim() === 'LABEL');
    let row = label;
    while (row && !row.querySelector('input')) row = row.parentElement;
    if (!row) return;
    const field = row.querySelector('input');
    const x = 100 * (event.clientX - box.left) / box.width, y = 100 * (event.clientY - box.top) / box.height;
    const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
    setter.call(field, x.toFixed(3) + '%, ' + y.toFixed(3) + '%');
    field.dispatchEvent(new Event('input', {bubbles: true}));
  });
}
""".replace('LABEL', LABEL)
# Browsers run no scripts in HTML that is added later, but the handler of an image that cannot be loaded.
LISTENER = f'<img src="data:," style="display:none" onerror="{html.escape(ON_CLICK)}">'


def pixel_of(text: str, height: int, width: int) -> tuple[int, int] | None:
    """The pixel (x, y) that a text such as `320, 240` or `50%, 50%` names; None = it names none of the image."""
    match = re.fullmatch(r'\s*(\d{1,5}(?:\.\d*)?)\s*(%?)\s*[,; ]\s*(\d{1,5}(?:\.\d*)?)\s*(%?)\s*', text)
    if match is None:
        return None
    found = []
    for number, share, size in ((match[1], match[2], width), (match[3], match[4], height)):
        at = int(float(number) / 100 * size) if share else int(float(number))
        found.append(min(at, size - 1) if share and float(number) <= 100 else at)
    x, y = found
    return (x, y) if 0 <= x < width and 0 <= y < height else None


class Point:
    """The part of the page about one pixel."""

    def __init__(self, gui: viser.GuiApi, on_change: Callable[[], None]) -> None:
        """`on_change`: called when another pixel was chosen."""
        self._shape = (1, 1)
        self._on_change = on_change
        self.chosen: tuple[int, int] | None = None
        """(x, y) of the image."""
        self.history = SharpnessHistory()
        gui.add_html(LISTENER)
        self._field = gui.add_text(LABEL, '', hint='A pixel of the image. A click in a picture fills it in.')
        self._reading = gui.add_html(HINT)
        self._text = HINT
        self._plot = EvidencePlot(gui)
        self._field.on_update(self._on_field)

    def _on_field(self, event: viser.GuiEvent) -> None:
        if event.client is None:  # it was set here
            return
        text = self._field.value
        if not text.strip():
            self.choose(None)
        elif (pixel := pixel_of(text, *self._shape)) is not None:
            self.choose(pixel)

    def choose(self, pixel: tuple[int, int] | None) -> None:
        """Another pixel (x, y); None: none."""
        self.chosen = pixel
        text = '' if pixel is None else f'{pixel[0]}, {pixel[1]}'
        if self._field.value != text:
            self._field.value = text  # type: ignore[misc]  # viser's annotations lack the setter
        self._on_change()

    def push(self, frame: ViewedFrame) -> None:
        """Adds a new frame to the history of the sharpness."""
        self._shape = frame.image.shape[0], frame.image.shape[1]
        self.history.push(frame.image, frame.focus_distance)

    def show(self, frame: ViewedFrame, at_once: bool = False) -> tuple[np.ndarray | None, str]:
        """Shows the pixel. Returns its position in space (3,) m, None if unknown, and its label."""
        height, width = frame.image.shape[:2]
        is_chosen = self.chosen is not None and self.chosen[0] < width and self.chosen[1] < height
        self._plot.show(is_chosen)
        if self.chosen is None or not is_chosen:
            self._say(HINT)
            return None, ''
        x, y = self.chosen
        distance, confidence, coc = (
            math.nan if map_ is None else float(map_[y, x]) for map_ in (frame.depth, frame.confidence, frame.coc)
        )
        is_shown = not math.isnan(distance) and not confidence < frame.threshold
        place = frame.place(distance) + ('' if frame.is_metric else ' (0 far, 1 near)')
        self._say(reading(distance, place, confidence, coc, is_shown, frame.threshold))
        if frame.range is not None:
            foci, sharpness = self.history.at(x, y)
            curve = evidence_curve(foci, sharpness, frame.range, distance, confidence)
            self._plot.draw(curve, frame.is_metric, at_once)
        if not is_shown:
            return None, ''
        depth = frame.in_space.depth
        assert depth is not None
        camera, z = frame.camera, float(depth[y, x])
        if math.isinf(z):
            return None, ''
        return np.array([(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z]), frame.place(distance)

    def _say(self, text: str) -> None:
        if text != self._text:
            self._text = self._reading.content = text


def reading(distance: float, place: str, confidence: float, coc: float, is_shown: bool, threshold: float) -> str:
    """HTML: what is known of a pixel. place: the distance as text."""
    if is_shown:
        main = place
    elif not math.isnan(distance):
        main = f'<span title="below the threshold {threshold:.2f}">{place}, not confident</span>'
    else:
        main = 'distance unknown'
    parts = [
        f'{name} {value:.{digits}f}{unit}'
        for name, value, digits, unit in (('confidence', confidence, 2, ''), ('blur', coc, 1, ' px'))
        if not math.isnan(value)
    ]
    return (
        f'<div style="padding:0.2rem 0.6rem"><span style="font-size:1.3rem;font-weight:600">{main}</span><br>'
        f'<span style="opacity:0.65;font-size:0.8rem">{" &middot; ".join(parts)}</span></div>'
    )
