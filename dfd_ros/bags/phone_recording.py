"""A phone's recording: frames or a video, and a table of what Android's Camera2 reports of each frame.

A folder with ``frames.csv`` and the images that its column ``file`` names, or a video (``video.mp4`` or the only video
there) whose frames are the rows in order. Columns, by the name here or by that of Camera2's CaptureResult:

=========================  =====================  =============================================================
``timestamp_ns``           SENSOR_TIMESTAMP       start of the exposure; any clock
``focus_dioptre``          LENS_FOCUS_DISTANCE    1/m, 0 = infinity
``exposure_ns``            SENSOR_EXPOSURE_TIME   optional: the stamp is then the middle of the exposure
``f_number``               LENS_APERTURE          optional
``focal_length_mm``        LENS_FOCAL_LENGTH      optional
``lens_state``             LENS_STATE             optional: 0 = at rest, 1 = moving
``pixel_pitch_um``                                optional: of the images as they are
``nearest_dioptre``        (see below)            optional: LENS_INFO_MINIMUM_FOCUS_DISTANCE of the camera
``calibration``            (see below)            optional: LENS_INFO_FOCUS_DISTANCE_CALIBRATION of the camera
=========================  =====================  =============================================================

Names such as ``android.lens.focusDistance`` are fine too.

https://developer.android.com/reference/android/hardware/camera2/CaptureResult
"""

from __future__ import annotations

import csv
import functools
import hashlib
import heapq
import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from dfd_ros.bags.association import DepthExposure, Exposure
from dfd_ros.bags.bag_reader import Bag, add_to_fingerprint
from dfd_ros.bags.clock_offset import ChangeSignal, estimate
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.recording_events import OFFSET_SECONDS, Recording, Topics, events, rgbd_signal
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.files import require_file
from dfd_ros.core.image_io import read_image, used_bits
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import distance

TABLE = 'frames.csv'
HINT = "; a phone's recording needs one"
VIDEOS = ('.mp4', '.mov', '.mkv', '.avi', '.webm')
_ALIASES = {
    'sensor_timestamp': 'timestamp_ns',
    'lens_focus_distance': 'focus_dioptre',
    'sensor_exposure_time': 'exposure_ns',
    'lens_aperture': 'f_number',
    'lens_focal_length': 'focal_length_mm',
    'lens_info_minimum_focus_distance': 'nearest_dioptre',
    'lens_info_focus_distance_calibration': 'calibration',
}
_NEEDED = ('timestamp_ns', 'focus_dioptre')
_MOVING = 1.0
_UNCALIBRATED = ('0', 'uncalibrated')
_MAX_DIOPTRES = 1000.0
_MAX_TABLE = 256 << 20  # bytes
_MAX_ROWS = 500_000  # over four hours; a row takes a kilobyte of memory


@dataclass(frozen=True)
class _Row:
    state: LensState
    file: str
    is_uncalibrated: bool


class _Video:
    """The frames of a video, decoded when they are read."""

    def __init__(self, path: Path) -> None:
        """Raises InputError if it is not a regular file."""
        self.path = require_file(path)
        self._capture: Any = None
        self._next = 0

    def __len__(self) -> int:
        """The number of frames that can be decoded; what the file says of it is often wrong."""
        self._rewind()
        while self._capture.grab():
            self._next += 1
        count = self._next
        self._rewind()
        return count

    def _rewind(self) -> None:
        from dfd_ros.core.video_files import open_video

        if self._capture is not None:
            self._capture.release()
        self._capture, self._next = open_video(self.path), 0

    def frame(self, number: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Fast in the order of the numbers. Raises InputError."""
        import cv2

        if self._capture is None or number < self._next:
            self._rewind()
        while self._next < number and self._capture.grab():
            self._next += 1
        is_there, image = self._capture.read()
        self._next += 1
        if not is_there:
            raise InputError(f'{self.path}: frame {number} cannot be decoded')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class PhoneRecording:
    """The frames of a phone's recording, in order of time, with the lens state of each."""

    def __init__(self, folder: str | Path, bits: int = 0) -> None:
        """bits: that 16-bit images use; 0 = found. Raises InputError, one line that names file, row and column."""
        self.folder = Path(folder)
        self._rows = _read_table(self.folder / TABLE)
        self._video: _Video | None = None
        self._bits = bits
        if self._rows[0].file and not bits:
            self._bits = used_bits([self.folder / row.file for row in self._rows], str(self.folder))
        if not self._rows[0].file:
            self._video = _Video(_find_video(self.folder))
            count = len(self._video)
            if count != len(self._rows):
                raise InputError(
                    f'{self._video.path}: {count} frames, but {self.folder / TABLE} has {len(self._rows)} rows; '
                    'which row belongs to which frame cannot be known'
                )

    def __len__(self) -> int:
        return len(self._rows)

    def notes(self) -> list[str]:
        """Lines about the recording."""
        notes = []
        if any(row.is_uncalibrated for row in self._rows):
            notes.append(
                f'{self.folder / TABLE}: warning: the focus distances of this phone are not calibrated '
                '(LENS_INFO_FOCUS_DISTANCE_CALIBRATION), so they are not in metres; measure them with dfd calibrate'
            )
        return notes

    def exposures(self) -> Iterator[Exposure]:
        """The frames with their lens states."""
        for number, row in enumerate(self._rows):
            load: Callable[[], np.ndarray] = (
                functools.partial(_read_image, self.folder / row.file, self._bits)
                if self._video is None
                else functools.partial(self._video.frame, number)
            )
            yield Exposure(row.state.stamp, load, state=row.state, received=row.state.stamp)

    def signal(self) -> ChangeSignal:
        """Changes in the phone's images, for the clock offset."""
        signal = ChangeSignal()
        for exposure in self.exposures():
            if exposure.stamp - self._rows[0].state.stamp > OFFSET_SECONDS:
                break
            try:
                image = exposure.load()
            except InputError:
                continue  # reported by the conversion
            signal.push(exposure.stamp, image)
        return signal


def _read_image(path: Path, bits: int) -> np.ndarray:
    return read_image(require_file(path, f', named by {TABLE}'), as_stored=True, bits=bits)


def fingerprint(folder: Path) -> str:
    """Of the contents of a phone's recording, wherever it is stored. Raises InputError, OSError."""
    digest = hashlib.sha256()
    table = folder / TABLE
    names = {row.file for row in _read_table(table)}
    for file in (table, *(folder / name if name else _find_video(folder) for name in sorted(names))):
        if file.exists():  # a frame without its image is left out
            add_to_fingerprint(digest, file)
    return digest.hexdigest()


def open_with(bag: Bag, folder: Path, topics: Topics, offset: float | str, bits: int = 0) -> Recording:
    """Opens a phone's recording together with the bag of an RGB-D sensor. topics: as they are named in the bag. bits:
    as of `PhoneRecording`. Raises InputError."""
    phone = PhoneRecording(folder, bits)
    if isinstance(offset, str):
        try:
            offset = estimate(phone.signal(), rgbd_signal(bag, topics)).seconds
        except InputError as error:
            raise InputError(f'{folder} and {bag.path}: {error}') from None
    frames = Frames()
    # The phone's images have no time of recording: merge by stamps.
    depths = (
        DepthExposure(replace(event.exposure, received=event.exposure.stamp))
        for event in events(bag, topics, frames, offset=offset, with_images=False)
        if isinstance(event, DepthExposure)
    )
    merged: Iterator[Exposure | DepthExposure] = heapq.merge(
        phone.exposures(),
        depths,
        key=lambda event: (event.exposure if isinstance(event, DepthExposure) else event).received,
    )
    return Recording(merged, frames, lambda: phone.notes() + bag.notes(), offset, len(phone))


def _read_table(path: Path) -> list[_Row]:
    try:
        with open(require_file(path, HINT, _MAX_TABLE), newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            names = [_column(name) for name in reader.fieldnames or ()]
            reader.fieldnames = names
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise InputError(f'{path}: no column {missing[0]}; its first line must name the columns')
            rows = [
                _row(values, f'{path}: row {number}')
                for number, values in enumerate(itertools.islice(reader, _MAX_ROWS + 1), 1)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path}: cannot be read: {error}') from None
    if not rows:
        raise InputError(f'{path}: no rows')
    if len(rows) > _MAX_ROWS:
        raise InputError(f'{path}: more than {_MAX_ROWS} rows; split the recording')
    for number, (before, after) in enumerate(itertools.pairwise(rows), 2):
        if not after.state.stamp > before.state.stamp:
            raise InputError(f'{path}: row {number}: timestamp_ns is not after that of the row before')
        if bool(after.file) != bool(before.file):
            raise InputError(f'{path}: row {number}: file is given in some rows only')
    return rows


def _column(name: str) -> str:
    words = re.sub('(?<=[a-z])(?=[A-Z])', '_', (name or '').strip())  # as in focusDistance
    plain = words.lower().removeprefix('android.').replace('.', '_')
    return _ALIASES.get(plain, plain)


def _row(values: dict[str, str], where: str) -> _Row:
    def number(column: str) -> float:
        text = (values.get(column) or '').strip()
        try:
            return float(text) if text else math.nan
        except ValueError:
            raise InputError(f'{where}: {column}: {quoted(text)} is not a number') from None

    def positive(column: str) -> float:
        value = number(column)
        return value if value > 0 else math.nan

    stamp, focus = number('timestamp_ns'), number('focus_dioptre')
    if not math.isfinite(stamp):
        raise InputError(f'{where}: timestamp_ns is missing')
    if not 0 <= focus <= _MAX_DIOPTRES:
        raise InputError(f'{where}: focus_dioptre is {focus}; must be 0 (infinity) to {_MAX_DIOPTRES:g}')
    exposure, nearest = positive('exposure_ns'), positive('nearest_dioptre')
    middle = stamp + (0.0 if math.isnan(exposure) else exposure / 2)
    lens = SimpleNamespace(
        focus_distance=distance(focus),
        focal_length=positive('focal_length_mm') * 1e-3,
        f_number=positive('f_number'),
        pixel_pitch=positive('pixel_pitch_um') * 1e-6,
        magnification=math.nan,
        near_distance=1 / nearest,
        far_distance=math.inf,
        settled=number('lens_state') != _MOVING,
    )
    state = LensState.of_message(lens, middle * 1e-9, where)
    uncalibrated = (values.get('calibration') or '').strip().lower() in _UNCALIBRATED
    return _Row(state, (values.get('file') or '').strip(), uncalibrated)


def _find_video(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS)
    named = [path for path in found if path.stem == 'video']
    if len(named or found) != 1:
        raise InputError(
            f'{folder}: {len(found)} videos and no column file in {TABLE}; give one video.mp4, or name '
            'the images of the frames'
        )
    return (named or found)[0]
