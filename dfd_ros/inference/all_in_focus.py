"""Everything sharp, from a stream of images whose focus moves: one frame in, one image in its view out.

Fused in a Laplacian pyramid, as Burt and Kolczynski, "Enhanced image capture through fusion", ICCV 1993: each
coefficient is a mean over the frames, weighted by the local energy of its level, which is largest where a frame is
sharpest, and by how sharp depth says that the frame is there. Coarse levels, which no blur takes anything from, are
means of many frames and so have little noise; fine ones come from the few frames that have them.

The memory is that mean, however many frames there were. It stays in the view of an earlier frame while the camera
moves a little, so that it is not resampled again and again: the view of a frame lies in it as the registration of the
estimator says, and, for parallax, as optical flow says (Kroeger et al., "Fast optical flow using dense inverse search",
ECCV 2016).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.registration import Registration

MAX_PYRAMID = 6
"""Levels of the pyramid; the coarsest has at least 8 pixels a side."""
CONTRAST = 2.5
"""Grey levels of 255: weaker detail is noise, in which all frames count alike."""
POWER = 5
"""Exponent of the energy in the weights: with 1 it is a mean of all frames, with infinity the sharpest one alone."""
ENERGY_WINDOW = 5  # px
MAX_COC = 1e4  # px, beyond which it makes no difference
MIN_WEIGHT = 1e-12
MEMORY = 1.0
"""Focus travel, in widths of the range, in which the weight of a frame falls to 1/e: a sweep."""
STEP = 0.05
"""Share of the range: frames whose foci are closer together than this count less each."""
MIN_STEP = 0.002  # a focus that rests forgets slowly
MAX_OFFSET = 0.06
"""How far the view may move away from that of the memory, as a share of the longer side, before the memory follows."""
STILL = 0.25
"""px: smaller offsets are ignored."""
GAIN_CELL, MIN_CELLS = 6, 20
"""px of the small images, and how many of them have to be exposed well."""
MAX_GAIN = 2.0
"""Largest factor between two frames; a larger one is no change of exposure."""
REFINED_SIZE = 320  # px, longer side of the images in which the view is refined
FLOW_SIZE = 256
"""px, longer side of the images that flow is found in. They are low-passed, as frames differ in blur."""
MIN_FLOW_SIZE = 48
FLOW_FINEST = 2
FLOW_BLUR, FLOW_SMOOTHING = 1.5, 4.0  # px of these
MAX_FLOW = 8.0  # px of these
MIN_FLOW = 0.3
"""px of the image, on average: smaller displacements are ignored."""
FLOW_GAIN = 0.9
BLUR_REACH = 3  # px of these
MAX_CONTRADICTION = 4.0
"""Of 255: where a frame differs by more from all that its blur could have brought here, the memory is out of date."""
FORGOTTEN = 1e-18
"""Of the weights, which differ by as much."""

Pyramid = list[np.ndarray]
Maps = tuple[np.ndarray, np.ndarray]
"""Where each pixel of an image is in another one: x and y (H, W) float32."""


class AllInFocus:
    """The memory of one stream of images of one size."""

    def __init__(self) -> None:
        self._sums: Pyramid = []  # (h, w, 3) float32, weighted details, finest first
        self._weights: Pyramid = []  # (h, w) float32
        self._fused = np.zeros((0, 0, 3), np.uint8)  # what both give
        self._to_memory = Similarity()  # maps pixels of the current frame to those of the memory
        self._last: tuple[np.ndarray, float] = self._fused, math.nan  # small image, float32, and focus

    def push(
        self, image: np.ndarray, focus: float, motion: Similarity, coc: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray:
        """All in focus, (H, W, 3) uint8 RGB, in the view and exposure of this frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            focus: v, scaled to 0..1 over the range.
            motion: maps pixels of this frame to where they were in the frame before.
            coc: (H, W) float32 px, circle of confusion in this frame; NaN = unknown.
            confidence: (H, W) float32, of the CoC, 0..1.
        """
        height, width = image.shape[:2]
        scale = min(1.0, FLOW_SIZE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        share, to_frame, to_memory = 1.0, None, None
        if self._sums:
            gain = self._exposure(small, motion.resized(scale))
            self._to_memory = self._to_memory @ motion
            self._refine_view(image, gain)
            to_frame, to_memory = self._views(small, gain, scale, (height, width))
            step = max(abs(focus - self._last[1]), MIN_STEP)
            self._scale(np.float32(math.exp(-step / MEMORY)) * gain, math.exp(-step / MEMORY))
            share = min(step / STEP, 1.0)
        self._last = small, focus
        known = ~np.isnan(coc)
        coc, confidence = (
            np.where(known, coc, np.float32(0)).clip(0, MAX_COC),
            np.where(known, confidence, np.float32(0)),
        )
        self._add(*_contribution(image, coc, confidence, share, to_frame))
        if to_memory is None:
            return self._fused.copy()
        seen = _seen(self._fused, image, to_memory)
        if self._to_memory.displacement(height, width) > MAX_OFFSET * max(height, width):
            self._move(to_memory, *_contribution(image, coc, confidence, share))
            self._fused, self._to_memory = seen.copy(), Similarity()
        return seen

    def rescale(self, scale: float, offset: float) -> None:
        """Another range is swept from now on, in which v is scale * v + offset."""
        image, focus = self._last
        self._last = image, scale * focus + offset

    def _exposure(self, small: np.ndarray, motion: Similarity) -> np.ndarray:
        """(3,) by how much this frame is brighter than the one before."""
        height, width = small.shape[:2]
        before = cv2.warpAffine(
            self._last[0],
            motion.matrix(height, width),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cells = max(1, width // GAIN_CELL), max(1, height // GAIN_CELL)
        now, before = (cv2.resize(x, cells, interpolation=cv2.INTER_AREA).reshape(-1, 3) for x in (small, before))
        exposed = ((np.minimum(now, before) > 10) & (np.maximum(now, before) < 245)).all(1)
        if exposed.sum() < MIN_CELLS:
            return np.ones(3, np.float32)
        return np.clip(np.median(now[exposed] / before[exposed], 0), 1 / MAX_GAIN, MAX_GAIN)

    def _refine_view(self, image: np.ndarray, gain: np.ndarray) -> None:
        """The motion comes from small images: find out what is left in larger ones."""
        height, width = image.shape[:2]
        scale = min(1.0, REFINED_SIZE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        frame, remembered = (
            _low_passed(cv2.resize(x, size, interpolation=cv2.INTER_AREA)) for x in (image, self._fused)
        )
        found = Registration.refined(frame, remembered, self._to_memory.resized(scale))
        self._to_memory = found.resized(1 / scale)

    def _views(
        self, small: np.ndarray, gain: np.ndarray, scale: float, size: tuple[int, int]
    ) -> tuple[Maps | None, Maps | None]:
        """Where the pixels of the memory are in the frame, and those of the frame in the memory; None: where they are.
        Forgets what the frame contradicts."""
        height, width = small.shape[:2]
        view = self._to_memory.resized(scale)
        frame, memory = view.inverse().matrix(height, width), view.matrix(height, width)
        remembered = _low_passed(cv2.resize(self._fused, (width, height), interpolation=cv2.INTER_AREA) * gain)
        grey = _low_passed(small)
        in_memory = cv2.warpAffine(
            grey, memory, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        flow = _flow(remembered, in_memory) if min(height, width) >= MIN_FLOW_SIZE else None
        grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (width, height))), -1)
        if flow is not None:
            before, after = (np.abs(remembered - x).mean() for x in (in_memory, _remapped(in_memory, grid + flow)))
            if np.abs(flow).mean() < MIN_FLOW * scale or after > FLOW_GAIN * before:
                flow = None
        there = cv2.transform(grid if flow is None else grid + flow, frame)
        back = cv2.transform(grid, memory)
        if flow is not None:
            for _ in range(2):  # a flow that is nearly the same nearby is all but its own inverse
                back = cv2.transform(grid, memory) - _remapped(flow, back)
        self._forget_contradicted(remembered, _remapped(grey, there))
        still = max(np.abs(there - grid).max(), np.abs(back - grid).max()) < STILL * scale
        return (None, None) if still else (_enlarged(there - grid, size), _enlarged(back - grid, size))

    def _forget_contradicted(self, remembered: np.ndarray, frame: np.ndarray) -> None:
        """Blur makes a frame of what is around: where it shows something else (small grey images), it is newer."""
        around = np.ones((2 * BLUR_REACH + 1,) * 2, np.uint8)
        off = np.maximum(frame - cv2.dilate(remembered, around), cv2.erode(remembered, around) - frame).clip(0)
        keep = np.exp(-((cv2.blur(off, (5, 5)) / MAX_CONTRADICTION) ** 2))
        keep = cv2.erode(keep, np.ones((2 * BLUR_REACH + 5,) * 2, np.uint8)).clip(FORGOTTEN)
        if keep.min() > 0.9:
            return
        for sums, weights in zip(self._sums, self._weights):
            kept = cv2.resize(keep, weights.shape[::-1], interpolation=cv2.INTER_LINEAR)
            weights *= kept
            sums *= kept[..., None]

    def _scale(self, sums: np.ndarray, weights: float) -> None:
        for level in self._sums:
            level *= sums
        for level in self._weights:
            level *= weights

    def _add(self, sums: Pyramid, weights: Pyramid) -> None:
        if self._sums:
            for pyramid, new in ((self._sums, sums), (self._weights, weights)):
                for level, more in zip(pyramid, new):
                    level += more
        else:
            self._sums, self._weights = sums, weights
        self._fused = _image(self._sums, self._weights)

    def _move(self, maps: Maps, sums: Pyramid, weights: Pyramid) -> None:
        """Bring the memory into the view of a frame, whose own contribution stands where nothing is remembered."""
        for i in range(len(self._sums)):
            x, y = (np.ascontiguousarray(map_[:: 2**i, :: 2**i]) / 2**i for map_ in maps)
            inside = _inside((x, y), self._weights[i].shape)
            weight: Any = cv2.remap(self._weights[i], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            details: Any = self._sums[i] / self._weights[i][..., None]
            details = cv2.remap(details, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            weight *= inside
            outside = 1 - inside
            self._sums[i] = details * weight[..., None] + sums[i] * outside[..., None]
            self._weights[i] = weight + weights[i] * outside


def _contribution(
    image: np.ndarray, coc: np.ndarray, confidence: np.ndarray, share: float, maps: Maps | None = None
) -> tuple[Pyramid, Pyramid]:
    """Weighted details and weights of a frame, seen through `maps`."""
    visible: Any = np.full(image.shape[:2], share, np.float32)
    level: Any = image
    if maps is not None:
        visible *= _inside(maps, image.shape[:2])
        level = cv2.remap(image, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        coc, confidence = (
            cv2.remap(x, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for x in (coc, confidence)
        )
    details: Pyramid = []
    weights: Pyramid = []
    level = level.astype(np.float32)
    for i in range(_levels(*image.shape[:2])):
        below = cv2.pyrDown(level)
        detail = level - cv2.pyrUp(below, dstsize=level.shape[1::-1])
        energy = cv2.sqrBoxFilter(cv2.cvtColor(detail, cv2.COLOR_RGB2GRAY), -1, (ENERGY_WINDOW,) * 2)
        sharper = 1 + energy * (1 / CONTRAST**2)
        # Detail of this level is some 2^i px across, and gone where the blur is wider.
        blurred = (1 + (coc * 0.5**i) ** 2) ** 2
        weight = cv2.pow(sharper, POWER) * (1 - confidence + confidence / blurred) * visible + MIN_WEIGHT
        detail *= weight[..., None]
        details.append(detail)
        weights.append(weight)
        level = below
        coc, confidence, visible = (cv2.pyrDown(x) for x in (coc, confidence, visible))
    weights.append(cv2.pyrDown(weights[-1]))
    level *= weights[-1][..., None]
    details.append(level)
    return details, weights


def _levels(height: int, width: int) -> int:
    return min(MAX_PYRAMID, max(1, int(math.log2(min(height, width) / 8))))


def _image(sums: Pyramid, weights: Pyramid) -> np.ndarray:
    """(H, W, 3) uint8 of weighted details."""
    image: Any = sums[-1] / weights[-1][..., None]
    for total, weight in zip(sums[-2::-1], weights[-2::-1]):
        image = cv2.pyrUp(image, dstsize=total.shape[1::-1]) + total / weight[..., None]
    return cv2.convertScaleAbs(np.maximum(image, 0))


def _seen(fused: np.ndarray, image: np.ndarray, maps: Maps) -> np.ndarray:
    """What is remembered, in the view of the frame `image`, which stands where nothing is."""
    seen = cv2.remap(fused, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    inside = _inside(maps, fused.shape[:2])
    return seen if inside.all() else np.where(inside[..., None] > 0, seen, image)


def _inside(maps: Maps, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32, 1 where the maps lead into an image of this size, else 0."""
    (x, y), (height, width) = maps, size
    return ((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)).astype(np.float32)


def _enlarged(displacement: np.ndarray, size: tuple[int, int]) -> Maps:
    """Maps of an image of this size from the displacement in a small one."""
    height, width = size
    x, y = cv2.split(cv2.resize(displacement * (width / displacement.shape[1]), (width, height)))
    return x + np.arange(width, dtype=np.float32), y + np.arange(height, dtype=np.float32)[:, None]


def _remapped(image: np.ndarray, to: np.ndarray) -> np.ndarray:
    x, y = cv2.split(to)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _low_passed(image: np.ndarray) -> np.ndarray:
    """(h, w) float32 grey."""
    return cv2.GaussianBlur(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), (0, 0), FLOW_BLUR)


def _flow(remembered: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """(h, w, 2) where in the frame each place is, relative to where it is remembered."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(FLOW_FINEST)
    before, after = (x.clip(0, 255).astype(np.uint8) for x in (remembered, frame))
    flow = search.calc(before, after, np.zeros((*before.shape, 2), np.float32))
    return cv2.GaussianBlur(flow, (0, 0), FLOW_SMOOTHING).clip(-MAX_FLOW, MAX_FLOW)
