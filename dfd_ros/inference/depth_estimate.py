"""What is known of a scene after a frame."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfd_ros.core.optics import VergenceRange

LOW_CONFIDENCE = 0.4
"""Mean over an image. An untrained network has 0.32; five of six stacks with the focus distances of other frames had
0.36 to 0.48, and the six with their own 0.48 to 0.90."""
WHY_LOW = (
    'plain surfaces, little blur, or lens states that do not fit: '
    'check the focus distances (dfd calibrate focus) and the f-number'
)


class _Map:
    """A map, which may be given as a function without arguments. It is then computed when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f'_{name}'

    def __get__(self, instance: Any, owner: type | None = None) -> np.ndarray:
        if instance is None:
            raise AttributeError(self._name)  # so that the field has no default
        value = vars(instance)[self._name]
        if callable(value):
            value = vars(instance)[self._name] = value()
        return value

    def __set__(self, instance: Any, value: np.ndarray | Callable[[], np.ndarray]) -> None:
        vars(instance)[self._name] = value


@dataclass
class Estimate:
    """What is known after a frame. All maps are (H, W) float32 in the view and resolution of that frame, and those of
    an estimator are computed when they are first read: of large images each takes time and memory."""

    depth: _Map = _Map()
    """m; NaN where unknown; infinity for what lies at or beyond vergence 0."""
    coc: _Map = _Map()
    """Circle of confusion in this frame: diameter in pixels of the input image, without sign. With a known lens it
    follows from the depth, otherwise it is the network's own estimate."""
    confidence: _Map = _Map()
    """Probability (0..1) that u is wrong by less than 0.05; 0 where depth is NaN."""
    vergence: _Map = _Map()
    """u: vergence scaled to 0..1 over the range; points outside the range may lie outside 0..1."""
    log_scale: _Map = _Map()
    """Log of the scale b of the Laplace distribution of u."""
    range: VergenceRange | None  # type: ignore[misc]  # the maps have no defaults: see `_Map`
    """The distances at u = 1 and u = 0; None while the first sweep is not over and the range not known."""
    frames: int  # type: ignore[misc]
    """Frames since the last reset, this one included."""
    unknown_because: str = ''
    """Why nothing can be known: then depth and coc are NaN and confidence is 0 everywhere, whatever the network says
    (`vergence`, `log_scale`). Empty while the memory has evidence of depth; then that holds only for the places that
    have been in view at one focus."""
    all_in_focus: np.ndarray | None = None
    """(H, W, 3) uint8 RGB: each pixel from where it was sharpest, in the view and exposure of this frame. None unless
    the estimator was made with it, and while the range is not known."""
    is_metric: bool = True
    """False: only the order of focus is known (`FocalStack.is_metric`). Depth is NaN everywhere and the range None;
    vergence is the place between the farthest (0) and the nearest focus (1), NaN where unknown."""
    _reduced: Estimate | None = field(default=None, repr=False)

    @classmethod
    def unknown(cls, shape: tuple[int, int], frames: int, because: str) -> Estimate:
        """An estimate without a range."""
        depth, coc, u, log_scale = (np.full(shape, np.nan, np.float32) for _ in range(4))
        return cls(depth, coc, np.zeros(shape, np.float32), u, log_scale, None, frames, because)

    @property
    def reduced(self) -> Estimate:
        """The same in the size that the network sees, which costs little: for statistics. The CoC is in pixels of the
        whole image."""
        return self._reduced or self

    def without_depth(self, because: str) -> Estimate:
        """The same, but nothing is known."""

        def nothing() -> np.ndarray:
            return np.full_like(self.depth, np.nan)

        reduced = self._reduced and self._reduced.without_depth(because)
        return self._with(
            depth=nothing,
            coc=nothing,
            confidence=lambda: np.zeros_like(self.depth),
            unknown_because=because,
            _reduced=reduced,
        )

    def without_metres(self) -> Estimate:
        """The same, where only the order of focus is known."""
        return self._with(
            depth=lambda: np.full_like(self.depth, np.nan),
            vergence=lambda: np.where(np.isnan(self.depth), np.float32(np.nan), self.vergence),
            range=None,
            is_metric=False,
            _reduced=self._reduced and self._reduced.without_metres(),
        )

    def _with(self, **changes: Any) -> Estimate:
        """As `dataclasses.replace`, which would compute all maps."""
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def masked_depth(self, min_confidence: float) -> np.ndarray:
        """Depth (m) with NaN where the confidence is below `min_confidence`; `depth` itself where that is nowhere."""
        if min_confidence <= 0:
            return self.depth
        import cv2  # NumPy's `where` takes six times as long

        depth = np.full_like(self.depth, np.nan)
        return cv2.copyTo(self.depth, (self.confidence >= min_confidence).view(np.uint8), depth)

    def threshold(self, min_confidence: float, accepted_errors: float = 1.0) -> float:
        """The confidence for `masked_depth`: at least `min_confidence`, and so high that no more than the share
        `accepted_errors` of the pixels that stay is expected to be wrong, by 0.05 of u or more. In hundredths; over 1
        where not even the best pixels are good enough."""
        if accepted_errors >= 1:
            return min_confidence
        small = self.reduced
        known = small.confidence[~np.isnan(small.depth if small.is_metric else small.vergence)]
        count, edges = np.histogram(known, 100, (0, 1))
        sums, _ = np.histogram(known, 100, (0, 1), weights=1 - known)
        kept, wrong = count[::-1].cumsum(), sums[::-1].cumsum()  # of the cuts at 0.99, 0.98, ... 0
        good = (kept > 0) & (wrong <= accepted_errors * kept)
        return max(min_confidence, float(edges[:-1][::-1][good][-1])) if good.any() else 1.01
