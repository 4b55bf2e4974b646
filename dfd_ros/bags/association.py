"""What belongs together in time: the images of one camera, its lens states, and another camera's depth."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dfd_ros.core.lens_state import LensState

LENS_TOLERANCE = 2e-3  # s; a lens state carries its image's stamp
HORIZON = 3.0  # s by the recording that an image waits for what belongs to it
KEPT = 1.0  # s of lens states and depth before the oldest image that waits


@dataclass(frozen=True)
class Exposure:
    """An image that has been taken, by the focus camera or by the RGB-D sensor; it is decoded when it is wanted."""

    stamp: float
    """s, on the clock of the focus camera."""
    load: Callable[[], np.ndarray]
    frame_id: str = ''
    info: Callable[[], Any] = lambda: None
    """The CameraInfo that goes with it, to be asked for once it has had time to come; None: there is none."""
    state: LensState | None = None
    """Where it is known with the image itself."""
    received: float = math.nan
    """s, when it was recorded."""


@dataclass(frozen=True)
class LensReport:
    """A lens state that comes by itself."""

    state: LensState
    received: float = math.nan


@dataclass(frozen=True)
class DepthExposure:
    """An image of the RGB-D sensor."""

    exposure: Exposure


@dataclass
class Counts:
    """What became of the images, for the report: how many there were, and why some were left out."""

    images: int = 0
    frames: int = 0
    """In samples."""
    samples: int = 0
    left_out: Counter = field(default_factory=Counter)
    """By reason."""
    gap: float = math.nan
    """s from an image to the nearest depth image, where there was none near enough: the median."""

    def __str__(self) -> str:
        reasons = ', '.join(f'{count} {reason}' for reason, count in self.left_out.most_common())
        return f'{self.images} images, {self.frames} in {self.samples} samples' + (
            f'; left out: {reasons}' if reasons else ''
        )


class _Waiting:
    """Items of a stream in order of their stamps, the old ones forgotten."""

    def __init__(self) -> None:
        self._stamps: deque[float] = deque()
        self._items: deque[Any] = deque()

    def add(self, stamp: float, item: Any) -> None:
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

    def nearest(self, stamp: float) -> tuple[float, Any]:
        """(distance in s, item); (inf, None) where there is none."""
        at = bisect_left(self._stamps, stamp)
        found = [(abs(self._stamps[i] - stamp), self._items[i]) for i in (at - 1, at) if 0 <= i < len(self._stamps)]
        return min(found, key=lambda item: item[0], default=(math.inf, None))

    def forget(self, before: float, largest: int) -> None:
        while self._stamps and (self._stamps[0] < before or len(self._stamps) > largest):
            self._stamps.popleft()
            self._items.popleft()


def associate(events: Iterable[Any], tolerance: float, counts: Counts) -> Iterator[tuple[Exposure, Exposure]]:
    """(image with its lens state, the depth image nearest to it within `tolerance` s), in order of the images.

    events: `Exposure` of the focus camera, `LensReport` and `DepthExposure`, about in the order of the recording.
    Images without a lens state or without depth are left out, and counted. Memory does not grow with the recording.
    """
    lens, depth = _Waiting(), _Waiting()
    images: deque[Exposure] = deque()
    gaps: deque[float] = deque(maxlen=1000)

    def take(now: float) -> Iterator[tuple[Exposure, Exposure]]:
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

    def pair(image: Exposure) -> Iterator[tuple[Exposure, Exposure]]:
        if image.state is None:
            distance, state = lens.nearest(image.stamp)
            if distance > LENS_TOLERANCE:
                counts.left_out['with no lens state'] += 1
                return
            image = replace(image, state=state)
        distance, found = depth.nearest(image.stamp)
        if distance > tolerance:
            counts.left_out['with no depth at that time'] += 1
            if found is not None:
                gaps.append(distance)
                counts.gap = float(np.median(gaps))
            return
        yield image, found

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
        if not images:  # what no image waits for must not pile up
            lens.forget(-math.inf, 1000)
            depth.forget(-math.inf, 120)
    yield from take(math.inf)
