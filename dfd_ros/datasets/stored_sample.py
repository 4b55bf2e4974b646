"""Reads one sample of a shard: all of it, or only some frames of an area, as training does.

This module does not need torch, which rendering processes do not have.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dfd_ros.core.array_files import Part, read_archive, read_archive_part
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import parse_json
from dfd_ros.core.image_io import decode_image, to_8_bits
from dfd_ros.core.image_rows import rows_of
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import TRUTH, Sample
from dfd_ros.datasets.truth_archive import read_part

FORMAT = 'dfd_ros-sample-1'
STATE = ('focus_distance', 'focal_length', 'f_number', 'pixel_pitch', 'magnification', 'near', 'far', 'stamp')
MAX_SAMPLE = 2**30
"""Bytes of all images of a sample."""
_TRUTH_BYTES = 10  # of ground truth per byte of the images, at most: 7 float64 numbers per pixel, and an image
_FRAME = re.compile(r'image\.(\d{1,9})\.\w+')


class Area(NamedTuple):
    """A rectangle of an image, px."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class StoredSample(contextlib.AbstractContextManager['StoredSample']):
    """A sample in a shard, within this context.

    Args:
        file: that it is in, which is closed at the end.
        name: the shard and the key.
        members: (offset, size) in the file of each part, by its suffix.

    Attributes:
        name: as given.
        lens_states: of each frame.
        source: its origin.

    Raises:
        InputError: it is none, or damaged; also when it is read. The message names the shard and the key.
    """

    def __init__(self, file: BinaryIO, name: str, members: Mapping[str, tuple[int, int]]):
        self._file, self.name, self._members = file, name, members
        try:
            self._describe()
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _describe(self) -> None:
        description = parse_json(self._read('json'), f'{self.name}.json')
        if not isinstance(description, dict) or description.get('format') != FORMAT:
            found = description.get('format') if isinstance(description, dict) else description
            raise InputError(f'{self.name}: its format is {quoted(found)}, must be "{FORMAT}"')
        with self._naming():
            self.lens_states = [_lens_state(frame, self.name) for frame in description['frames']]
            self.source = str(description.get('source', ''))
            poses, intrinsics = description.get('poses'), description.get('intrinsics')
            self._poses = None if poses is None else np.array(poses, float)
            self._intrinsics: Any = None if intrinsics is None else tuple(map(float, intrinsics))
            self._seed, self._about = description.get('seed'), description.get('about') or {}
            self._frames = self._frame_members()
        if len(self._frames) != len(self.lens_states):
            raise InputError(f'{self.name}: {len(self._frames)} images, but {len(self.lens_states)} lens states')

    def _frame_members(self) -> list[str]:
        """The images in the order of frame numbers, which other writers may not pad with zeros."""
        frames: dict[int, str] = {}
        for suffix in self._members:
            if match := _FRAME.fullmatch(suffix):
                if (number := int(match[1])) in frames:
                    raise ValueError(f'frame {number} twice')
                frames[number] = suffix
        return [suffix for _, suffix in sorted(frames.items())]

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of its images, px."""
        with self._naming():
            data = self._read(self._frames[0])
            if rows := rows_of(data, 0, 1):
                return rows.height, rows.width
            return decode_image(data, f'{self.name}.{self._frames[0]}').shape[:2]

    def whole(self, truth: Collection[str] = TRUTH) -> Sample:
        """All of it. truth: parts of the ground truth to read beside the depth; the others are None."""
        with self._naming():
            images = self._images()
            largest = images.size * _TRUTH_BYTES + 2**16
            arrays = read_archive(self._read('truth.npz'), f'{self.name}.truth.npz', {'depth', *truth}, largest)
            return self._sample(images, self.lens_states, arrays, self._intrinsics, self._poses)

    def part(self, frames: Sequence[int], area: Area, truth: Collection[str]) -> Sample:
        """Different frames, rising, and an area that is inside the images; what else can be left out is not decoded.

        truth: as of `whole`, but without `flow`, which is between frames.
        """
        rows, columns = area.slices
        states = [self.lens_states[t] for t in frames]
        with self._naming():
            images = [self._rows(self._frames[t], area) for t in frames]
            if any(image.dtype != np.uint8 for image in images):  # the bits that are used depend on all frames
                pixels = self._images()[list(frames), rows, columns]
            else:
                pixels = np.stack(to_8_bits(images))
            arrays = self._truth({'depth', *truth}, frames, rows, columns)
            intrinsics = self._intrinsics
            if intrinsics is not None and len(intrinsics) == 4:
                fx, fy, cx, cy = intrinsics
                intrinsics = fx, fy, cx - area.left, cy - area.top
            poses = None if self._poses is None else self._poses[list(frames)]
            return self._sample(pixels, states, arrays, intrinsics, poses)

    def _sample(
        self,
        images: np.ndarray,
        states: list[LensState],
        arrays: dict[str, np.ndarray],
        intrinsics: tuple[float, float, float, float] | None,
        poses: np.ndarray | None,
    ) -> Sample:
        truth: dict[str, Any] = {
            key: arrays[key].astype(dtype, copy=False) for key, (dtype, _) in TRUTH.items() if key in arrays
        }
        depth = truth.pop('depth')
        return Sample(
            images,
            states,
            np.where(depth > 0, depth, np.float32(np.nan)),  # some writers have 0 for none
            **truth,
            intrinsics=intrinsics,
            poses=poses,
            source=self.source,
            seed=self._seed,
            about=self._about,
            name=self.name,
        )

    def _truth(
        self, wanted: Collection[str], frames: Sequence[int], rows: slice, columns: slice
    ) -> dict[str, np.ndarray]:
        height, width = self.size
        part = Part((len(self._frames), height, width), frames, rows, columns)
        if 'truth.json' not in self._members:  # of older versions and other writers
            return read_archive_part(self._read('truth.npz'), f'{self.name}.truth.npz', wanted, part)
        index = parse_json(self._read('truth.json'), f'{self.name}.truth.json')
        start, size = self._members['truth.npz']

        def read(offset: int, length: int) -> bytes:
            if not 0 <= offset <= offset + length <= size:
                raise ValueError('the index of its ground truth is damaged')
            self._file.seek(start + offset)
            return self._file.read(length)

        return read_part(read, index, wanted, part)

    def _rows(self, suffix: str, area: Area) -> np.ndarray:
        """An area of an image, as `decode_image` gives it."""
        data, name = self._read(suffix), f'{self.name}.{suffix}'
        first, end = area.top, area.top + area.height
        if cut := rows_of(data, first, end):
            pixels, size, first, end = decode_image(cut.data, name), cut[2:], first - cut.first, end - cut.first
        else:
            pixels = decode_image(data, name)
            size = pixels.shape[:2]
        self._same_size(suffix, size, self.size)
        return pixels[first:end, area.slices[1]]

    def _images(self) -> np.ndarray:
        """(T, H, W, 3)."""
        images: list[np.ndarray] = []
        for suffix in self._frames:
            images.append(decode_image(self._read(suffix), f'{self.name}.{suffix}'))
            self._same_size(suffix, images[-1].shape[:2], images[0].shape[:2])
            height, width = images[0].shape[:2]
            if 3 * height * width * len(self._frames) > MAX_SAMPLE:
                raise ValueError(f'{len(self._frames)} images of {width}x{height} are too large')
        return np.stack(to_8_bits(images))

    @staticmethod
    def _same_size(suffix: str, size: tuple[int, ...], first: tuple[int, ...]) -> None:
        if size != first:
            raise ValueError(f'{suffix} of {size}, but the first image of {first}')

    def _read(self, suffix: str) -> bytes:
        offset, size = self._members[suffix]
        self._file.seek(offset)
        return self._file.read(size)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Within this context, what odd content raises names the sample."""
        try:
            yield
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
            what = f'no {error}' if isinstance(error, KeyError) else reason(error)
            raise InputError(f'{self.name}: cannot be read as a sample: {what}') from None


def _lens_state(frame: dict, name: str) -> LensState:
    if not isinstance(frame, dict):
        raise ValueError(f'a frame is {quoted(frame)}, must be a mapping')
    values = {field: math.nan if frame.get(field) is None else float(frame[field]) for field in STATE}
    if math.isnan(values['focus_distance']):
        raise ValueError('a frame has no focus_distance')
    return LensState(**values, settled=bool(frame.get('settled', True))).checked(f'{name}: a frame')
