"""What is known of a scene after a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfd_ros.core.optics import VergenceRange


@dataclass
class Estimate:
    """What is known after a frame. All maps are (H, W) float32 in the view and resolution of that frame."""

    depth: np.ndarray
    """m; NaN where unknown; infinity for what lies at or beyond vergence 0."""
    coc: np.ndarray
    """Circle of confusion in this frame: diameter in pixels of the input image, without sign. With a known lens it
    follows from the depth, otherwise it is the network's own estimate."""
    confidence: np.ndarray
    """Probability (0..1) that u is wrong by less than 0.05; 0 where depth is NaN."""
    vergence: np.ndarray
    """u: vergence scaled to 0..1 over the range; points outside the range may lie outside 0..1."""
    log_scale: np.ndarray
    """Log of the scale b of the Laplace distribution of u."""
    range: VergenceRange | None
    """The distances at u = 1 and u = 0; None while the first sweep is not over and the range not known."""
    frames: int
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

    @classmethod
    def unknown(cls, shape: tuple[int, int], frames: int, because: str) -> Estimate:
        """An estimate without a range."""
        depth, coc, u, log_scale = (np.full(shape, np.nan, np.float32) for _ in range(4))
        return cls(depth, coc, np.zeros(shape, np.float32), u, log_scale, None, frames, because)

    def without_depth(self, because: str) -> Estimate:
        """The same, but nothing is known."""
        nothing = np.full_like(self.depth, np.nan)
        return replace(
            self, depth=nothing, coc=nothing, confidence=np.zeros_like(self.confidence), unknown_because=because
        )

    def without_metres(self) -> Estimate:
        """The same, where only the order of focus is known."""
        u = np.where(np.isnan(self.depth), np.float32(np.nan), self.vergence)
        return replace(self, depth=np.full_like(self.depth, np.nan), vergence=u, range=None, is_metric=False)

    def masked_depth(self, min_confidence: float) -> np.ndarray:
        """Depth (m) with NaN where the confidence is below `min_confidence`."""
        import cv2  # NumPy's `where` takes six times as long

        depth = np.full_like(self.depth, np.nan)
        return cv2.copyTo(self.depth, (self.confidence >= min_confidence).view(np.uint8), depth)

    def threshold(self, min_confidence: float, accepted_errors: float = 1.0) -> float:
        """The confidence for `masked_depth`: at least `min_confidence`, and so high that no more than the share
        `accepted_errors` of the pixels that stay is expected to be wrong, by 0.05 of u or more. In hundredths; over 1
        where not even the best pixels are good enough."""
        if accepted_errors >= 1:
            return min_confidence
        known = self.confidence[~np.isnan(self.depth if self.is_metric else self.vergence)]
        count, edges = np.histogram(known, 100, (0, 1))
        sums, _ = np.histogram(known, 100, (0, 1), weights=1 - known)
        kept, wrong = count[::-1].cumsum(), sums[::-1].cumsum()  # of the cuts at 0.99, 0.98, ... 0
        good = (kept > 0) & (wrong <= accepted_errors * kept)
        return max(min_confidence, float(edges[:-1][::-1][good][-1])) if good.any() else 1.01
