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
``nearest_dioptre``                               optional: LENS_INFO_MINIMUM_FOCUS_DISTANCE of the camera
=========================  =====================  =============================================================

https://developer.android.com/reference/android/hardware/camera2/CaptureResult
"""

from __future__ import annotations

import csv
import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dfd_ros.bags.association import DepthExposure, Exposure
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.clock_offset import ChangeSignal, estimate
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.recording_events import OFFSET_SECONDS, Recording, Topics, events, rgbd_signal
from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import read_image
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import distance

TABLE = 'frames.csv'
VIDEOS = ('.mp4', '.mov', '.mkv', '.avi', '.webm')
_ALIASES = {
    'sensor_timestamp': 'timestamp_ns',
    'lens_focus_distance': 'focus_dioptre',
    'sensor_exposure_time': 'exposure_ns',
    'lens_aperture': 'f_number',
    'lens_focal_length': 'focal_length_mm',
}
_NEEDED = ('timestamp_ns', 'focus_dioptre')
_MOVING = 1.0


@dataclass(frozen=True)
class _Row:
    state: LensState
    file: str


class PhoneRecording:
    """The frames of a phone's recording, in order of time, with the lens state of each."""

    def __init__(self, folder: str | Path) -> None:
        """Raises InputError, one line that names the file, the row and the column."""
        self.folder = Path(folder)
        self._rows = _read_table(self.folder / TABLE)
        self._video = None if self._rows[0].file else _find_video(self.folder)

    def __len__(self) -> int:
        return len(self._rows)

    def exposures(self) -> Iterator[Exposure]:
        """The frames with their lens states. Raises InputError if an image is missing or the video is too short."""
        for row, load in zip(self._rows, self._loaders()):
            yield Exposure(row.state.stamp, load, state=row.state, received=row.state.stamp)

    def _loaders(self) -> Iterator[Callable[[], np.ndarray]]:
        if self._video is None:
            for row in self._rows:
                yield functools.partial(read_image, self.folder / row.file, TABLE)
            return
        import cv2

        video = cv2.VideoCapture(str(self._video))
        try:
            for number in range(len(self._rows)):
                is_there, image = video.read()
                if not is_there:
                    raise InputError(
                        f'{self._video}: {number} frames, but {self.folder / TABLE} has {len(self._rows)} rows'
                    )
                yield functools.partial(cv2.cvtColor, image, cv2.COLOR_BGR2RGB)
        finally:
            video.release()

    def signal(self) -> ChangeSignal:
        """Changes in the phone's images, for the clock offset."""
        signal = ChangeSignal()
        for exposure in self.exposures():
            if exposure.stamp - self._rows[0].state.stamp > OFFSET_SECONDS:
                break
            signal.push(exposure.stamp, exposure.load())
        return signal


def open_with(bag: Bag, folder: Path, topics: Topics, offset: float | str) -> Recording:
    """Opens a phone's recording together with the bag of an RGB-D sensor. Raises InputError."""
    phone = PhoneRecording(folder)
    topics = topics.of(bag, with_images=False)
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
    return Recording(merged, frames, bag.cuts, offset, len(phone))


def _read_table(path: Path) -> list[_Row]:
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            names = [_column(name) for name in reader.fieldnames or ()]
            reader.fieldnames = names
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise InputError(f'{path}: no column {missing[0]}; its first line must name the columns')
            rows = [_row(values, f'{path}: row {number}') for number, values in enumerate(reader, 1)]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; a phone's recording needs one") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f'{path}: cannot be read: {error}') from None
    if not rows:
        raise InputError(f'{path}: no rows')
    for number, (before, after) in enumerate(itertools.pairwise(rows), 2):
        if not after.state.stamp > before.state.stamp:
            raise InputError(f'{path}: row {number}: timestamp_ns is not after that of the row before')
        if bool(after.file) != bool(before.file):
            raise InputError(f'{path}: row {number}: file is given in some rows only')
    return rows


def _column(name: str) -> str:
    plain = (name or '').strip().lower().removeprefix('android.').replace('.', '_')
    return _ALIASES.get(plain, plain)


def _row(values: dict[str, str], where: str) -> _Row:
    def number(column: str) -> float:
        text = (values.get(column) or '').strip()
        try:
            return float(text) if text else math.nan
        except ValueError:
            raise InputError(f'{where}: {column}: {text!r} is not a number') from None

    def positive(column: str) -> float:
        value = number(column)
        return value if value > 0 else math.nan

    stamp, focus = number('timestamp_ns'), number('focus_dioptre')
    if not math.isfinite(stamp):
        raise InputError(f'{where}: timestamp_ns is missing')
    if not 0 <= focus < math.inf:
        raise InputError(f'{where}: focus_dioptre is {focus}; must be 0 (infinity) or more')
    exposure, nearest = positive('exposure_ns'), positive('nearest_dioptre')
    middle = stamp + (0.0 if math.isnan(exposure) else exposure / 2)
    state = LensState(
        distance(focus),
        positive('focal_length_mm') * 1e-3,
        positive('f_number'),
        positive('pixel_pitch_um') * 1e-6,
        near=1 / nearest,
        far=math.nan if math.isnan(nearest) else math.inf,
        settled=number('lens_state') != _MOVING,
        stamp=middle * 1e-9,
    )
    return _Row(state, (values.get('file') or '').strip())


def _find_video(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS)
    named = [path for path in found if path.stem == 'video']
    if len(named or found) != 1:
        raise InputError(
            f'{folder}: {len(found)} videos and no column file in {TABLE}; give one video.mp4, or name '
            'the images of the frames'
        )
    return (named or found)[0]
