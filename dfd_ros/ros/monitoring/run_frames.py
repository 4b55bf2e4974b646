"""Keeps the last frames of a run, reduced to fit into memory, for pictures and a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from dfd_ros.core.optics import VergenceRange, vergence

WIDTH = 384  # px, largest width of the stored images: that of a panel of the video
FRAMES = 400  # the last ones; 0.5 GB with truth
MAX_SWEEP = 10


@dataclass(frozen=True)
class RecordedFrame:
    """One frame of all topics. Maps are (h, w), of one size."""

    time_s: float
    """Exposure, s."""
    focus_distance: float
    image: np.ndarray
    """(h, w, 3) uint8 RGB."""
    vergence: np.ndarray
    """float16, u of the published depth; NaN = unknown."""
    coc: np.ndarray
    """float16, px of the full image."""
    confidence: np.ndarray
    """float16, 0..1."""
    true_vergence: np.ndarray | None
    """float16, u of the truth."""

    @property
    def error(self) -> np.ndarray | None:
        """u minus its truth, float32; None without truth."""
        if self.true_vergence is None:
            return None
        return self.vergence.astype(np.float32) - self.true_vergence.astype(np.float32)


class Recording:
    """The last `FRAMES` frames of one stream, in one range."""

    def __init__(self, range_: VergenceRange) -> None:
        self.range = range_
        self.frames: deque[RecordedFrame] = deque(maxlen=FRAMES)

    def add(
        self,
        time_s: float,
        focus_distance: float,
        image: np.ndarray,
        depth: np.ndarray,
        coc: np.ndarray,
        confidence: np.ndarray,
        truth: np.ndarray | None,
    ) -> None:
        """A frame: image (H, W, 3) uint8; depth and truth (m), coc (px), confidence: (H, W) float32."""
        scale = min(1.0, WIDTH / image.shape[1])
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)

        def small(map_: np.ndarray) -> np.ndarray:
            # Nearest: a mean across an edge would be a depth that is not in the scene, and one with NaN would be NaN.
            resized = map_ if scale == 1 else cv2.resize(map_, size, interpolation=cv2.INTER_NEAREST)
            return resized.astype(np.float16)

        self.frames.append(
            RecordedFrame(
                time_s,
                focus_distance,
                image.copy() if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA),
                small(self.range.normalise(depth)),
                small(coc),
                small(confidence),
                None if truth is None else small(self.range.normalise(truth)),
            )
        )

    @property
    def rate(self) -> float:
        """Mean frames a second; 0 for fewer than two."""
        span = self.frames[-1].time_s - self.frames[0].time_s if self.frames else 0.0
        return (len(self.frames) - 1) / span if span > 0 else 0.0

    def last_sweep(self) -> Sequence[RecordedFrame]:
        """The last complete ramp through all focus distances; without one, as many of the last frames."""
        # Of several frames at one focus, the last one, which has the best depth.
        frames = [frame for frame, after in pairwise(self.frames) if after.focus_distance != frame.focus_distance]
        frames += list(self.frames)[-1:]
        length = min(len({frame.focus_distance for frame in frames}), MAX_SWEEP)
        for end in range(len(frames), length - 1, -1):
            sweep = frames[end - length : end]
            steps = np.diff([vergence(frame.focus_distance) for frame in sweep])
            if (steps > 0).all() or (steps < 0).all():
                return sweep
        return frames[-length:]
