"""A small RAW file: an uncompressed DNG 1.4 of a Bayer sensor, of some picture."""

import struct
from pathlib import Path

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
_FORMATS = {BYTE: 'B', ASCII: 'B', SHORT: 'H', LONG: 'I', RATIONAL: 'I', SRATIONAL: 'i'}


def write_dng(path: Path, picture: np.ndarray, orientation: int = 1, focus_distance: tuple[int, int] = (3, 2)) -> None:
    """picture: (H, W, 3) uint8, taken for linear light. focus_distance: m, numerator and denominator."""
    height, width = picture.shape[:2]
    mosaic = picture[..., 1].astype('<u2')
    mosaic[::2, ::2], mosaic[1::2, 1::2] = picture[::2, ::2, 0], picture[1::2, 1::2, 2]
    data = (mosaic * 257).tobytes()
    identity = [value for row in np.eye(3, dtype=int) for one in row for value in (int(one), 1)]
    exif = {0x920A: (RATIONAL, [43, 10]), 0x829D: (RATIONAL, [18, 10]), 0x9206: (RATIONAL, list(focus_distance))}
    main = {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),
        271: (ASCII, list(b'Tiny\0')),
        272: (ASCII, list(b'Raw\0')),
        273: (LONG, [0]),  # where the pixels are: set below
        274: (SHORT, [orientation]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, [0, 1, 1, 2]),
        34665: (LONG, [0]),  # where EXIF is: set below
        50706: (BYTE, [1, 4, 0, 0]),
        50708: (ASCII, list(b'Tiny Raw\0')),
        50717: (LONG, [65535]),
        50721: (SRATIONAL, identity),
        50728: (RATIONAL, [1, 1, 1, 1, 1, 1]),
        50778: (SHORT, [21]),
    }
    exif_at = 8
    exif_bytes = _directory(exif, exif_at)
    main_at = exif_at + len(exif_bytes)
    main[34665] = (LONG, [exif_at])
    main[273] = (LONG, [main_at + len(_directory(main, main_at))])
    path.write_bytes(struct.pack('<2sHI', b'II', 42, main_at) + exif_bytes + _directory(main, main_at) + data)


def _directory(entries: dict[int, tuple[int, list[int]]], start: int) -> bytes:
    """An image file directory at this offset, and its values behind it."""
    body, values = struct.pack('<H', len(entries)), b''
    values_at = start + 2 + 12 * len(entries) + 4
    for tag, (kind, numbers) in sorted(entries.items()):
        packed = struct.pack(f'<{len(numbers)}{_FORMATS[kind]}', *numbers)
        count = len(numbers) // 2 if kind in (RATIONAL, SRATIONAL) else len(numbers)
        if len(packed) > 4:
            packed, values = struct.pack('<I', values_at + len(values)), values + packed + b'\0' * (len(packed) % 2)
        body += struct.pack('<HHI4s', tag, kind, count, packed)
    return body + struct.pack('<I', 0) + values
