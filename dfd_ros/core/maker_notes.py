"""Focus distance in the maker notes of cameras, which no standard describes.

The tags are those that ExifTool documents (exiftool.org/TagNames): Apple 0x000c FocusDistanceRange, Canon ShotInfo
(0x0004) FocusDistanceUpper and FocusDistanceLower, Olympus FocusInfo (0x2050) FocusDistance. Nikon, Sony and others
encrypt theirs, or have none.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of TIFF's types
_MAX_ENTRIES = 1000
_APPLE_FOCUS_RANGE = 0x000C
_CANON_SHOT_INFO, _CANON_FAR, _CANON_NEAR = 0x0004, 19, 20
_CANON_INFINITY = 0xFFFF
_OLYMPUS_FOCUS_INFO, _OLYMPUS_FOCUS_DISTANCE = 0x2050, 0x0305
_OLYMPUS_INFINITY = 0xFFFFFFFF


def focus_distance(make: str, note: bytes, tiff: bytes) -> float:
    """Focus distance in m, which may be infinity; NaN if there is none.

    Args:
        make: of the camera, from EXIF.
        note: the maker note. tiff: the TIFF structure with the EXIF, in which it lies.
    """
    try:
        return _reader(make, note)(note, tiff)
    except (struct.error, IndexError, ValueError, ZeroDivisionError):  # damaged, or of another kind than documented
        return math.nan


def _reader(make: str, note: bytes) -> Callable[[bytes, bytes], float]:
    if note.startswith(b'Apple iOS\0'):
        return _apple
    if make.lower().startswith('canon'):
        return _canon
    if note.startswith((b'OLYMPUS\0', b'OM SYSTEM\0')):
        return _olympus
    return lambda note, tiff: math.nan


def _apple(note: bytes, tiff: bytes) -> float:
    """Two signed rationals, m: the limits of what is in focus."""
    order = _byte_order(note[12:14])
    data = _entries(note, 14, order).get(_APPLE_FOCUS_RANGE, b'')
    limits = struct.unpack(f'{order}4i', data[:16])
    return _between(limits[0] / limits[1], limits[2] / limits[3])


def _canon(note: bytes, tiff: bytes) -> float:
    """Offsets count from the start of the TIFF structure. Distances are in cm, 0 if there are none."""
    order = _byte_order(tiff[:2])
    start = tiff.index(note)
    data = _entries(tiff, start, order).get(_CANON_SHOT_INFO, b'')
    values = struct.unpack(f'{order}{_CANON_NEAR + 1}H', data[: 2 * (_CANON_NEAR + 1)])
    far, near = values[_CANON_FAR], values[_CANON_NEAR]
    if not far:
        return math.nan
    return _between(*(math.inf if value == _CANON_INFINITY else value / 100 for value in (near, far)))


def _olympus(note: bytes, tiff: bytes) -> float:
    """Offsets count from the start of the note. In mm, whatever the denominator says."""
    mark = 12 if note.startswith(b'OM SYSTEM') else 8
    order = _byte_order(note[mark : mark + 2])
    pointer = _entries(note, mark + 4, order).get(_OLYMPUS_FOCUS_INFO, b'')
    focus_info = _entries(note, struct.unpack(f'{order}I', pointer[:4])[0], order)
    value = struct.unpack(f'{order}I', focus_info.get(_OLYMPUS_FOCUS_DISTANCE, b'')[:4])[0]
    if value == 0:
        return math.nan
    return math.inf if value == _OLYMPUS_INFINITY else value / 1000


def _between(one: float, other: float) -> float:
    """The focus distance between the limits of what is in focus: their mean, in vergence."""
    if not (one > 0 and other > 0):
        return math.nan
    vergence = (1 / one + 1 / other) / 2
    return 1 / vergence if vergence > 0 else math.inf


def _byte_order(mark: bytes) -> str:
    return {b'II': '<', b'MM': '>'}[mark] if mark in (b'II', b'MM') else _unknown_order()


def _unknown_order() -> str:
    raise ValueError('no byte order')


def _entries(data: bytes, start: int, order: str) -> dict[int, bytes]:
    """The values, by tag, of the image file directory (TIFF 6.0, section 2) at `start`; offsets count from 0."""
    (count,) = struct.unpack_from(f'{order}H', data, start)
    if count > _MAX_ENTRIES:
        raise ValueError(f'{count} entries')
    found = {}
    for i in range(count):
        at = start + 2 + 12 * i
        tag, kind, number = struct.unpack_from(f'{order}HHI', data, at)
        size = _SIZES.get(kind, 1) * number
        where = at + 8 if size <= 4 else struct.unpack_from(f'{order}I', data, at + 8)[0]
        found[tag] = data[where : where + size]
    return found
