"""Printed matter as images: pages, covers, boxes, posters, screens and signs, plain between sharp edges.

A printed surface is flat, whatever is printed on it. Training and test draw from different layouts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Photographs = Sequence[np.ndarray]
_FONT_FOLDERS = ('/usr/share/fonts', '/usr/local/share/fonts')
# px; anything smaller is a grey line to any camera.
_SMALLEST_FONT = 3


@functools.lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """Fonts of the system, in a fixed order; the one that comes with Pillow is there anyway."""
    found = sorted(path for folder in _FONT_FOLDERS if Path(folder).is_dir() for path in Path(folder).rglob('*.ttf'))
    return tuple(str(path) for path in found[:60])


@functools.lru_cache(maxsize=512)
def _font(number: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    files = _font_files()
    if number < len(files):
        try:
            return ImageFont.truetype(files[number], size)
        except OSError:
            pass
    return ImageFont.load_default(size=size)


class _Sheet:
    """A sheet to draw on, with a few fonts and colours of its own."""

    def __init__(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        photographs: Photographs,
        ground: tuple[int, int, int] | None = None,
    ):
        self.rng, self.photographs = rng, photographs
        self.height, self.width = height, width
        self.short = min(height, width)
        hue = rng.random()
        self.colours = [_colour(rng, (hue + shift) % 1) for shift in (0, rng.uniform(0.03, 0.2), 0.5)]
        self.ground = self.pick_ground() if ground is None else ground
        self.ink = _ink(rng, self.ground)
        self.fonts = [int(rng.integers(len(_font_files()) + 1)) for _ in range(2)]
        self.image = Image.new('RGB', (width, height), self.ground)
        self.draw = ImageDraw.Draw(self.image)

    def pick_ground(self) -> tuple[int, int, int]:
        kind = self.rng.random()
        if kind < 0.4:
            return _rgb(self.rng.integers(200, 256) - self.rng.integers(0, 25, 3))
        return self.colours[0] if kind < 0.85 else _rgb(self.rng.integers(8, 60, 3))

    def font(self, size: float, which: int = 0) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return _font(self.fonts[which % 2], max(int(size), _SMALLEST_FONT))

    def text(self, x: float, y: float, text: str, size: float, fill=None, which: int = 0, anchor: str = 'la') -> None:
        self.draw.text(
            (x, y), text, fill=self.ink if fill is None else fill, font=self.font(size, which), anchor=anchor
        )

    def fitted(self, x0: float, y0: float, x1: float, y1: float, text: str, fill=None, which: int = 0) -> None:
        """A text that fills a rectangle, centred."""
        wide, high = x1 - x0, y1 - y0
        if wide < 4 or high < 4:
            return
        size = max(_SMALLEST_FONT, min(int(high * 0.95), self.short))
        length = self.font(size, which).getlength(text)
        size = max(_SMALLEST_FONT, int(size * min(1, wide / max(length, 1))))
        self.text((x0 + x1) / 2, (y0 + y1) / 2, text, size, fill, which, 'mm')

    def paragraph(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        size: float,
        fill=None,
        which: int = 0,
        ragged: bool = False,
        leading: float = 1.35,
    ) -> None:
        """Lines of words that fill a rectangle; new paragraphs are indented."""
        rng, y, step = self.rng, y0, max(size, _SMALLEST_FONT) * leading
        letter = max(self.font(size, which).getlength('na') / 2, 1)
        while y + size <= y1:
            ends = rng.random() < 0.12
            wide = (x1 - x0) * (rng.uniform(0.2, 0.9) if ends else rng.uniform(0.85, 1) if ragged else 0.99)
            line = _words(rng, int(wide / letter))
            self.text(x0, y, line, size, fill, which)
            y += step * (1.7 if ends and rng.random() < 0.3 else 1)

    def picture(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A photograph, or an illustration where there is none."""
        x0, y0, x1, y1 = (round(v) for v in (x0, y0, x1, y1))
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        if len(self.photographs) and self.rng.random() < 0.75:
            picture = crop(self.rng, self.photographs[int(self.rng.integers(len(self.photographs)))], y1 - y0, x1 - x0)
        else:
            picture = illustration(self.rng, y1 - y0, x1 - x0)
        self.image.paste(Image.fromarray(picture), (x0, y0))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill=None, outline=None, width: int = 1, radius: float = 0
    ) -> None:
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        self.draw.rounded_rectangle((x0, y0, x1, y1), radius, fill, outline, width)

    def bars(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """A bar code, on white."""
        if x1 - x0 < 16 or y1 - y0 < 8:
            return
        self.box(x0, y0, x1, y1, (250, 250, 248))
        module = max(1, round((x1 - x0) / 70))
        x = x0 + 4 * module
        while x < x1 - 4 * module:
            bar = module * int(self.rng.integers(1, 4))
            # Not x + bar - 1, which rounding may put before x.
            self.draw.rectangle((x, y0 + 2, x + (bar - 1), y1 - (y1 - y0) * 0.18), fill=(15, 15, 15))
            x += bar + module * int(self.rng.integers(1, 4))
        self.fitted(
            x0, y1 - (y1 - y0) * 0.18, x1, y1, ' '.join(str(d) for d in self.rng.integers(0, 10, 9)), (15, 15, 15)
        )

    def squares(self, x0: float, y0: float, side: float) -> None:
        """A two-dimensional code."""
        n = int(self.rng.integers(17, 34))
        cells = (self.rng.random((n, n)) < 0.5).astype(np.uint8)
        for y, x in ((0, 0), (0, n - 7), (n - 7, 0)):
            cells[y : y + 7, x : x + 7] = 0
            cells[y + 1 : y + 6, x + 1 : x + 6] = 1
            cells[y + 2 : y + 5, x + 2 : x + 5] = 0
        self.image.paste(
            Image.fromarray(cells * 240).resize((max(int(side), 4),) * 2, Image.Resampling.NEAREST), (int(x0), int(y0))
        )

    def array(self) -> np.ndarray:
        return np.array(self.image)


def _rgb(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _colour(rng: np.random.Generator, hue: float) -> tuple[int, int, int]:
    saturation, value = rng.uniform(0.1, 1), rng.uniform(0.25, 1)
    k = (np.array([5, 3, 1]) + hue * 6) % 6
    colour = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return _rgb(255 * colour)


def _ink(rng: np.random.Generator, ground) -> tuple[int, int, int]:
    """A readable colour on a ground."""
    light = 0.3 * ground[0] + 0.6 * ground[1] + 0.1 * ground[2] > 115
    return _rgb(rng.integers(0, 70, 3) + (0 if light else 185))


_ONSETS = [
    'b',
    'c',
    'd',
    'f',
    'g',
    'h',
    'k',
    'l',
    'm',
    'n',
    'p',
    'r',
    's',
    't',
    'v',
    'w',
    'br',
    'ch',
    'cl',
    'dr',
    'fl',
    'gr',
    'pl',
    'pr',
    'sh',
    'st',
    'str',
    'th',
    'tr',
] + ['']
_VOWELS = ['a', 'e', 'i', 'o', 'u', 'ai', 'ea', 'ee', 'ie', 'oo', 'ou']
_CODAS = ['', '', '', 'n', 'r', 's', 't', 'l', 'nd', 'ng', 'st', 'm', 'ck']


def _word(rng: np.random.Generator) -> str:
    def one(options):
        return options[int(rng.integers(len(options)))]

    return ''.join(one(_ONSETS) + one(_VOWELS) + one(_CODAS) for _ in range(int(rng.integers(1, 4))))


def _words(rng: np.random.Generator, letters: int) -> str:
    """Words of about this many letters in total."""
    words, length = [], 0
    while length < letters:
        word = _word(rng) if rng.random() < 0.93 else str(int(rng.integers(1, 3000)))
        kind = rng.random()
        word = word.capitalize() if kind < 0.12 else word + (',' if kind < 0.2 else '.' if kind < 0.28 else '')
        words.append(word)
        length += len(word) + 1
    return ' '.join(words)[: max(letters, 1)].strip()


def _title(rng: np.random.Generator, words: int = 1) -> str:
    text = ' '.join(_word(rng) for _ in range(words))
    return text.upper() if rng.random() < 0.6 else text.title()


def crop(rng: np.random.Generator, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A part (height, width, 3) of an image at random: as much as fits, down to a third of that."""
    scale = min(image.shape[0] / height, image.shape[1] / width) * rng.uniform(0.33, 1)
    h, w = (min(max(round(n * scale), 1), most) for n, most in ((height, image.shape[0]), (width, image.shape[1])))
    y, x = int(rng.integers(image.shape[0] - h + 1)), int(rng.integers(image.shape[1] - w + 1))
    part = np.ascontiguousarray(image[y : y + h, x : x + w])
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)


def illustration(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An abstract picture (height, width, 3): a sky, hills, discs and smooth shading."""
    top, bottom, *others = (np.array(_colour(rng, rng.random()), np.float32) for _ in range(6))
    image = top + (bottom - top) * np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = np.ascontiguousarray(np.broadcast_to(image, (height, width, 3)))
    x = np.arange(width)
    for i in range(int(rng.integers(1, 5))):
        shape = sum(
            rng.uniform(-1, 1) * np.sin(x / width * rng.uniform(2, 9) * (k + 1) + rng.uniform(0, 6)) / (k + 1)
            for k in range(4)
        )
        ridge = height * (0.35 + 0.13 * i + 0.12 * shape)
        points = np.stack([np.r_[x, width, 0], np.r_[ridge, height, height]], 1).astype(np.int32)
        cv2.fillPoly(image, [points], tuple(float(c) for c in others[i % 4] * rng.uniform(0.5, 1)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        radius = max(2, int(min(height, width) * rng.uniform(0.03, 0.3)))
        colour = tuple(float(c) for c in others[int(rng.integers(4))])
        if rng.random() < 0.5:
            cv2.circle(image, centre, radius, colour, -1, cv2.LINE_AA)
        else:
            cv2.ellipse(
                image,
                centre,
                (radius, max(2, int(radius * rng.uniform(0.2, 0.8)))),
                rng.uniform(0, 180),
                0,
                360,
                colour,
                -1,
                cv2.LINE_AA,
            )
    light = cv2.resize(
        rng.uniform(0.6, 1.25, (3, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


# Layouts of training.


def _page(rng, height, width, photographs):
    """A page of a book or a magazine: columns of text, headings, figures."""
    paper = _rgb(255 - rng.integers(0, 30) - rng.integers(0, 18, 3))
    sheet = _Sheet(rng, height, width, photographs, paper)
    margin = sheet.short * rng.uniform(0.05, 0.14)
    columns = int(rng.integers(1, 4))
    size = max(_SMALLEST_FONT, sheet.short * math.exp(rng.uniform(math.log(0.008), math.log(0.04))))
    gap = margin * 0.5
    wide = (width - 2 * margin - gap * (columns - 1)) / columns
    top = margin
    if rng.random() < 0.6:
        heading = size * rng.uniform(1.6, 5)
        sheet.fitted(margin, top, width - margin, top + heading, _title(rng, int(rng.integers(1, 5))), None, 1)
        top += heading * 1.3
    for column in range(columns):
        x, y = margin + column * (wide + gap), top
        while y < height - margin - 3 * size:
            part = (height - margin - y) * rng.uniform(0.25, 1)
            kind = rng.random()
            if kind < 0.25:
                part = min(part, wide * rng.uniform(0.4, 1))
                sheet.picture(x, y, x + wide, y + part)
                sheet.paragraph(x, y + part + size * 0.5, x + wide, y + part + size * 2, size * 0.8)
                y += part + 3 * size
            elif kind < 0.4:
                sheet.text(x, y, _title(rng, 2), size * 1.5, None, 1)
                y += 2.4 * size
            else:
                sheet.paragraph(x, y, x + wide, y + part, size, ragged=rng.random() < 0.3)
                y += part + size
    return sheet.array()


def _cover(rng, height, width, photographs):
    """The cover of a book: a large title, a picture or a plain ground, an author."""
    sheet = _Sheet(rng, height, width, photographs)
    kind = rng.random()
    if kind < 0.35:
        sheet.picture(0, 0, width, height)
        if rng.random() < 0.6:
            y = height * rng.uniform(0.05, 0.7)
            sheet.box(0, y, width, y + height * 0.25, sheet.ground)
    elif kind < 0.6:
        y = height * rng.uniform(0.2, 0.5)
        sheet.picture(width * 0.1, y, width * 0.9, y + height * rng.uniform(0.2, 0.45))
    else:
        for _ in range(int(rng.integers(0, 4))):
            sheet.box(*_rectangle(rng, height, width), sheet.colours[int(rng.integers(3))])
    y = height * rng.uniform(0.06, 0.3)
    for _ in range(int(rng.integers(1, 4))):
        high = height * rng.uniform(0.06, 0.2)
        sheet.fitted(width * 0.08, y, width * 0.92, y + high, _title(rng, int(rng.integers(1, 3))))
        y += high * 1.1
    sheet.text(width / 2, height * 0.93, _title(rng, 2), sheet.short * rng.uniform(0.03, 0.06), None, 1, 'mm')
    return sheet.array()


def _box(rng, height, width, photographs):
    """A face of a product's box: large plain areas, large filled letters, small print, a picture, a bar code."""
    sheet = _Sheet(rng, height, width, photographs)
    if rng.random() < 0.6:
        split = rng.uniform(0.25, 0.75)
        left, top, right = (0, 0, width * split) if rng.random() < 0.5 else (0, height * split, width)
        sheet.box(left, top, right, height, sheet.colours[int(rng.integers(1, 3))])
    if rng.random() < 0.25:
        cx, cy, r = width * rng.random(), height * rng.random(), sheet.short * rng.uniform(0.2, 0.6)
        sheet.draw.ellipse((cx - r, cy - r, cx + r, cy + r), sheet.colours[2])
    if rng.random() < 0.55:
        sheet.picture(*_rectangle(rng, height, width))
    for _ in range(int(rng.integers(1, 3))):
        # A word or a single letter, up to half as high as the face.
        text = _title(rng) if rng.random() < 0.8 else _title(rng)[0]
        high = height * math.exp(rng.uniform(math.log(0.1), math.log(0.55)))
        y = rng.uniform(0, max(height - high, 1))
        fill = sheet.ink if rng.random() < 0.6 else sheet.colours[int(rng.integers(3))]
        sheet.fitted(width * rng.uniform(0, 0.3), y, width * rng.uniform(0.7, 1), y + high, text, fill, 1)
    for _ in range(int(rng.integers(0, 4))):
        x0, y0, x1, y1 = _rectangle(rng, height, width, 0.4)
        sheet.paragraph(x0, y0, x1, y1, sheet.short * rng.uniform(0.008, 0.03), ragged=True)
    if rng.random() < 0.5:
        wide = sheet.short * rng.uniform(0.15, 0.35)
        x, y = rng.uniform(0, width - wide), rng.uniform(0, height - wide * 0.6)
        sheet.bars(x, y, x + wide, y + wide * 0.6)
    return sheet.array()


def _poster(rng, height, width, photographs):
    """A poster: a picture or flat shapes, a few words, a frame."""
    sheet = _Sheet(rng, height, width, photographs)
    frame = sheet.short * rng.uniform(0, 0.12)
    if rng.random() < 0.65:
        sheet.picture(frame, frame, width - frame, height * rng.uniform(0.6, 1) - frame)
    else:
        for _ in range(int(rng.integers(3, 12))):
            points = [
                (float(rng.uniform(0, width)), float(rng.uniform(0, height))) for _ in range(int(rng.integers(3, 6)))
            ]
            sheet.draw.polygon(points, sheet.colours[int(rng.integers(3))])
    if rng.random() < 0.7:
        y, high = height * rng.uniform(0.05, 0.8), height * rng.uniform(0.06, 0.3)
        sheet.fitted(
            width * 0.06,
            y,
            width * 0.94,
            y + high,
            _title(rng, int(rng.integers(1, 4))),
            sheet.colours[2] if rng.random() < 0.4 else None,
            1,
        )
        sheet.paragraph(
            width * 0.1, y + 1.1 * high, width * 0.9, y + 1.5 * high, sheet.short * rng.uniform(0.015, 0.04)
        )
    return sheet.array()


def _screen(rng, height, width, photographs):
    """A screen: windows, menus, text, grids of keys and icons."""
    dark = rng.random() < 0.4
    ground = _rgb(rng.integers(15, 60, 3) if dark else rng.integers(190, 250, 3))
    sheet = _Sheet(rng, height, width, photographs, ground)
    if rng.random() < 0.5:
        sheet.picture(0, 0, width, height)
    size = max(_SMALLEST_FONT, sheet.short * rng.uniform(0.015, 0.035))
    for _ in range(int(rng.integers(1, 5))):
        x0, y0, x1, y1 = _rectangle(rng, height, width, 1.2)
        shade = int(rng.integers(15, 50) if rng.random() < 0.4 else rng.integers(225, 256))
        face = (shade, shade, shade)
        ink = _ink(rng, face)
        sheet.box(x0, y0, x1, y1, face, (128, 128, 128), 1, rng.uniform(0, size))
        sheet.box(x0, y0, x1, y0 + 1.6 * size, sheet.colours[0])
        sheet.text(x0 + size, y0 + 0.2 * size, _title(rng, 2), size, _ink(rng, sheet.colours[0]))
        inside = (x0 + size, y0 + 2.2 * size, x1 - size, y1 - size)
        kind = rng.random()
        if kind < 0.4:
            sheet.paragraph(*inside, size, ink, ragged=True)
        elif kind < 0.55:
            sheet.picture(*inside)
        elif kind < 0.7:
            _chart(sheet, *inside)
        else:
            _keys(sheet, *inside, ink)
    sheet.box(0, 0, width, 1.6 * size, (40, 40, 44) if dark else (232, 232, 232))
    sheet.text(
        size, 0.2 * size, '   '.join(_title(rng) for _ in range(5)), size, (220, 220, 220) if dark else (20, 20, 20)
    )
    return sheet.array()


def _keyboard(rng, height, width, photographs):
    """A grid of keys, each with a sign."""
    sheet = _Sheet(rng, height, width, photographs)
    _keys(
        sheet, width * 0.03, height * 0.05, width * 0.97, height * 0.95, _ink(rng, sheet.colours[1]), sheet.colours[1]
    )
    return sheet.array()


def _sign(rng, height, width, photographs):
    """A sign: one plain ground, a border, an arrow or a disc, very few large letters."""
    sheet = _Sheet(rng, height, width, photographs)
    if rng.random() < 0.6:
        edge = sheet.short * rng.uniform(0.02, 0.08)
        sheet.box(edge, edge, width - edge, height - edge, None, sheet.ink, max(1, int(edge / 2)), 2 * edge)
    kind = rng.random()
    if kind < 0.3:
        r = sheet.short * rng.uniform(0.2, 0.4)
        sheet.draw.ellipse(
            (width / 2 - r, height / 2 - r, width / 2 + r, height / 2 + r),
            sheet.colours[2],
            sheet.ink,
            max(1, int(r / 8)),
        )
    elif kind < 0.5:
        y, h = height * rng.uniform(0.3, 0.7), height * 0.08
        sheet.draw.polygon(
            [
                (width * 0.15, y - h),
                (width * 0.6, y - h),
                (width * 0.6, y - 2 * h),
                (width * 0.85, y),
                (width * 0.6, y + 2 * h),
                (width * 0.6, y + h),
                (width * 0.15, y + h),
            ],
            sheet.ink,
        )
    if kind > 0.2:
        rows = int(rng.integers(1, 4))
        for row in range(rows):
            y = height * (0.12 + 0.76 * row / rows)
            sheet.fitted(
                width * 0.1, y, width * 0.9, y + height * 0.66 / rows, _title(rng, int(rng.integers(1, 3))), None, 1
            )
    return sheet.array()


def _blocks(rng, height, width, photographs):
    """Nothing but a few large plain areas, as furniture and packaging have them."""
    sheet = _Sheet(rng, height, width, photographs)
    for _ in range(int(rng.integers(1, 6))):
        sheet.box(
            *_rectangle(rng, height, width, 1.5),
            sheet.colours[int(rng.integers(3))],
            sheet.ink if rng.random() < 0.3 else None,
            int(rng.integers(1, 4)),
            sheet.short * rng.uniform(0, 0.1) * (rng.random() < 0.4),
        )
    return sheet.array()


# Layouts of the test.


def _calendar(rng, height, width, photographs):
    sheet = _Sheet(rng, height, width, photographs)
    top = height * rng.uniform(0.3, 0.6)
    sheet.picture(0, 0, width, top)
    sheet.fitted(width * 0.1, top, width * 0.9, top + height * 0.1, _title(rng), None, 1)
    rows, columns = int(rng.integers(4, 7)), 7
    y0 = top + height * 0.12
    for day in range(rows * columns - 3):
        x, y = (day % columns + 0.1) * width / columns, y0 + (day // columns) * (height - y0) / rows
        sheet.text(x, y, str(day % 31 + 1), sheet.short * 0.05, sheet.colours[2] if day % 7 == 6 else None)
        sheet.draw.line((0, y, width, y), sheet.ink)
    return sheet.array()


def _map(rng, height, width, photographs):
    sheet = _Sheet(rng, height, width, photographs, _rgb(rng.integers(200, 250, 3)))
    for _ in range(int(rng.integers(2, 6))):
        centre, angle = rng.uniform(0, 1, 2) * (width, height), np.sort(rng.uniform(0, 2 * np.pi, 9))
        radius = sheet.short * rng.uniform(0.1, 0.4, 9)
        points = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
        sheet.draw.polygon([tuple(p) for p in points.tolist()], sheet.colours[int(rng.integers(3))])
    for _ in range(int(rng.integers(8, 30))):
        points = np.cumsum(rng.normal(0, sheet.short * 0.12, (6, 2)), 0) + rng.uniform(0, 1, 2) * (width, height)
        sheet.draw.line([tuple(p) for p in points.tolist()], sheet.ink, int(rng.integers(1, 5)), 'curve')
    for _ in range(int(rng.integers(5, 25))):
        sheet.text(rng.uniform(0, width), rng.uniform(0, height), _word(rng), sheet.short * rng.uniform(0.012, 0.05))
    return sheet.array()


def _label(rng, height, width, photographs):
    """A label on a parcel: lines, an address, codes."""
    sheet = _Sheet(rng, height, width, photographs, _rgb(250 - rng.integers(0, 20, 3)))
    y = height * 0.03
    while y < height * 0.85:
        high = height * rng.uniform(0.08, 0.25)
        sheet.draw.line((0, y, width, y), sheet.ink, 2)
        kind = rng.random()
        if kind < 0.3:
            sheet.bars(width * 0.1, y + high * 0.1, width * rng.uniform(0.5, 0.9), y + high * 0.9)
        elif kind < 0.5:
            sheet.squares(width * rng.uniform(0.05, 0.6), y + high * 0.05, high * 0.9)
        elif kind < 0.7:
            sheet.fitted(width * 0.05, y, width * 0.95, y + high, f'{_title(rng)} {rng.integers(10, 999)}', None, 1)
        else:
            sheet.paragraph(width * 0.05, y + high * 0.1, width * 0.7, y + high, sheet.short * 0.03, ragged=True)
        y += high
    return sheet.array()


LAYOUTS = {
    'train': (_page, _page, _cover, _box, _box, _box, _poster, _screen, _keyboard, _sign, _blocks, _blocks),
    'test': (_calendar, _map, _label),
}


def _rectangle(
    rng: np.random.Generator, height: int, width: int, largest: float = 0.8
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a rectangle within a sheet."""
    w, h = (min(n, n * largest * rng.uniform(0.25, 1)) for n in (width, height))
    x, y = rng.uniform(0, max(width - w, 1)), rng.uniform(0, max(height - h, 1))
    return x, y, x + w, y + h


def _chart(sheet: _Sheet, x0: float, y0: float, x1: float, y1: float) -> None:
    n = int(sheet.rng.integers(3, 12))
    for i, value in enumerate(sheet.rng.uniform(0.1, 1, n)):
        x = x0 + (x1 - x0) * i / n
        sheet.box(x, y1 - (y1 - y0) * value, x + (x1 - x0) * 0.7 / n, y1, sheet.colours[i % 3])


def _keys(sheet: _Sheet, x0: float, y0: float, x1: float, y1: float, ink, fill=None) -> None:
    rows = int(sheet.rng.integers(3, 9))
    high = (y1 - y0) / rows
    columns = max(1, int((x1 - x0) / max(high * sheet.rng.uniform(0.9, 1.6), 3)))
    wide, gap = (x1 - x0) / columns, high * sheet.rng.uniform(0.06, 0.2)
    if high < 5:
        return
    for row in range(rows):
        for column in range(min(columns, 24)):
            x, y = x0 + column * wide, y0 + row * high
            sheet.box(x, y, x + wide - gap, y + high - gap, fill, ink, 1, gap)
            sheet.text(x + wide * 0.25, y + high * 0.15, _word(sheet.rng)[:1].upper(), high * 0.45, ink)


def draw_print(
    rng: np.random.Generator, height: int, width: int, photographs: Photographs = (), split: str = 'train'
) -> np.ndarray:
    """A printed sheet.

    Args:
        rng: with the installed fonts it determines the drawing.
        height, width: px, at least 16.
        photographs: (H, W, 3) uint8 sRGB, for the pictures in it; illustrations where there are none.
        split: 'train' or 'test' layouts.

    Returns:
        (height, width, 3) uint8, sRGB.
    """
    layouts = LAYOUTS[split]
    return layouts[int(rng.integers(len(layouts)))](rng, height, width, photographs)
