"""The pictures of the page: image, depth, circle of confusion, confidence and all-in-focus image, with their scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dfd_ros.drawing import visualise
from dfd_ros.drawing.visualise import Bar
from dfd_ros.viewing.viewed_frame import ViewedFrame

if TYPE_CHECKING:
    import viser

MAX_WIDTH, MIN_WIDTH = 480, 300  # px
QUALITY = 80  # of JPEG
EMPTY = np.full((3, 4, 3), visualise.NO_VALUE, np.uint8)
CROSS = (255, 255, 255)
COC_DECAY = 0.98  # a frame
TITLES = {
    'image': 'image',
    'depth': 'depth',
    'confidence': 'confidence',
    'coc': 'circle of confusion',
    'all_in_focus': 'all in focus',
}


def sized(image: np.ndarray) -> np.ndarray:
    """An image or a map in a size that fills its column. A map keeps values of pixels: a mean across an edge would be a
    depth that is not in the scene."""
    height, width = image.shape[:2]
    if width > MAX_WIDTH:
        factor = -(-width // MAX_WIDTH)  # whole: OpenCV averages in a tenth of the time
        size = max(1, width // factor), max(1, height // factor)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.ndim == 3 else cv2.INTER_NEAREST)
    factor = -(-MIN_WIDTH // width)
    if factor == 1:
        return image
    return cv2.resize(image, (factor * width, factor * height), interpolation=cv2.INTER_NEAREST)


class Colours:
    """The colour scales. That of the circle of confusion follows the largest of the last frames, in steps."""

    def __init__(self) -> None:
        self.largest_coc = 1.0
        self._peak = 0.0

    def picture(self, name: str, frame: ViewedFrame) -> np.ndarray | None:
        """(h, w, 3) uint8; None = there is nothing to show."""
        if name == 'depth':
            depth = frame.shown_depth
            return None if depth is None or frame.range is None else visualise.depth_picture(sized(depth), frame.range)
        values = getattr(frame, name)
        if values is None:
            return None
        small = sized(values)
        if name == 'confidence':
            return visualise.confidence_picture(small)
        if name == 'coc':
            known = small[::4, ::4]
            known = known[np.isfinite(known)]
            if known.size:
                # It grows at once and shrinks slowly: the largest of a sweep comes at the ends of the range alone.
                self._peak = max(float(np.quantile(known, 0.98)), COC_DECAY * self._peak)
                self.largest_coc = visualise.nice_limit(np.array([self._peak]))
            return visualise.coc_picture(small, self.largest_coc)
        return small


def bar_of(name: str, frame: ViewedFrame, largest_coc: float) -> Bar | None:
    """The legend of a picture; None = it needs none."""
    if name == 'depth':
        if not frame.is_metric:
            return Bar.relative_depth()
        return None if frame.range is None else Bar.depth(frame.range)
    if name == 'coc':
        return Bar.linear('magma', largest_coc, 'px')
    return Bar.linear('viridis', 1.0) if name == 'confidence' else None


def caption(title: str, bar: Bar | None, note: str = '') -> str:
    """HTML above a picture: its title, and its legend."""
    head = (
        '<div style="display:flex;justify-content:space-between;font-size:0.8rem;padding:0.35rem 1rem 0.15rem 0.6rem">'
        f'<span style="font-weight:600">{title}</span><span style="opacity:0.65">{note}</span></div>'
    )
    if bar is None:
        return head
    stops = visualise.colour(np.linspace(0, 1, 17)[None], bar.colour_map)[0]
    gradient = ','.join(f'rgb({r},{g},{b})' for r, g, b in stops.tolist())
    labels = ''.join(f'<span>{label}</span>' for _, label in bar.ticks[:-1])
    last = f'<span>{bar.ticks[-1][1]}{f" {bar.unit}" if bar.unit else ""}</span>'
    return (
        f'{head}<div style="margin:0 1rem 0 0.6rem;height:0.4rem;border-radius:0.2rem;'
        f'background:linear-gradient(90deg,{gradient})"></div>'
        '<div style="display:flex;justify-content:space-between;margin:0 1rem 0.2rem 0.6rem;font-size:0.7rem;'
        f'opacity:0.65">{labels}{last}</div>'
    )


@dataclass
class _Slot:
    caption: viser.GuiHtmlHandle
    picture: viser.GuiImageHandle
    text: str = ''


class Pictures:
    """The pictures as elements of the page."""

    def __init__(self) -> None:
        self._colours = Colours()
        self._slots: dict[str, _Slot] = {}

    def add(self, gui: viser.GuiApi, name: str) -> None:
        """Adds a picture to the container that is open."""
        text = caption(TITLES[name], None, 'waiting')
        self._slots[name] = _Slot(gui.add_html(text), gui.add_image(EMPTY, format='jpeg', jpeg_quality=QUALITY), text)

    def show(self, frame: ViewedFrame, marked: tuple[int, int] | None, notes: Callable[[str], str]) -> None:
        """`marked`: a pixel (x, y) of the image; notes: beside the title of a picture, by its name."""
        width = frame.image.shape[1]
        for name, slot in self._slots.items():
            picture = self._colours.picture(name, frame)
            note = notes(name) if picture is not None else 'none'
            text = caption(TITLES[name], bar_of(name, frame, self._colours.largest_coc), note)
            if text != slot.text:
                slot.text = slot.caption.content = text
            if picture is None:
                continue
            if marked is not None:
                scale = picture.shape[1] / width
                picture = _crossed(picture, round(marked[0] * scale), round(marked[1] * scale))
            slot.picture.image = np.ascontiguousarray(picture)


def _crossed(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """A copy with a cross at (x, y)."""
    picture = picture.copy()
    for colour, thickness in (((0, 0, 0), 3), (CROSS, 1)):
        for (x0, y0), (x1, y1) in (((-9, 0), (-3, 0)), ((3, 0), (9, 0)), ((0, -9), (0, -3)), ((0, 3), (0, 9))):
            cv2.line(picture, (x + x0, y + y0), (x + x1, y + y1), colour, thickness, cv2.LINE_AA)
    return picture
