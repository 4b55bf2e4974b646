"""What image files say of the lens: EXIF (Exif 2.32, CIPA DC-008, section 4.6.5), XMP and maker notes."""

from __future__ import annotations

import math
import re

from PIL import ExifTags, Image

from dfd_ros.core import maker_notes

_FULL_FRAME_DIAGONAL = math.hypot(36e-3, 24e-3)
_RESOLUTION_UNIT = {2: 25.4e-3, 3: 1e-2, 4: 1e-3, 5: 1e-6}  # 4 and 5 are not in the standard but in use
_UNKNOWN, _INFINITY = 0, 0xFFFFFFFF  # the standard's special subject distances
_EXIF_HEADER = b'Exif\0\0'
# As an attribute or an element; the second is what Adobe's converters of raw files write. Rational numbers.
_XMP_DISTANCE = re.compile(
    rb'(?:exif:SubjectDistance|aux:ApproximateFocusDistance)(?:="|>)\s*(\d{1,10})(?:/(\d{1,10}))?\s*["<]'
)


def lens_data(image: Image.Image) -> dict[str, float]:
    """Focal length, f-number, pixel pitch and focus distance of an image as it was opened (not yet rotated).

    Returns `focal_length` (m), `f_number`, `pixel_pitch` (m, of this image, also where it has been resized)
    and `focus_distance` (m, may be infinity); NaN for each that the image does not have.
    """
    exif = image.getexif()
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    focal_length = _positive(tags.get(ExifTags.Base.FocalLength)) * 1e-3
    return {
        'focal_length': focal_length,
        'f_number': _positive(tags.get(ExifTags.Base.FNumber)),
        'pixel_pitch': _pixel_pitch(tags, focal_length, image.size),
        'focus_distance': _focus_distance(image, exif, tags),
    }


def camera_name(image: Image.Image) -> str:
    """Make and model, empty if unknown."""
    exif = image.getexif()
    names = (exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return ' '.join(str(name).strip(' \0') for name in names if name)


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


def _focus_distance(image: Image.Image, exif: Image.Exif, tags: dict) -> float:
    distance = tags.get(ExifTags.Base.SubjectDistance)
    if getattr(distance, 'numerator', _UNKNOWN) == _INFINITY:
        return math.inf
    if not math.isnan(found := _positive(distance)):
        return found
    note, block = tags.get(ExifTags.Base.MakerNote), image.info.get('exif')
    if isinstance(note, bytes) and note and isinstance(block, bytes):
        make = str(exif.get(ExifTags.Base.Make, ''))
        if not math.isnan(found := maker_notes.focus_distance(make, note, block.removeprefix(_EXIF_HEADER))):
            return found
    return _xmp_distance(image.info.get('xmp'))


def _xmp_distance(packet: object) -> float:
    match = _XMP_DISTANCE.search(packet) if isinstance(packet, bytes) else None
    if match is None:
        return math.nan
    numerator, denominator = int(match[1]), int(match[2] or 1)
    if numerator == _INFINITY:
        return math.inf
    return _positive(numerator / denominator if denominator else 0)


def _positive(value) -> float:
    """A positive, finite number, else NaN: cameras write 0 or 0/0 for what they do not know."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return number if 0 < number < math.inf else math.nan
