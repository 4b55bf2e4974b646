"""A sheet of paper to draw prints on: text, pictures, boxes and codes, in random words, fonts and colours."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Photographs = Sequence[np.ndarray]
MIN_FONT = 3  # px; anything smaller is a grey line to any camera
_FONT_FOLDERS = ('/usr/share/fonts', '/usr/local/share/fonts')


@functools.lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """The system's fonts in a fixed order. Pillow's own font is always available."""
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


class Sheet:
    """A sheet to draw on, with its own fonts and colours."""

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
        self.ink = ink_on(rng, self.ground)
        self.fonts = [int(rng.integers(len(_font_files()) + 1)) for _ in range(2)]
        self.image = Image.new('RGB', (width, height), self.ground)
        self.draw = ImageDraw.Draw(self.image)

    def pick_ground(self) -> tuple[int, int, int]:
        kind = self.rng.random()
        if kind < 0.4:
            return rgb(self.rng.integers(200, 256) - self.rng.integers(0, 25, 3))
        return self.colours[0] if kind < 0.85 else rgb(self.rng.integers(8, 60, 3))

    def font(self, size: float, which: int = 0) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return _font(self.fonts[which % 2], max(int(size), MIN_FONT))

    def text(self, x: float, y: float, text: str, size: float, fill=None, which: int = 0, anchor: str = 'la') -> None:
        self.draw.text(
            (x, y), text, fill=self.ink if fill is None else fill, font=self.font(size, which), anchor=anchor
        )

    def fitted(self, x0: float, y0: float, x1: float, y1: float, text: str, fill=None, which: int = 0) -> None:
        """Fill a rectangle with text, centred."""
        wide, high = x1 - x0, y1 - y0
        if wide < 4 or high < 4:
            return
        size = max(MIN_FONT, min(int(high * 0.95), self.short))
        length = self.font(size, which).getlength(text)
        size = max(MIN_FONT, int(size * min(1, wide / max(length, 1))))
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
        """Fill a rectangle with lines of words, in paragraphs of random length."""
        rng, y, step = self.rng, y0, max(size, MIN_FONT) * leading
        letter = max(self.font(size, which).getlength('na') / 2, 1)
        while y + size <= y1:
            ends = rng.random() < 0.12
            wide = (x1 - x0) * (rng.uniform(0.2, 0.9) if ends else rng.uniform(0.85, 1) if ragged else 0.99)
            line = random_words(rng, int(wide / letter))
            self.text(x0, y, line, size, fill, which)
            y += step * (1.7 if ends and rng.random() < 0.3 else 1)

    def picture(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Paste a photograph, or an illustration if there is none."""
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
        """Draw a bar code on white."""
        if x1 - x0 < 16 or y1 - y0 < 8:
            return
        self.box(x0, y0, x1, y1, (250, 250, 248))
        module = max(1, round((x1 - x0) / 70))
        x = x0 + 4 * module
        while x < x1 - 4 * module:
            bar = module * int(self.rng.integers(1, 4))
            # Not x + bar - 1, which rounding can make less than x.
            self.draw.rectangle((x, y0 + 2, x + (bar - 1), y1 - (y1 - y0) * 0.18), fill=(15, 15, 15))
            x += bar + module * int(self.rng.integers(1, 4))
        self.fitted(
            x0, y1 - (y1 - y0) * 0.18, x1, y1, ' '.join(str(d) for d in self.rng.integers(0, 10, 9)), (15, 15, 15)
        )

    def squares(self, x0: float, y0: float, side: float) -> None:
        """Draw a two-dimensional code."""
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


def rgb(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _colour(rng: np.random.Generator, hue: float) -> tuple[int, int, int]:
    saturation, value = rng.uniform(0.1, 1), rng.uniform(0.25, 1)
    k = (np.array([5, 3, 1]) + hue * 6) % 6
    colour = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return rgb(255 * colour)


def ink_on(rng: np.random.Generator, ground) -> tuple[int, int, int]:
    """A colour that is readable on a ground."""
    light = 0.3 * ground[0] + 0.6 * ground[1] + 0.1 * ground[2] > 115
    return rgb(rng.integers(0, 70, 3) + (0 if light else 185))


_ONSETS = [*'bcdfghklmnprstvw', 'br', 'ch', 'cl', 'dr', 'fl', 'gr', 'pl', 'pr', 'sh', 'st', 'str', 'th', 'tr', '']
_VOWELS = [*'aeiou', 'ai', 'ea', 'ee', 'ie', 'oo', 'ou']
_CODAS = ['', '', '', *'nrstl', 'nd', 'ng', 'st', 'm', 'ck']


def random_word(rng: np.random.Generator) -> str:
    def one(options):
        return options[int(rng.integers(len(options)))]

    return ''.join(one(_ONSETS) + one(_VOWELS) + one(_CODAS) for _ in range(int(rng.integers(1, 4))))


def random_words(rng: np.random.Generator, letters: int) -> str:
    """Words of about this many letters in total."""
    words, length = [], 0
    while length < letters:
        word = random_word(rng) if rng.random() < 0.93 else str(int(rng.integers(1, 3000)))
        kind = rng.random()
        word = word.capitalize() if kind < 0.12 else word + (',' if kind < 0.2 else '.' if kind < 0.28 else '')
        words.append(word)
        length += len(word) + 1
    return ' '.join(words)[: max(letters, 1)].strip()


def random_title(rng: np.random.Generator, words: int = 1) -> str:
    text = ' '.join(random_word(rng) for _ in range(words))
    return text.upper() if rng.random() < 0.6 else text.title()


def crop(rng: np.random.Generator, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A random part (height, width, 3) of an image: as much as fits, down to a third of that."""
    scale = min(image.shape[0] / height, image.shape[1] / width) * rng.uniform(0.33, 1)
    h, w = (min(max(round(n * scale), 1), limit) for n, limit in ((height, image.shape[0]), (width, image.shape[1])))
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
