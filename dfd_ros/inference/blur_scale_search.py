"""Finds the blur scale of a lens whose aperture is unknown, from the images.

The blur scale k is the diameter of the circle of confusion, in pixels, of a point at one end of the range while the
focus is at the other end. A network that knows k knows how blurred each depth hypothesis should look. Given
a wrong k, it finds that the frames contradict each other, and predicts larger errors. So the best k is the one with the
lowest predicted log scale: a maximum likelihood estimate, with the network as the model.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.backends import Backend, to_tensor
from dfd_ros.networks.stream import focus_measures


@dataclass(frozen=True)
class _Frame:
    """An image (H, W, 3) uint8 as the network sees it, its focus, and what maps pixels of the newest image to it."""

    image: np.ndarray
    focus: float
    motion: Similarity


class BlurScaleSearch:
    """Searches in the background of one stream: each frame costs at most one run on a part of the image.

    Frames of different focus are collected until they cover the range. They are brought into the view of the newest,
    cut to the window where sharpness varies most, and read with each of `CANDIDATES`. Repeated after `PAUSE` frames.
    """

    CANDIDATES = tuple(float(k) for k in np.geomspace(2.5, 50.0, 8))  # px, of the network's image
    WINDOW = (256, 256)
    """Height and width (px) of the part of the image that is read."""
    STEP = 0.05
    """Of the range: of the frames in one such interval of focus the newest is kept."""
    SPREAD = 0.7
    """Of the range, that they have to cover."""
    MIN_FRAMES = 4
    MAX_ERROR = 0.05
    """Of u, as the network predicts it for the surest quarter of the window while k is unknown. Where it is larger,
    as on plain walls, the images do not show the blur, and the search has no result."""
    PAUSE = 200
    SEARCHES = 8
    """The last ones, of which the result is the mean."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self._frames: dict[int, _Frame] = {}  # by interval of focus, oldest first
        self._work: Iterator[None] | None = None
        self._pause = 0
        self._curves: deque[np.ndarray] = deque(maxlen=self.SEARCHES)
        self.window = slice(0, 0), slice(0, 0)
        """Rows and columns that the last search reads."""
        self.blur_scale = math.nan
        """k in px of the network's image; NaN as long as it is unknown."""
        self._narrowing = 1.0  # width of the range when the search under way began, of that now

    def rescale(self, scale: float, offset: float) -> None:
        """Another range is swept from now on, in which v is scale * v + offset."""
        self._frames = {}
        self._narrowing *= scale
        self.blur_scale /= scale
        self._curves = deque((_rescaled(curve, scale) for curve in self._curves), self.SEARCHES)

    def push(self, image: np.ndarray, focus: float, motion: Similarity) -> None:
        """Read a frame, and search for a while.

        Args:
            image: (H, W, 3) uint8 RGB as the network sees it; it is copied where it is kept.
            focus: its v.
            motion: maps its pixels to those of the image before.
        """
        if self._work is not None:
            self._continue()
        elif self._pause:
            self._pause -= 1
        else:
            self._collect(image, focus, motion)
            if len(self._frames) >= self.MIN_FRAMES and self._spread() >= self.SPREAD:
                self._start()

    def find(self, frames: Iterator[tuple[np.ndarray, float, Similarity]]) -> float:
        """The blur scale of a whole stack, whose frames are the arguments of `push`."""
        for image, focus, motion in frames:
            self._collect(image, focus, motion)
        if len(self._frames) >= 2 and self._spread() > 0:
            self._start()
        while self._work is not None:
            self._continue()
        return self.blur_scale

    def _spread(self) -> float:
        foci = [frame.focus for frame in self._frames.values()]
        return max(foci) - min(foci)

    def _collect(self, image: np.ndarray, focus: float, motion: Similarity) -> None:
        self._frames = {i: replace(frame, motion=frame.motion @ motion) for i, frame in self._frames.items()}
        interval = round(focus / self.STEP)
        self._frames.pop(interval, None)
        self._frames[interval] = _Frame(image.copy(), focus, Similarity())

    def _start(self) -> None:
        images = [_warped(frame) for frame in self._frames.values()]
        foci = [frame.focus for frame in self._frames.values()]
        self._frames.clear()
        tensors = [to_tensor(image, self._backend.device) for image in images]
        self.window = _window(torch.cat(tensors), self.WINDOW)
        self._narrowing = 1.0
        self._work = self._search([(t[..., *self.window], focus) for t, focus in zip(tensors, foci)])

    def _continue(self) -> None:
        assert self._work is not None
        try:
            next(self._work)
        except StopIteration:
            self._work, self._pause = None, self.PAUSE

    def _search(self, frames: list[tuple[torch.Tensor, float]]) -> Iterator[None]:
        """Yields after each run of the network, and finally sets `blur_scale` if it is found."""
        unknown = yield from self._log_scale(frames, math.nan)
        if unknown[unknown <= unknown.quantile(0.25)].mean() > math.log(self.MAX_ERROR):
            return
        known = []
        for k in self.CANDIDATES:
            known.append((yield from self._log_scale(frames, k)))
        # Plain surfaces show no blur: the half of the pixels counts that the network is surest of.
        clear = unknown <= unknown.median()
        curve = np.array([float(m[clear].mean() - unknown[clear].mean()) for m in known])
        self._curves.append(_rescaled(curve, self._narrowing))
        self.blur_scale = _lowest(np.mean(self._curves, 0), self.CANDIDATES)

    def _log_scale(
        self, frames: list[tuple[torch.Tensor, float]], blur_scale: float
    ) -> Generator[None, None, torch.Tensor]:
        """That of the last frame, after all have been read with this blur scale (px, NaN = unknown)."""
        state: list[torch.Tensor] = []
        for image, focus in frames:
            arguments = (torch.tensor([n]) for n in (focus, blur_scale))
            prediction, *state = self._backend(image, *arguments, *state)
            yield
        return prediction.log_scale


def _rescaled(curve: np.ndarray, scale: float) -> np.ndarray:
    """What is known of the candidates k where the range is `scale` times narrower, and k with it."""
    logs = np.log(BlurScaleSearch.CANDIDATES)
    return np.interp(logs + math.log(scale), logs, curve)


def _lowest(curve: np.ndarray, candidates: tuple[float, ...]) -> float:
    """Where the curve is lowest, by a parabola through three candidates at even steps of log k; NaN where it is nowhere
    below 0, the value of an unknown k."""
    best = int(np.argmin(curve))
    if not curve[best] < 0:
        return math.nan
    logs = np.log(candidates)
    if not 0 < best < len(curve) - 1:
        return candidates[best]
    before, here, after = curve[best - 1 : best + 2]
    offset = 0.5 * (before - after) / max(before - 2 * here + after, 1e-9)
    return math.exp(logs[best] + min(max(offset, -0.5), 0.5) * (logs[1] - logs[0]))


def _warped(frame: _Frame) -> np.ndarray:
    height, width = frame.image.shape[:2]
    if frame.motion.displacement(height, width) < 0.1:
        return frame.image
    return cv2.warpAffine(
        frame.image,
        frame.motion.matrix(height, width),
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _window(images: torch.Tensor, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns where sharpness varies most over the images (T, 3, H, W)."""
    height, width = (min(n, side) for n, side in zip(size, images.shape[-2:]))
    rows, columns = (n // 16 * 16 for n in images.shape[-2:])  # what the measure can read
    measure = focus_measures(images[..., :rows, :columns])[2]  # (T, bands, H / 8, W / 8)
    varies = (measure.amax(0) - measure.amin(0)).sum(0).clamp_max(1.0)
    kernel = [max(1, min(side // 8, cells)) for side, cells in zip((height, width), varies.shape)]
    sums = torch.nn.functional.avg_pool2d(varies[None, None], kernel, 1)[0, 0]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    top, left = min(8 * top, images.shape[-2] - height), min(8 * left, images.shape[-1] - width)
    return slice(top, top + height), slice(left, left + width)
