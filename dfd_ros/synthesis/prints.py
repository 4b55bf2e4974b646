"""Printed matter as images: pages, covers, boxes, posters, screens and signs, plain between sharp edges.

A printed surface is flat, whatever is printed on it. Training and tests draw from different layouts.
"""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.synthesis.print_sheet import MIN_FONT, Photographs, Sheet, ink_on, random_title, random_word, rgb

# Layouts for training.


def _page(rng, height, width, photographs):
    """A page of a book or a magazine: columns of text, headings, figures."""
    paper = rgb(255 - rng.integers(0, 30) - rng.integers(0, 18, 3))
    sheet = Sheet(rng, height, width, photographs, paper)
    margin = sheet.short * rng.uniform(0.05, 0.14)
    columns = int(rng.integers(1, 4))
    size = max(MIN_FONT, sheet.short * math.exp(rng.uniform(math.log(0.008), math.log(0.04))))
    gap = margin * 0.5
    wide = (width - 2 * margin - gap * (columns - 1)) / columns
    top = margin
    if rng.random() < 0.6:
        heading = size * rng.uniform(1.6, 5)
        sheet.fitted(margin, top, width - margin, top + heading, random_title(rng, int(rng.integers(1, 5))), None, 1)
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
                sheet.text(x, y, random_title(rng, 2), size * 1.5, None, 1)
                y += 2.4 * size
            else:
                sheet.paragraph(x, y, x + wide, y + part, size, ragged=rng.random() < 0.3)
                y += part + size
    return sheet.array()


def _cover(rng, height, width, photographs):
    """The cover of a book: a large title, a picture or a plain ground, an author."""
    sheet = Sheet(rng, height, width, photographs)
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
        sheet.fitted(width * 0.08, y, width * 0.92, y + high, random_title(rng, int(rng.integers(1, 3))))
        y += high * 1.1
    sheet.text(width / 2, height * 0.93, random_title(rng, 2), sheet.short * rng.uniform(0.03, 0.06), None, 1, 'mm')
    return sheet.array()


def _box(rng, height, width, photographs):
    """A face of a product's box: large plain areas, large filled letters, small print, a picture, a bar code."""
    sheet = Sheet(rng, height, width, photographs)
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
        text = random_title(rng) if rng.random() < 0.8 else random_title(rng)[0]
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
    sheet = Sheet(rng, height, width, photographs)
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
            random_title(rng, int(rng.integers(1, 4))),
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
    ground = rgb(rng.integers(15, 60, 3) if dark else rng.integers(190, 250, 3))
    sheet = Sheet(rng, height, width, photographs, ground)
    if rng.random() < 0.5:
        sheet.picture(0, 0, width, height)
    size = max(MIN_FONT, sheet.short * rng.uniform(0.015, 0.035))
    for _ in range(int(rng.integers(1, 5))):
        x0, y0, x1, y1 = _rectangle(rng, height, width, 1.2)
        shade = int(rng.integers(15, 50) if rng.random() < 0.4 else rng.integers(225, 256))
        face = (shade, shade, shade)
        ink = ink_on(rng, face)
        sheet.box(x0, y0, x1, y1, face, (128, 128, 128), 1, rng.uniform(0, size))
        sheet.box(x0, y0, x1, y0 + 1.6 * size, sheet.colours[0])
        sheet.text(x0 + size, y0 + 0.2 * size, random_title(rng, 2), size, ink_on(rng, sheet.colours[0]))
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
        size,
        0.2 * size,
        '   '.join(random_title(rng) for _ in range(5)),
        size,
        (220, 220, 220) if dark else (20, 20, 20),
    )
    return sheet.array()


def _keyboard(rng, height, width, photographs):
    """A grid of keys with letters."""
    sheet = Sheet(rng, height, width, photographs)
    _keys(
        sheet, width * 0.03, height * 0.05, width * 0.97, height * 0.95, ink_on(rng, sheet.colours[1]), sheet.colours[1]
    )
    return sheet.array()


def _sign(rng, height, width, photographs):
    """A sign: one plain ground, a border, an arrow or a disc, very few large letters."""
    sheet = Sheet(rng, height, width, photographs)
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
                width * 0.1,
                y,
                width * 0.9,
                y + height * 0.66 / rows,
                random_title(rng, int(rng.integers(1, 3))),
                None,
                1,
            )
    return sheet.array()


def _blocks(rng, height, width, photographs):
    """A few large plain areas, as on furniture and packaging."""
    sheet = Sheet(rng, height, width, photographs)
    for _ in range(int(rng.integers(1, 6))):
        sheet.box(
            *_rectangle(rng, height, width, 1.5),
            sheet.colours[int(rng.integers(3))],
            sheet.ink if rng.random() < 0.3 else None,
            int(rng.integers(1, 4)),
            sheet.short * rng.uniform(0, 0.1) * (rng.random() < 0.4),
        )
    return sheet.array()


# Layouts for tests.


def _calendar(rng, height, width, photographs):
    sheet = Sheet(rng, height, width, photographs)
    top = height * rng.uniform(0.3, 0.6)
    sheet.picture(0, 0, width, top)
    sheet.fitted(width * 0.1, top, width * 0.9, top + height * 0.1, random_title(rng), None, 1)
    rows, columns = int(rng.integers(4, 7)), 7
    y0 = top + height * 0.12
    for day in range(rows * columns - 3):
        x, y = (day % columns + 0.1) * width / columns, y0 + (day // columns) * (height - y0) / rows
        sheet.text(x, y, str(day % 31 + 1), sheet.short * 0.05, sheet.colours[2] if day % 7 == 6 else None)
        sheet.draw.line((0, y, width, y), sheet.ink)
    return sheet.array()


def _map(rng, height, width, photographs):
    sheet = Sheet(rng, height, width, photographs, rgb(rng.integers(200, 250, 3)))
    for _ in range(int(rng.integers(2, 6))):
        centre, angle = rng.uniform(0, 1, 2) * (width, height), np.sort(rng.uniform(0, 2 * np.pi, 9))
        radius = sheet.short * rng.uniform(0.1, 0.4, 9)
        points = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
        sheet.draw.polygon([tuple(p) for p in points.tolist()], sheet.colours[int(rng.integers(3))])
    for _ in range(int(rng.integers(8, 30))):
        points = np.cumsum(rng.normal(0, sheet.short * 0.12, (6, 2)), 0) + rng.uniform(0, 1, 2) * (width, height)
        sheet.draw.line([tuple(p) for p in points.tolist()], sheet.ink, int(rng.integers(1, 5)), 'curve')
    for _ in range(int(rng.integers(5, 25))):
        sheet.text(
            rng.uniform(0, width), rng.uniform(0, height), random_word(rng), sheet.short * rng.uniform(0.012, 0.05)
        )
    return sheet.array()


def _label(rng, height, width, photographs):
    """A label on a parcel: lines, an address, codes."""
    sheet = Sheet(rng, height, width, photographs, rgb(250 - rng.integers(0, 20, 3)))
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
            sheet.fitted(
                width * 0.05, y, width * 0.95, y + high, f'{random_title(rng)} {rng.integers(10, 999)}', None, 1
            )
        else:
            sheet.paragraph(width * 0.05, y + high * 0.1, width * 0.7, y + high, sheet.short * 0.03, ragged=True)
        y += high
    return sheet.array()


LAYOUTS = {
    'train': (_page, _page, _cover, _box, _box, _box, _poster, _screen, _keyboard, _sign, _blocks, _blocks),
    'test': (_calendar, _map, _label),
}


BY_NAME = {'page': _page, 'cover': _cover, 'box': _box, 'poster': _poster, 'calendar': _calendar}


def _rectangle(
    rng: np.random.Generator, height: int, width: int, largest: float = 0.8
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a rectangle within a sheet."""
    w, h = (min(n, n * largest * rng.uniform(0.25, 1)) for n in (width, height))
    x, y = rng.uniform(0, max(width - w, 1)), rng.uniform(0, max(height - h, 1))
    return x, y, x + w, y + h


def _chart(sheet: Sheet, x0: float, y0: float, x1: float, y1: float) -> None:
    n = int(sheet.rng.integers(3, 12))
    for i, value in enumerate(sheet.rng.uniform(0.1, 1, n)):
        x = x0 + (x1 - x0) * i / n
        sheet.box(x, y1 - (y1 - y0) * value, x + (x1 - x0) * 0.7 / n, y1, sheet.colours[i % 3])


def _keys(sheet: Sheet, x0: float, y0: float, x1: float, y1: float, ink, fill=None) -> None:
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
            sheet.text(x + wide * 0.25, y + high * 0.15, random_word(sheet.rng)[:1].upper(), high * 0.45, ink)


def draw_print(
    rng: np.random.Generator, height: int, width: int, photographs: Photographs = (), split: str = 'train'
) -> np.ndarray:
    """A printed sheet.

    Args:
        rng: determines the drawing, together with the installed fonts.
        height, width: px, at least 16.
        photographs: (H, W, 3) uint8 sRGB, for the pictures on the sheet; if empty, illustrations replace them.
        split: 'train' or 'test' layouts.

    Returns:
        (height, width, 3) uint8, sRGB.
    """
    layouts = LAYOUTS[split]
    return layouts[int(rng.integers(len(layouts)))](rng, height, width, photographs)
