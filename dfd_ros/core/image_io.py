"""Image files: upright images, and the lens data in their EXIF (Exif 2.32, CIPA DC-008, section 4.6.5)."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dfd_ros.core.errors import InputError

FORMATS = ('PNG', 'JPEG', 'TIFF', 'WEBP', 'PPM')
SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pnm')
LARGEST = 200_000_000  # px
Image.MAX_IMAGE_PIXELS = LARGEST  # else Pillow warns of less, and refuses less
_FULL_FRAME_DIAGONAL = math.hypot(36e-3, 24e-3)
_RESOLUTION_UNIT = {2: 25.4e-3, 3: 1e-2, 4: 1e-3, 5: 1e-6}  # 4 and 5 are not in the standard but in use
_UNKNOWN, _INFINITY = 0, 0xFFFFFFFF  # the standard's special subject distances


def read_image(path: Path, named_by: str = '') -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file, upright.

    Args:
        named_by: for the message where there is no such file: what names it.

    Raises:
        InputError: it is not there, or cannot be read as an image of 8 or 16 bit; names the file.
    """
    return read_image_and_lens(path, named_by)[0]


def read_image_and_lens(path: Path, named_by: str = '') -> tuple[np.ndarray, int, dict[str, float]]:
    """As `read_image`; also the width (px) of the image as it is stored, along which the sensor's width counts, and
    its `lens_data`."""
    with _opened(path, path, named_by) as image:
        return _rgb(image), image.width, lens_data(image)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """As `read_image`, of the bytes of a file. name: for messages."""
    with _opened(io.BytesIO(data), name) as image:
        return _rgb(image)


def read_depth_image(path: Path) -> np.ndarray:
    """(H, W) uint16, in the unit of the file, of an image file of one channel of 16 bits, upright. Raises as
    `read_image`."""
    with _opened(path, path) as image:
        if not image.mode.startswith('I'):
            raise ValueError('must be of one channel of 16 bits')
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)


@contextlib.contextmanager
def _opened(file: Path | BinaryIO, name: object, named_by: str = '') -> Iterator[Image.Image]:
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise ValueError(f'{image.width}x{image.height} pixels, more than {LARGEST // 10**6} million')
            yield image
    except FileNotFoundError:
        raise InputError(f'{name}: no such image' + (f', named by {named_by}' if named_by else '')) from None
    except UnidentifiedImageError:
        raise InputError(f'{name}: cannot be read as an image, give PNG, JPEG, TIFF, WebP or PNM') from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f'{name}: cannot be read as an image: {" ".join(str(error).split())}') from None


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode == 'F':
        raise ValueError('its pixels are floating-point numbers, give 8 or 16 bit')
    upright = ImageOps.exif_transpose(image)
    # Pillow would clip to 255 and not scale. Before version 10.3 it opens a 16-bit PNG as I.
    if image.mode.startswith('I;16') or (image.mode == 'I' and np.asarray(image).max() > 255):
        upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
    return np.array(upright.convert('RGB'))  # one that may be written to


def _positive(value) -> float:
    """A positive, finite number, else NaN: cameras write 0 or 0/0 for what they do not know."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return number if 0 < number < math.inf else math.nan


def lens_data(image: Image.Image) -> dict[str, float]:
    """Focal length, f-number, pixel pitch and focus distance of an image as it was opened (not yet rotated).

    Returns `focal_length` (m), `f_number`, `pixel_pitch` (m, of this image, also where it has been resized)
    and `focus_distance` (m, may be infinity); NaN for each that the image does not tell.
    """
    tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
    focal_length = _positive(tags.get(ExifTags.Base.FocalLength)) * 1e-3
    return {
        'focal_length': focal_length,
        'f_number': _positive(tags.get(ExifTags.Base.FNumber)),
        'pixel_pitch': _pixel_pitch(tags, focal_length, image.size),
        'focus_distance': _focus_distance(tags),
    }


def _pixel_pitch(tags: dict, focal_length: float, size: tuple[int, int]) -> float:
    per_unit = _positive(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit = _RESOLUTION_UNIT.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), math.nan)
    original_width = _positive(tags.get(ExifTags.Base.ExifImageWidth))
    if math.isnan(original_width):
        original_width = size[0]
    pitch = unit / per_unit * original_width / size[0]
    if not math.isnan(pitch):
        return pitch
    # The standard leaves open what "equivalent" compares; makers and CIPA compare the diagonals.
    equivalent = _positive(tags.get(ExifTags.Base.FocalLengthIn35mmFilm)) * 1e-3
    return _FULL_FRAME_DIAGONAL * focal_length / equivalent / math.hypot(*size)


def _focus_distance(tags: dict) -> float:
    distance = tags.get(ExifTags.Base.SubjectDistance)
    numerator = getattr(distance, 'numerator', _UNKNOWN)
    return math.inf if numerator == _INFINITY else _positive(distance)
