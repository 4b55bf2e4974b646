"""The ground truth of a sample: a .npz archive, of which single rows can be read.

Rows of an array are deflated in blocks that do not refer to each other (RFC 1951; zlib's full flush), so that unpacking
can begin at any of them. An index beside the archive says where they are. Without it, the archive is as any other.

This module does not need torch, which rendering processes do not have.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from dfd_ros.core.array_files import Part
from dfd_ros.core.deflate import END, crc32, deflated, inflated, stored
from dfd_ros.core.sample import TRUTH

_ROWS = 16  # of a block
_WORTH_IT = 0.8  # share of the size above which a block is stored as it is: to unpack it would cost more


def packed(arrays: dict[str, np.ndarray]) -> tuple[bytes, dict[str, Any]]:
    """An archive of arrays (T, H, W, ...), and its index: by name the offset of the first block in the archive, the
    rows of a block, and of each block its size in bytes and its CRC-32."""
    buffer, index = io.BytesIO(), {}
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, array in arrays.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
            rows = [
                array[t, r : r + _ROWS].data.cast('B')
                for t in range(len(array))
                for r in range(0, array.shape[1], _ROWS)
            ]
            first, *blocks = [_packed(header.getvalue()), *map(_packed, rows)]
            entry = zipfile.ZipInfo(f'{name}.npy')
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.file_size = len(header.getvalue()) + array.nbytes
            entry.compress_size = len(first) + sum(map(len, blocks)) + len(END)
            entry.CRC = crc32(array.data, crc32(header.getvalue()))
            # Deflated already, which `ZipFile.writestr` cannot take.
            entry.header_offset = buffer.tell()
            buffer.write(entry.FileHeader(zip64=False) + first)
            index[name] = {
                'offset': buffer.tell(),
                'rows': _ROWS,
                'sizes': [len(block) for block in blocks],
                'sums': [crc32(part) for part in rows],
            }
            buffer.write(b''.join(blocks) + END)
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
            archive.start_dir = buffer.tell()
    return buffer.getvalue(), index


def _packed(data: bytes | memoryview) -> bytes:
    block = deflated(data)
    return block if len(block) < _WORTH_IT * len(data) else stored(data)


def read_part(
    read: Callable[[int, int], bytes], index: dict[str, Any], wanted: Collection[str], part: Part
) -> dict[str, np.ndarray]:
    """A part of the arrays of an archive.

    Args:
        read: gives bytes of the archive: offset, size.
        index: of `packed`.
        wanted: names of arrays; those that the archive does not have are left out.

    Raises:
        ValueError, LookupError, TypeError: the index or the archive is damaged, or they do not belong together.
    """
    return {name: _part(read, name, index[name], part) for name in TRUTH if name in wanted and name in index}


def _part(read: Callable[[int, int], bytes], name: str, entry: dict[str, Any], part: Part) -> np.ndarray:
    dtype, last = TRUTH[name]
    shape, frames, rows, columns = part
    height, high = shape[1], int(entry['rows'])
    sizes, sums = np.array(entry['sizes'], np.int64), entry['sums']
    blocks = -(-height // high)  # of a frame
    if high < 1 or sizes.shape != (shape[0] * blocks,) or len(sums) != len(sizes) or (sizes < 0).any():
        raise ValueError(f'the index of {name} is not of {shape}')
    starts = int(entry['offset']) + np.concatenate([[0], np.cumsum(sizes)])
    begin, end = rows.start // high, -(-rows.stop // high)
    line = shape[2] * math.prod(last) * np.dtype(dtype).itemsize
    length = (min(end * high, height) - begin * high) * line
    read_frames = []
    for t in frames:
        first, behind = t * blocks + begin, t * blocks + end
        data = read(int(starts[first]), int(starts[behind] - starts[first]))
        try:
            content = memoryview(inflated(data, length + 1))
        except ValueError as error:
            raise ValueError(f'{name} is damaged: {error}') from None
        found = [crc32(content[at : at + high * line]) for at in range(0, len(content), high * line)]
        if len(content) != length or found != sums[first:behind]:
            raise ValueError(f'{name} is damaged, or its index is of another archive')
        array: np.ndarray = np.frombuffer(content, dtype).reshape(-1, shape[2], *last)
        read_frames.append(array[rows.start - begin * high : rows.stop - begin * high, columns])
    return np.stack(read_frames)
