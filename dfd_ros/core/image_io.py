"""Image files: upright images, and the lens data in their EXIF (Exif 2.32, CIPA DC-008, section 4.6.5)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dfd_ros.core.errors import InputError

_FULL_FRAME_DIAGONAL = math.hypot(36e-3, 24e-3)
_RESOLUTION_UNIT = {2: 25.4e-3, 3: 1e-2, 4: 1e-3, 5: 1e-6}   # 4 and 5 are not in the standard but in use
_UNKNOWN, _INFINITY = 0, 0xFFFFFFFF                          # the standard's special subject distances


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
    try:
        with Image.open(path) as opened:
            lens = lens_data(opened)
            if opened.mode == 'F':
                raise ValueError('its pixels are floating-point numbers, give 8 or 16 bit')
            # Pillow would clip to 255 and not scale. Before version 10.3 it opens a 16-bit PNG as I.
            if opened.mode.startswith('I;16') or opened.mode == 'I' and opened.getextrema()[1] > 255:
                opened = Image.fromarray((np.asarray(opened) >> 8).clip(0, 255).astype(np.uint8))
            return np.asarray(ImageOps.exif_transpose(opened).convert('RGB')), opened.width, lens
    except FileNotFoundError:
        raise InputError(f'{path}: no such image' + (f', named by {named_by}' if named_by else '')) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f'{path}: cannot be read as an image: {" ".join(str(error).split())}') from None


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
