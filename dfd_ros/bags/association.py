"""Images of one camera, matched in time with its lens states and with the depth images of another camera."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from dfd_ros.bags.depth_reprojection import CameraInfo
from dfd_ros.core.errors import plural
from dfd_ros.core.frame_offset import FrameOffset
from dfd_ros.core.lens_state import LensState

LENS_TOLERANCE = 2e-3  # s; a lens state carries its image's stamp
HORIZON = 60.0  # s that an image waits for its lens state and depth, and that these are kept
MAX_TIMELINE = 20000  # items
MAX_FRAME_OFFSET = 3  # more is a connection that delays the images
MAX_CAMERAS = 16  # on one topic
REPEATED = 'with the stamp of another image'
SEVERAL_CAMERAS = 'with lens states of several other cameras'

T = TypeVar('T')


@dataclass(frozen=True)
class Exposure:
    """An image of the focus camera or of the RGB-D sensor, decoded by `load`."""

    stamp: float
    """s, on the clock of the focus camera."""
    load: Callable[[], np.ndarray]
    """Raises InputError, or what a decoder raises, if the image cannot be decoded."""
    frame_id: str = ''
    info: Callable[[], CameraInfo | None] = lambda: None
    """Gives the calibration of the image, None if there is none. Call it late: it may be recorded after the image."""
    state: LensState | None = None
    """None: a `LensReport` has it."""
    received: float = math.nan
    """s, when it was recorded."""


@dataclass(frozen=True)
class UnusableImage:
    """An image of the focus camera that cannot be used."""

    reason: str
    received: float


@dataclass(frozen=True)
class LensReport:
    """A lens state, recorded apart from its image."""

    state: LensState
    received: float = math.nan
    frame_id: str = ''


@dataclass(frozen=True)
class DepthExposure:
    """An image of the RGB-D sensor."""

    exposure: Exposure


@dataclass(frozen=True)
class Frame:
    """An image of the focus camera, the state of its lens, and the depth image taken at the same time."""

    image: Exposure
    state: LensState
    depth: Exposure

    @property
    def stamp(self) -> float:
        return self.image.stamp


@dataclass
class Counts:
    """Number of images, and why some were left out, for the report."""

    images: int = 0
    frames: int = 0
    """In samples."""
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """By reason."""
    gap: float = math.nan
    """Median time (s) from an image to the nearest depth image, of the images without one near enough."""
    frame_offsets: Counter[int] = field(default_factory=Counter)
    """By how many frames lens states were recorded before the images that have their stamps."""

    @property
    def late_lens_states(self) -> str:
        """What is wrong if most lens states seem to have the stamps of other images; empty if they do not."""
        frames, count = self.frame_offsets.most_common(1)[0] if self.frame_offsets else (0, 0)
        if not 0 < abs(frames) <= MAX_FRAME_OFFSET or count < 0.5 * self.frame_offsets.total():
            return ''
        side = 'before' if frames > 0 else 'after'
        return (
            f'lens states were recorded {plural(abs(frames), "frame")} {side} the images '
            'that have their stamps: if they do not have the stamps of their own images, all focus distances are wrong'
        )

    def __str__(self) -> str:
        reasons = ', '.join(f'{count} {reason}' for reason, count in self.left_out.most_common())
        return f'{plural(self.images, "image")}, {self.frames} in {plural(self.samples, "sample")}' + (
            f'; left out: {reasons}' if reasons else ''
        )


class Repeats:
    """Notices stamps that come again: of a clock that stands still, or of messages that were recorded twice. Nothing
    shows which image such a lens state belongs to. Cameras with frame_ids of their own may have the same stamps."""

    def __init__(self) -> None:
        self._seen: deque[tuple[str, float]] = deque(maxlen=MAX_CAMERAS)

    def has(self, frame_id: str, stamp: float) -> bool:
        """Whether this one came before; it counts as seen from now on."""
        if (frame_id, stamp) in self._seen:
            return True
        self._seen.append((frame_id, stamp))
        return False


class Timeline(Generic[T]):
    """The newest items of a stream, in order of their stamps, however they arrive."""

    def __init__(self) -> None:
        self._stamps: deque[float] = deque()
        self._items: deque[T] = deque()
        self._last_two: deque[float] = deque(maxlen=2)

    def add(self, stamp: float, item: T) -> None:
        at = len(self._stamps)
        if self._stamps and stamp < self._stamps[-1]:
            at = bisect_left(self._stamps, stamp)
        self._stamps.insert(at, stamp)
        self._items.insert(at, item)
        self._last_two.append(stamp)
        self.forget(-math.inf)

    @property
    def newest(self) -> float:
        """The stream has arrived up to this stamp. A single wrong stamp does not matter."""
        return min(self._last_two) if len(self._last_two) == 2 else -math.inf

    def nearest(self, stamp: float) -> tuple[float, T | None]:
        """(distance in s, item); (inf, None) if there is none."""
        at = bisect_left(self._stamps, stamp)
        found = [(abs(self._stamps[i] - stamp), self._items[i]) for i in (at - 1, at) if 0 <= i < len(self._stamps)]
        return min(found, key=lambda item: item[0]) if found else (math.inf, None)

    def forget(self, before: float) -> None:
        """Removes the items before this stamp, and the oldest of too many."""
        while self._stamps and (self._stamps[0] < before or len(self._stamps) > MAX_TIMELINE):
            self._stamps.popleft()
            self._items.popleft()


class LensTimelines:
    """The lens states of each camera on the topic, by their frame_ids."""

    def __init__(self) -> None:
        self._of: dict[str, Timeline[LensReport]] = {}
        self._repeats = Repeats()

    def add(self, report: LensReport) -> None:
        """Of lens states with one stamp only the first counts."""
        if not self._repeats.has(report.frame_id, report.state.stamp):
            frame_id = report.frame_id if len(self._of) < MAX_CAMERAS else ''
            self._of.setdefault(frame_id, Timeline()).add(report.state.stamp, report)

    def of(self, frame_id: str) -> Timeline[LensReport] | None:
        """Those of the camera with this frame_id, or of the only one; None if it may be any of several."""
        if frame_id in self._of or not self._of:
            return self._of.get(frame_id, Timeline())
        return next(iter(self._of.values())) if len(self._of) == 1 else None

    def forget(self, oldest: float) -> None:
        """Removes those that no image from this stamp on can need."""
        for timeline in self._of.values():
            timeline.forget(min(oldest, timeline.newest) - HORIZON)


Event = Exposure | UnusableImage | LensReport | DepthExposure
"""What a recording consists of. An `Exposure` is of the focus camera."""


def associate(events: Iterable[Event], tolerance: float, counts: Counts) -> Iterator[Frame]:
    """Frames in the order of the images, each with the nearest depth image within `tolerance` s.

    Only stamps matter: in the recording, the streams may be up to `HORIZON` apart. Images without a lens state or
    without depth are left out and counted. Memory does not grow with the recording.
    """
    lens, repeats = LensTimelines(), Repeats()
    offset = FrameOffset()
    depth: Timeline[Exposure] = Timeline()
    images: deque[Exposure] = deque()
    gaps: deque[float] = deque(maxlen=1000)

    def take(now: float) -> Iterator[Frame]:
        while images:
            image = images[0]
            states = lens.of(image.frame_id)
            has_lens = (
                image.state is not None
                or states is None
                or states.newest >= image.stamp + LENS_TOLERANCE
                or states.nearest(image.stamp)[0] == 0.0
            )
            if not ((has_lens and depth.newest >= image.stamp + tolerance) or now - image.received > HORIZON):
                return
            images.popleft()
            yield from pair(image)

    def pair(image: Exposure) -> Iterator[Frame]:
        state = image.state
        if state is None:
            states = lens.of(image.frame_id)
            if states is None:
                counts.left_out[SEVERAL_CAMERAS] += 1
                return
            distance, report = states.nearest(image.stamp)
            if report is None or distance > LENS_TOLERANCE:
                counts.left_out['with no lens state'] += 1
                return
            state = report.state
            offset.add_pair(image.received, report.received)
            counts.frame_offsets[offset.frames] += 1
        distance, found = depth.nearest(image.stamp)
        if found is None or distance > tolerance:
            counts.left_out['with no depth at that time'] += 1
            if found is not None:
                gaps.append(distance)
                counts.gap = float(np.median(gaps))
            return
        yield Frame(image, state, found)

    for event in events:
        if isinstance(event, Exposure):
            counts.images += 1
            if repeats.has(event.frame_id, event.stamp):
                counts.left_out[REPEATED] += 1
            else:
                images.append(event)
                offset.add_image(event.stamp)
            now = event.received
        elif isinstance(event, UnusableImage):
            counts.images += 1
            counts.left_out[event.reason] += 1
            now = event.received
        elif isinstance(event, LensReport):
            lens.add(event)
            now = event.received
        else:
            depth.add(event.exposure.stamp, event.exposure)
            now = event.exposure.received
        yield from take(now)
        oldest = min((image.stamp for image in images), default=math.inf)
        lens.forget(oldest)
        depth.forget(min(oldest, depth.newest) - HORIZON)
    yield from take(math.inf)
