"""Pictures and a video of a recording: the camera image, and depth, CoC, confidence and error beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dfd_ros.core.optics import VergenceRange
from dfd_ros.drawing import films, visualise
from dfd_ros.drawing.visualise import Bar, Panel
from dfd_ros.ros.monitoring.run_frames import RecordedFrame, Recording

MAX_ERROR = 20.0  # per cent of the range: what the colours of the error end at
TITLE = 'dfd_ros'
SUBTITLE = 'metric depth from one camera whose focus moves'

PANEL = 384  # px, width of a panel of the video
BAR, GAP, MARGIN, HEADER, CAPTION = 74, 16, 32, 74, 30
FOCUS = (255, 255, 255)

FILES = ('overview.png', 'demo.mp4', 'demo.gif')

GIF_SECONDS = 6.0
GIF_RATE = 6.0  # frames a second at most


@dataclass(frozen=True)
class Scales:
    """The colour scales, shared by all frames of a recording."""

    range: VergenceRange
    largest_coc: float
    """px"""

    @classmethod
    def of(cls, recording: Recording) -> Scales:
        coc = np.stack([frame.coc[::4, ::4] for frame in recording.frames])
        return cls(recording.range, visualise.nice_limit(coc))

    def depth(self, vergence: np.ndarray) -> np.ndarray:
        return visualise.colour(vergence.astype(np.float32))

    def coc(self, frame: RecordedFrame) -> np.ndarray:
        return visualise.coc_picture(frame.coc.astype(np.float32), self.largest_coc)

    def panels(self, frame: RecordedFrame) -> list[Panel]:
        """The panels of a frame without the camera image; true depth and error only if the truth is known."""
        depth_bar, coc_bar = Bar.depth(self.range), Bar.linear('magma', self.largest_coc, 'px')
        panels = [Panel(self.depth(frame.vergence), 'depth', depth_bar)]
        if frame.true_vergence is not None:
            panels.append(Panel(self.depth(frame.true_vergence), 'true depth', depth_bar))
        panels += [
            Panel(self.coc(frame), 'circle of confusion', coc_bar),
            Panel(
                visualise.confidence_picture(frame.confidence.astype(np.float32)),
                'confidence',
                Bar.linear('viridis', 1.0),
            ),
        ]
        if frame.error is not None:
            panels.append(
                Panel(
                    visualise.error_picture(100 * frame.error, MAX_ERROR),
                    'error, share of the range',
                    Bar.linear('inferno', MAX_ERROR, '%'),
                )
            )
        return panels


def metres(distance: float) -> str:
    """A distance as text: ``0.31 m``, ``infinity``."""
    return 'infinity' if math.isinf(distance) else f'{distance:.2f} m'


def overview(recording: Recording, summary: str = '') -> np.ndarray:
    """The last sweep on one sheet, (H, W, 3) uint8: its images, the depth after each, and all panels of the last."""
    scales, sweep = Scales.of(recording), recording.last_sweep()
    last = sweep[-1]
    frames = [Panel(frame.image, f'focus {metres(frame.focus_distance)}') for frame in sweep]
    depths = [Panel(scales.depth(frame.vergence), '' if i else 'depth after each') for i, frame in enumerate(sweep)]
    panels = [Panel(last.image, 'camera image'), *scales.panels(last)]
    middle = len(panels) // 2
    title = f'{TITLE}: one sweep of the focus'
    return visualise.sheet([frames, depths, panels[:middle], panels[middle:]], title, summary)


class VideoFrames:
    """Draws the frames of the video; the fixed parts are drawn once."""

    def __init__(self, recording: Recording) -> None:
        self._scales = Scales.of(recording)
        self._range = recording.range
        first = recording.frames[0]
        self._titles = ['camera image', *(panel.title for panel in self._scales.panels(first))]
        bars = [None, *(panel.bar for panel in self._scales.panels(first))]
        rows = 2
        self._columns = math.ceil(len(bars) / rows)
        self._height = round(PANEL * first.image.shape[0] / first.image.shape[1])
        # Even: the chroma of most video formats is halved.
        width = 2 * MARGIN + self._columns * (PANEL + BAR) + (self._columns - 1) * GAP
        height = HEADER + rows * (CAPTION + self._height) + GAP + MARGIN
        self._canvas = Image.new('RGB', (width + width % 2, height + height % 2), visualise.BACKGROUND)
        self._fonts = {size: ImageFont.load_default(size) for size in (14, 16, 20, 28)}
        draw = ImageDraw.Draw(self._canvas)
        draw.text((MARGIN, 24), TITLE, font=self._fonts[28], fill=visualise.TEXT)
        left = MARGIN + draw.textlength(TITLE, font=self._fonts[28]) + 16
        draw.text((left, 32), SUBTITLE, font=self._fonts[20], fill=visualise.MUTED)
        for index, (title, bar) in enumerate(zip(self._titles, bars)):
            x, y = self._place(index)
            draw.text((x, y - 9), title, font=self._fonts[16], fill=visualise.TEXT, anchor='ls')
            self._draw_bar(draw, x + PANEL + 8, y, bar)
        # The focus moves along the bars of the camera image and of the depths.
        self._focus_bars = [i for i, title in enumerate(self._titles) if 'depth' in title or 'image' in title]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), both even."""
        return self._canvas.size

    def _place(self, index: int) -> tuple[int, int]:
        """Left upper corner of a panel."""
        row, column = divmod(index, self._columns)
        return (MARGIN + column * (PANEL + BAR + GAP), HEADER + CAPTION + row * (self._height + CAPTION + GAP))

    def _draw_bar(self, draw: ImageDraw.ImageDraw, x: int, y: int, bar: Bar | None) -> None:
        if bar is None:  # beside the camera image: a scale for the focus
            ramp = np.full((self._height, 10, 3), visualise.NO_VALUE, np.uint8)
            bar = Bar.depth(self._range)
        else:
            ramp = visualise.colour(np.linspace(1, 0, self._height)[:, None].repeat(10, 1), bar.colour_map)
        self._canvas.paste(Image.fromarray(ramp), (x, y))
        for position, label in bar.ticks:
            at = y + (1 - position) * (self._height - 1)
            anchor = {1.0: 'la', 0.0: 'ls'}.get(position, 'lm')
            text = f'{label} {bar.unit}' if position == 1 else label
            draw.text((x + 19, at), text, font=self._fonts[14], fill=visualise.MUTED, anchor=anchor)

    def draw(self, frame: RecordedFrame, note: str = '') -> np.ndarray:
        """A frame of the video, (H, W, 3) uint8 RGB. `note` is drawn in the upper right corner."""
        canvas = self._canvas.copy()
        draw = ImageDraw.Draw(canvas)
        pictures = [frame.image, *(panel.picture for panel in self._scales.panels(frame))]
        for index, picture in enumerate(pictures):
            if picture.shape[1] != PANEL:
                picture = cv2.resize(
                    picture, (PANEL, self._height), interpolation=cv2.INTER_LINEAR if index == 0 else cv2.INTER_NEAREST
                )
            canvas.paste(Image.fromarray(picture), self._place(index))
        focus = float(np.clip(self._range.normalise(frame.focus_distance), 0, 1))
        for index in self._focus_bars:
            x, y = self._place(index)
            at = y + (1 - focus) * (self._height - 1)
            x += PANEL + 8
            draw.line([(x - 1, at), (x + 10, at)], fill=FOCUS, width=3)
            draw.polygon([(x - 1, at), (x - 7, at - 5), (x - 7, at + 5)], fill=FOCUS)
        x, y = self._place(0)
        draw.text(
            (x + PANEL, y - 9),
            f'focus {metres(frame.focus_distance)}',
            font=self._fonts[16],
            fill=visualise.TEXT,
            anchor='rs',
        )
        draw.text((canvas.width - MARGIN, 46), note, font=self._fonts[20], fill=visualise.TEXT, anchor='rs')
        return np.asarray(canvas)


def note(frame: RecordedFrame, rate: float) -> str:
    """Figures of one frame for the corner of the video."""
    parts = [f'{rate:.1f} Hz']
    if frame.error is not None and not np.isnan(frame.error).all():
        parts.append(f'mean error {100 * np.nanmean(np.abs(frame.error)):.1f} % of the range')
    return '   '.join(parts)


def write(recording: Recording, folder: Path, summary: str = '', progress=lambda frames: frames) -> list[str]:
    """Writes `FILES`, of a single frame the first alone. Returns their names. `progress` wraps the frames (tqdm)."""
    picture, video, animation = FILES
    visualise.write_picture(folder / picture, overview(recording, summary))
    rate = recording.rate
    if not rate:
        return [picture]
    drawing, kept = VideoFrames(recording), []
    every = max(1, math.ceil(rate / GIF_RATE))
    first_kept = len(recording.frames) - round(GIF_SECONDS * rate)

    def frames() -> Iterator[np.ndarray]:
        for i, frame in enumerate(progress(recording.frames)):
            picture = drawing.draw(frame, note(frame, rate))
            if i >= first_kept and i % every == 0:
                kept.append(picture)
            yield picture

    films.write_video(folder / video, frames(), drawing.size, rate)
    films.write_gif(folder / animation, kept, rate / every)
    return list(FILES)
