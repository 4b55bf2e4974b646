"""Pictures of depth, circle of confusion, confidence and error, alone and side by side.

Every function returns (H, W, 3) uint8 RGB. Depth is coloured by vergence, as in the networks and the optics:
blue at the far end of the range, red at the near end, dark grey for missing values. Only text and
resizing need Pillow.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfd_ros.core.files import written_atomically
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.optics import VergenceRange

NO_VALUE = (44, 46, 52)
BACKGROUND = (17, 19, 23)
TEXT = (236, 238, 242)
MUTED = (150, 156, 168)


@functools.cache
def _table(colour_map: str) -> np.ndarray:
    """(256, 3) uint8 RGB of one of OpenCV's colour maps."""
    import cv2

    values = np.arange(256, dtype=np.uint8)[:, None]
    table = cv2.applyColorMap(values, getattr(cv2, f'COLORMAP_{colour_map.upper()}'))[:, 0, ::-1]
    return np.ascontiguousarray(table)


def colour(values: np.ndarray, colour_map: str = 'turbo') -> np.ndarray:
    """Values (any shape) in 0..1 to colours; others are clipped, NaN becomes `NO_VALUE`."""
    import cv2

    values = np.asarray(values)
    known = values == values
    with np.errstate(invalid='ignore'):  # of NaN
        index = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    table = _table(colour_map)
    if values.ndim == 2 and values.size:  # in a sixth of the time
        picture = cv2.applyColorMap(index, table[:, None])
    else:
        picture = table[index]
    if not known.all():
        picture[~known] = NO_VALUE
    return picture


def depth_picture(depth: np.ndarray, range_: VergenceRange) -> np.ndarray:
    """Depth (m; NaN = unknown, infinity allowed) in the colours of a range: blue far, red near."""
    return colour(range_.normalise(depth))


def confidence_picture(confidence: np.ndarray) -> np.ndarray:
    """Confidence 0..1: dark = low."""
    return colour(confidence, 'viridis')


def coc_picture(coc: np.ndarray, largest: float) -> np.ndarray:
    """Circle of confusion (px) up to `largest`: dark = sharp."""
    return colour(np.asarray(coc) / largest, 'magma')


def error_picture(error: np.ndarray, largest: float) -> np.ndarray:
    """Absolute error up to `largest`: dark = small."""
    return colour(np.abs(error) / largest, 'inferno')


@dataclass(frozen=True)
class Bar:
    """The legend of a picture: labels at positions 0..1, from bottom to top."""

    colour_map: str
    ticks: tuple[tuple[float, str], ...]
    unit: str = ''

    @classmethod
    def depth(cls, range_: VergenceRange) -> Bar:
        """Metres, at even steps of vergence."""
        ticks = tuple((i / 4, _metres(range_.denormalise(i / 4))) for i in range(5))
        return cls('turbo', ticks, 'm')

    @classmethod
    def relative_depth(cls) -> Bar:
        """From the farthest focus to the nearest, where only their order is known."""
        return cls('turbo', ((0, 'far'), (1, 'near')))

    @classmethod
    def linear(cls, colour_map: str, largest: float, unit: str = '') -> Bar:
        """0 to `largest`."""
        return cls(colour_map, tuple((i / 4, f'{largest * i / 4:.3g}') for i in range(5)), unit)


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet, with a title above and an optional colour bar beside it."""

    picture: np.ndarray
    title: str = ''
    bar: Bar | None = None


def _metres(distance: float) -> str:
    if math.isinf(distance):
        return 'inf'
    return f'{distance:.0f}' if distance >= 99.5 else f'{distance:#.3g}'.rstrip('.')


def with_unit(distance: float) -> str:
    """A distance (m) as text, `0.25 m` or `infinity`."""
    return 'infinity' if math.isinf(distance) else f'{_metres(distance)} m'


def _font(size: float):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _resized(picture: np.ndarray, width: int, height: int):
    from PIL import Image

    smaller = width < picture.shape[1]
    # Only small maps are enlarged, in which every cell counts.
    return Image.fromarray(picture).resize(
        (width, height), Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    )


def sheet(rows: Sequence[Sequence[Panel]], title: str = '', subtitle: str = '', width: int = 1600) -> np.ndarray:
    """Panels in rows that fill the width of the sheet; pictures keep their aspect ratio and share the height of a row.

    Rows with the same number of panels reserve room for the same colour bars, so that their pictures line up.
    """
    from PIL import Image, ImageDraw

    title = ' '.join(title.splitlines())  # names of folders may have any; only text of one line has a length
    unit = width / 1600
    margin, gap, head = round(28 * unit), round(12 * unit), round(30 * unit)
    bar_width = round(84 * unit)
    header = margin + (round(44 * unit) if title else 0)
    barred = {(len(row), i) for row in rows for i, panel in enumerate(row) if panel.bar}

    def height_of(row):
        bars = sum((len(row), i) in barred for i in range(len(row)))
        free = width - 2 * margin - gap * (len(row) - 1) - bar_width * bars
        return max(8, round(free / sum(panel.picture.shape[1] / panel.picture.shape[0] for panel in row)))

    heights = [height_of(row) for row in rows]
    total = header + sum(heights) + (head + gap) * len(rows) + margin - gap
    canvas = Image.new('RGB', (width, total), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((margin, margin * 0.8), title, font=_font(30 * unit), fill=TEXT)
        left = margin + draw.textlength(title, font=_font(30 * unit)) + 18 * unit
        draw.text((left, margin * 0.8 + 12 * unit), subtitle, font=_font(18 * unit), fill=MUTED)
    y = header
    for row, height in zip(rows, heights):
        x = margin
        for i, panel in enumerate(row):
            panel_width = round(height * panel.picture.shape[1] / panel.picture.shape[0])
            size = min(18 * unit, 0.16 * panel_width)
            draw.text((x, y + head - 8 * unit), panel.title, font=_font(size), fill=MUTED, anchor='ls')
            canvas.paste(_resized(panel.picture, panel_width, height), (x, y + head))
            x += panel_width
            if panel.bar:
                _draw_bar(canvas, draw, panel.bar, (x + gap, y + head, height), unit)
            x += gap + bar_width * ((len(row), i) in barred)
        y += head + height + gap
    return np.asarray(canvas)


def _draw_bar(canvas, draw, bar: Bar, place: tuple[int, int, int], unit: float) -> None:
    x, y, height = place
    thickness = round(14 * unit)
    ramp = colour(np.linspace(1, 0, height)[:, None].repeat(thickness, 1), bar.colour_map)
    canvas.paste(_resized(ramp, thickness, height), (x, y))
    for position, label in bar.ticks:
        label = f'{label} {bar.unit}' if position == 1 and bar.unit else label
        # The labels at the ends stay within the height of the picture.
        at = y + (1 - position) * height
        anchor = 'la' if position == 1 else 'ls' if position == 0 else 'lm'
        draw.text((x + thickness + 6 * unit, at), label, font=_font(16 * unit), fill=TEXT, anchor=anchor)


def overview(
    stack: FocalStack,
    depths: Sequence[np.ndarray],
    confidence: np.ndarray,
    coc: np.ndarray,
    range_: VergenceRange,
    name: str = '',
    width: int = 1600,
    all_in_focus: np.ndarray | None = None,
) -> np.ndarray:
    """A stack on one sheet: its frames, the depth after each, and the final depth, confidence and CoC.

    depths: (H, W) m after each frame (the last sweep's, in the order of the stack); of a stack that is not metric, in
    those of the range. confidence (0..1) and coc (px) are those of the last frame. Long stacks are reduced to ten
    frames. Without true depth, the sheet has the all-in-focus image or the last frame instead.
    """
    bar = Bar.depth(range_) if stack.is_metric else Bar.relative_depth()
    shown = sorted({round(i) for i in np.linspace(0, len(stack) - 1, min(len(stack), 10))})
    frames, after = [], []
    for i in shown:
        title = with_unit(stack.lens_states[i].focus_distance) if stack.is_metric else f'frame {i + 1}'
        frames.append(Panel(stack.images[i], title))
        after.append(Panel(depth_picture(depths[i], range_), f'after {i + 1}'))
    truth = (
        Panel(depth_picture(stack.depth, range_), 'true depth', bar)
        if stack.depth is not None
        else Panel(stack.images[-1], 'last frame')
        if all_in_focus is None
        else Panel(all_in_focus, 'all in focus')
    )
    largest = nice_limit(coc)
    kind = 'depth' if stack.is_metric else 'relative depth'
    result = [truth, Panel(depth_picture(depths[-1], range_), kind, bar)]
    maps = [
        Panel(confidence_picture(confidence), 'confidence', Bar.linear('viridis', 1.0)),
        Panel(coc_picture(coc, largest), 'circle of confusion, last frame', Bar.linear('magma', largest, 'px')),
    ]
    covered = f'{with_unit(range_.near)} to {with_unit(range_.far)}' if stack.is_metric else 'focus distances unknown'
    subtitle = f'{len(stack)} frames, {covered}'
    return sheet([frames, after, result, maps], name or 'depth from focus', subtitle, width)


def nice_limit(values: np.ndarray, share: float = 0.98) -> float:
    """1, 2 or 5 times a power of ten that `share` of the finite values do not exceed."""
    values = np.abs(values[np.isfinite(values)])
    top = float(np.quantile(values, share)) if values.size else 0.0
    if top < sys.float_info.min:  # practically zero, and there is no smaller power of ten
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(step * power for step in (1, 2, 5, 10) if top <= step * power * (1 + 1e-9))


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture atomically; the suffix sets the format."""
    from PIL import Image

    with written_atomically(path) as temporary:
        Image.fromarray(picture).save(temporary)
