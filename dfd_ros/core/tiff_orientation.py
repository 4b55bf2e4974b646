"""The orientation of the pages of TIFF files, taken out of them.

Decoders differ in what they do with it: Pillow turns pages while it decodes them, and garbles some that it maps into
memory; OpenCV mirrors them and does not turn them. Without it, all of them give the pixels as they are stored.
"""

from __future__ import annotations

import struct

_ORIENTATION, _SHORT = 0x0112, 3
_MAX_PAGES = 10_000


def without_orientation(data: bytes) -> tuple[bytes, list[int]]:
    """A TIFF file whose pages all are upright, and what they were: 1 (upright) to 8, in order.

    Of a damaged file, the pages before the damage.
    """
    upright, orientations = bytearray(data), list[int]()
    order = '<' if data[:2] == b'II' else '>'
    try:
        is_big = struct.unpack_from(f'{order}H', data, 2)[0] == 43
        number, count, entry_size, value_at = ('Q', 'Q', 20, 12) if is_big else ('I', 'H', 12, 8)
        (page,) = struct.unpack_from(order + number, data, 8 if is_big else 4)
        while page and len(orientations) < _MAX_PAGES:
            orientation = 1
            (entries,) = struct.unpack_from(order + count, data, page)
            first = page + struct.calcsize(order + count)
            end = first + entries * entry_size
            for entry in range(first, end, entry_size):
                tag, kind = struct.unpack_from(f'{order}HH', data, entry)
                if tag == _ORIENTATION and kind == _SHORT:
                    (orientation,) = struct.unpack_from(f'{order}H', data, entry + value_at)
                    struct.pack_into(f'{order}H', upright, entry + value_at, 1)
            orientations.append(orientation if orientation in range(1, 9) else 1)
            (page,) = struct.unpack_from(order + number, data, end)
    except struct.error:
        pass
    return bytes(upright), orientations
