"""Estimates the offset between the clocks of two cameras on one rig from motion and brightness in their images.

The cameras move together, so their images move at the same time, and a light that is switched on brightens both. Both
signals survive blur, so a focus sweep does not disturb them. The offset is at the peak of their normalised
cross-correlation, refined below one sample by a parabola.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dfd_ros.core.errors import InputError

RATE = 200.0  # Hz, of the signals that are correlated
MIN_OVERLAP = 0.5  # of the shorter recording: less may correlate by chance
MIN_ACTIVITY = 1e-3  # of a signal; one with less carries no information
MIN_CORRELATION = 0.5
RIVAL_DISTANCE = 0.25  # s; farther peaks are separate ones
MAX_RIVAL = 0.9  # of the peak; with a higher one the offset is ambiguous
MAX_GAP = 0.5  # s; the signal is unknown between frames farther apart
_NOISE = (4.0, 4.0, 0.4)  # px/s, px/s, 1/s: of the signals of a camera at rest
_SHARES = (1.0, 1.0, 0.2)  # weights of the signals in the correlation
_SIDE = 64  # px, of the images used to measure motion


@dataclass(frozen=True)
class ClockOffset:
    """Seconds to add to the stamps of the second camera to get the time of the first."""

    seconds: float
    correlation: float
    """Of the signals at that offset, 0..1."""


class ChangeSignal:
    """Motion and brightness of one camera over time, image by image."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[tuple[float, float, float]] = []
        self._last: tuple[float, np.ndarray, float] | None = None

    def __len__(self) -> int:
        return len(self._times)

    def push(self, stamp: float, image: np.ndarray) -> None:
        """image: (H, W) or (H, W, 3) uint8, or (H, W) float32 depth with NaN. Stamps that do not rise are ignored."""
        import cv2

        if self._last is not None and stamp <= self._last[0]:
            return
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if image.dtype != np.uint8:
            # Far is dark, as under a lamp on the rig; any smooth function of the depth would do.
            image = np.nan_to_num(1 / (0.5 + image), nan=0.0)
        small = cv2.resize(image.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        brightness = math.log(float(small.mean()) + 1e-3)
        small = cv2.GaussianBlur(small, (0, 0), 1.5)
        small = (small - small.mean()) * cv2.createHanningWindow((_SIDE, _SIDE), cv2.CV_32F)
        if self._last is not None:
            before, previous, brightness_before = self._last
            interval = stamp - before
            (dx, dy), response = cv2.phaseCorrelate(previous, small)
            if response < 0.05:
                dx = dy = 0.0
            self._times.append((stamp + before) / 2)
            self._values.append((dx / interval, dy / interval, (brightness - brightness_before) / interval))
        self._last = stamp, small, brightness

    def sampled(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Start (s), (3, N) signals at `RATE`, normalised, and (N,) bool where they are known."""
        times, values = np.array(self._times), np.array(self._values).T
        start = times[0]
        at = start + np.arange(int((times[-1] - start) * RATE) + 1) / RATE
        after = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
        known = times[after] - times[after - 1] < MAX_GAP
        out = np.stack([np.interp(at, times, _robust(row, noise)) for row, noise in zip(values, _NOISE)])
        out *= known
        return start, out, known


def _robust(row: np.ndarray, noise: float) -> np.ndarray:
    """Centred and clipped, so that one bad match does not outweigh a minute of motion."""
    row = row - np.median(row)
    limit = max(10 * noise, 8 * 1.4826 * float(np.median(np.abs(row))))
    return np.clip(row, -limit, limit)


def estimate(first: ChangeSignal, second: ChangeSignal) -> ClockOffset:
    """The offset between two clocks, of any size: milliseconds or days.

    Raises InputError if the two have too little motion in common.
    """
    for signal, which in ((first, 'focus camera'), (second, 'RGB-D sensor')):
        if len(signal) < 10:
            raise InputError(
                f'clock offset: {len(signal) + 1} images of the {which} are too few to estimate it; give it in seconds'
            )
    start_a, a, known_a = first.sampled()
    start_b, b, known_b = second.sampled()
    size = 1 << (a.shape[1] + b.shape[1]).bit_length()

    def correlate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """sum over t of x(t + lag) y(t), for lags from -(len(y) - 1) to len(x) - 1."""
        full = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
        return np.concatenate([full[..., size - (y.shape[-1] - 1) :], full[..., : x.shape[-1]]], -1)

    lags = np.arange(-(b.shape[1] - 1), a.shape[1])
    overlap = correlate(known_a.astype(float), known_b.astype(float))
    products = correlate(a, b)
    energy_a = correlate(a * a, np.broadcast_to(known_b.astype(float), b.shape))
    energy_b = correlate(np.broadcast_to(known_a.astype(float), a.shape), b * b)
    # A signal without activity in one of the cameras carries no information, so its weight is the product of both.
    smallest = 1e-3 * np.sqrt((energy_a * energy_b).max(1, keepdims=True)) + 1e-12
    each = products / np.maximum(np.sqrt(np.maximum(energy_a * energy_b, 0)), smallest)
    # A change of the light is known only to one frame: it selects the peak, and motion locates it.
    weights = np.array([_SHARES[i] * _activity(a[i], noise) * _activity(b[i], noise) for i, noise in enumerate(_NOISE)])
    enough = overlap > MIN_OVERLAP * min(a.shape[1], b.shape[1])
    if not weights.any() or not enough.any():
        raise InputError(
            'clock offset: nothing moves in the images, so it cannot be estimated; move the rig while '
            'recording, or give the offset in seconds'
        )
    correlation = np.where(enough, (weights[:, None] * each).sum(0) / weights.sum(), -1.0)
    peak = int(correlation.argmax())
    others = correlation[np.abs(lags - lags[peak]) > RIVAL_DISTANCE * RATE]
    if correlation[peak] < MIN_CORRELATION or (others.size and others.max() > MAX_RIVAL * correlation[peak]):
        raise InputError(
            'clock offset: the motion in the two cameras is too different, or too regular, to estimate it '
            f'(correlation {max(correlation[peak], 0):.2f}); move the rig back and forth irregularly while '
            'recording, or give the offset in seconds'
        )
    shift = 0.0
    if 0 < peak < len(correlation) - 1:
        left, middle, right = correlation[peak - 1 : peak + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return ClockOffset(float(start_a - start_b + (lags[peak] + shift) / RATE), float(correlation[peak]))


def _activity(row: np.ndarray, noise: float) -> float:
    """Activity of a signal beyond the noise of a camera at rest, 0..1; 0 if it is far below that noise.

    Images without any noise differ by rounding alone, which depends on the processor and is not motion.
    """
    variance = float(row.var())
    share = variance / (variance + noise**2)
    return share if share > MIN_ACTIVITY else 0.0
