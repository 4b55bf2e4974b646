"""Images of one camera, matched in time with its lens states and with the depth images of another camera."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from dfd_ros.core.lens_state import LensState

LENS_TOLERANCE = 2e-3  # s; a lens state carries its image's stamp
HORIZON = 3.0  # s of recording that an image waits for its lens state and depth
KEPT = 1.0  # s of lens states and depth before the oldest image that waits

T = TypeVar('T')


@dataclass(frozen=True)
class Exposure:
    """An image of the focus camera or of the RGB-D sensor, decoded by `load`."""

    stamp: float
    """s, on the clock of the focus camera."""
    load: Callable[[], np.ndarray]
    frame_id: str = ''
    info: Callable[[], Any] = lambda: None
    """Gives the CameraInfo of the image, None if there is none. Call it late: it may be recorded after the image."""
    state: LensState | None = None
    """None: a `LensReport` has it."""
    received: float = math.nan
    """s, when it was recorded."""


@dataclass(frozen=True)
class LensReport:
    """A lens state, recorded apart from its image."""

    state: LensState
    received: float = math.nan


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

    def __str__(self) -> str:
        reasons = ', '.join(f'{count} {reason}' for reason, count in self.left_out.most_common())
        return f'{self.images} images, {self.frames} in {self.samples} samples' + (
            f'; left out: {reasons}' if reasons else ''
        )


class _Waiting(Generic[T]):
    """Items in order of their stamps."""

    def __init__(self) -> None:
        self._stamps: deque[float] = deque()
        self._items: deque[T] = deque()

    def add(self, stamp: float, item: T) -> None:
        if not self._stamps or stamp >= self._stamps[-1]:
            self._stamps.append(stamp)
            self._items.append(item)
            return
        at = bisect_left(self._stamps, stamp)
        self._stamps.insert(at, stamp)
        self._items.insert(at, item)

    @property
    def newest(self) -> float:
        return self._stamps[-1] if self._stamps else -math.inf

    def nearest(self, stamp: float) -> tuple[float, T | None]:
        """(distance in s, item); (inf, None) where there is none."""
        at = bisect_left(self._stamps, stamp)
        found = [(abs(self._stamps[i] - stamp), self._items[i]) for i in (at - 1, at) if 0 <= i < len(self._stamps)]
        return min(found, key=lambda item: item[0]) if found else (math.inf, None)

    def forget(self, before: float, largest: int) -> None:
        while self._stamps and (self._stamps[0] < before or len(self._stamps) > largest):
            self._stamps.popleft()
            self._items.popleft()


Event = Exposure | LensReport | DepthExposure
"""What a recording consists of. An `Exposure` is of the focus camera."""


def associate(events: Iterable[Event], tolerance: float, counts: Counts) -> Iterator[Frame]:
    """Frames in the order of the images, each with the nearest depth image within `tolerance` s.

    The events are roughly in the order of recording. Images without a lens state or without depth are left out and
    counted. Memory does not grow with the recording.
    """
    lens: _Waiting[LensState] = _Waiting()
    depth: _Waiting[Exposure] = _Waiting()
    images: deque[Exposure] = deque()
    gaps: deque[float] = deque(maxlen=1000)

    def take(now: float) -> Iterator[Frame]:
        while images:
            image = images[0]
            has_lens = (
                image.state is not None
                or lens.newest >= image.stamp + LENS_TOLERANCE
                or (lens.nearest(image.stamp)[0] == 0.0)
            )
            if not ((has_lens and depth.newest >= image.stamp + tolerance) or now - image.received > HORIZON):
                return
            images.popleft()
            yield from pair(image)
            lens.forget(image.stamp - KEPT, 1000)
            depth.forget(image.stamp - KEPT, 120)

    def pair(image: Exposure) -> Iterator[Frame]:
        state = image.state
        if state is None:
            distance, state = lens.nearest(image.stamp)
            if state is None or distance > LENS_TOLERANCE:
                counts.left_out['with no lens state'] += 1
                return
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
            images.append(event)
            now = event.received
        elif isinstance(event, LensReport):
            lens.add(event.state.stamp, event.state)
            now = event.received
        else:
            depth.add(event.exposure.stamp, event.exposure)
            now = event.exposure.received
        yield from take(now)
        if not images:  # what no image needs must not pile up
            lens.forget(-math.inf, 1000)
            depth.forget(-math.inf, 120)
    yield from take(math.inf)
