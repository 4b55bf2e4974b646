"""Pictures of a textured scene at several depths, each blurred as far as its depth is from the focus."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

HEIGHT, WIDTH = 180, 240
DEPTHS = (0.1, 0.35, 0.6, 0.9)
"""u of four columns, from left to right."""
BLUR = 8.0
"""px of standard deviation, from end to end of the focus."""


def texture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3) uint8 with detail of all sizes."""
    draw = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cell in (1, 2, 4, 8, 16, 32, 64):
        coarse = draw.normal(0, 1, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)[:height, :width]
    return np.clip(128 + 28 * total, 0, 255).astype(np.uint8)


def photograph(
    focus: float, *, seed: int = 0, depths: Sequence[float] = DEPTHS, breathing: float = 0.0, shift: float = 0.0
) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 at this focus, v (0 far, 1 near).

    breathing: by how much the image is larger at v = 1. shift: px to the right.
    """
    sharp = texture(seed)
    image = np.empty_like(sharp)
    for i, u in enumerate(depths):
        blur = BLUR * abs(u - focus)
        part = slice(i * WIDTH // len(depths), (i + 1) * WIDTH // len(depths))
        image[:, part] = (cv2.GaussianBlur(sharp, (0, 0), blur) if blur > 0.1 else sharp)[:, part]
    scale = 1 + breathing * focus
    matrix = np.array(
        [[scale, 0, (1 - scale) * (WIDTH - 1) / 2 + shift], [0, scale, (1 - scale) * (HEIGHT - 1) / 2]], np.float32
    )
    noise = np.random.default_rng(int(focus * 1000)).normal(0, 1, image.shape)
    seen = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return np.clip(seen + noise, 0, 255).astype(np.uint8)


def sweep(count: int, **options) -> list[np.ndarray]:
    """Photographs from the farthest focus to the nearest."""
    return [photograph(focus, **options) for focus in np.linspace(0, 1, count)]


def exif(**tags) -> Image.Exif:
    """EXIF with these tags, by name; pairs are rational numbers."""
    block = Image.Exif()
    for name, value in tags.items():
        value = IFDRational(*value) if isinstance(value, tuple) else value
        tag = ExifTags.Base[name]
        if name in ('Make', 'Model', 'Orientation'):
            block[tag] = value
        else:
            block.get_ifd(ExifTags.IFD.Exif)[tag] = value
    return block


def save(path: Path, image: np.ndarray, **tags) -> None:
    """With EXIF of these tags."""
    Image.fromarray(image).save(path, quality=95, exif=exif(**tags))


def save_all(folder: Path, images: Sequence[np.ndarray], distances: Sequence[tuple[int, int]] | None = None, **tags):
    """IMG_1.jpg, IMG_2.jpg, ... ; distances: EXIF subject distances (m), as numerator and denominator."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        distance = {} if distances is None else {'SubjectDistance': distances[i]}
        save(folder / f'IMG_{i + 1}.jpg', image, **distance, **tags)
    return folder


def as_jpeg(image: np.ndarray) -> bytes:
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG')
    return file.getvalue()
