"""The maps of an estimate, in the size of the image, from what the network gives in its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, cached_property, partial

import numpy as np
import torch

from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.upsampling import Upsampling, around, nearest, strips

FIELDS = 'depth', 'coc', 'confidence', 'vergence', 'log_scale'
"""The maps of an `Estimate`."""
U, LOG_SCALE, COC = range(3)  # channels of the prediction


class ResultMaps:
    """Computes the `FIELDS` of one frame, each (H, W) float32, one at a time.

    Args:
        prediction: (C, h, w) on the CPU: u, the log of its scale, and, if the lens is not known, the CoC in px of what
            the network sees.
        seen: (rows, columns) bool, the places of the image that were seen at two foci; None: all.
        guides: the image as the network sees it and the whole one, (h, w) and (H, W) uint8, grey; None: the maps keep
            their size.
        coc_scale: px of the image for one that the network sees.
    """

    def __init__(
        self,
        prediction: torch.Tensor,
        lens_state: LensState,
        range_: VergenceRange,
        seen: torch.Tensor | None,
        coc_scale: float,
        guides: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._prediction, self._lens_state, self._range, self._seen = prediction, lens_state, range_, seen
        self._coc_scale, self._guides = coc_scale, guides

    def estimate(self, frames: int) -> Estimate:
        """After so many frames. It computes each map when it is first read."""
        depth, coc, confidence, u, log_scale = (cache(partial(self._compute, name)) for name in FIELDS)
        estimate = Estimate(depth, coc, confidence, u, log_scale, self._range, frames)
        if self._guides:
            reduced = ResultMaps(self._prediction, self._lens_state, self._range, self._seen, self._coc_scale)
            estimate._reduced = reduced.estimate(frames)
        return estimate

    @torch.inference_mode()
    def _compute(self, name: str) -> np.ndarray:
        lens, focus = self._lens_state.lens, self._lens_state.focus_distance
        match name:
            case 'vergence':
                result = self._map(U)
            case 'log_scale':
                result = self._map(LOG_SCALE)
            case 'confidence':  # 1 - exp(-CONFIDENT_ERROR / b)
                result = self._map(LOG_SCALE, -1.0, math.log(CONFIDENT_ERROR))
                self._finish(result, lambda x: torch.sub(1, x.exp_().neg_().exp_(), out=x), 0.0)
            case 'coc' if self._prediction.shape[0] > COC:
                result = self._map(COC)
                self._finish(result, lambda x: x.abs_().mul_(self._coc_scale), math.nan)
            case _:
                result = self._map(U, self._range.width, 1 / self._range.far)
                self._finish(result, lambda x: x.clamp_(min=0).reciprocal_(), math.nan)
                if name == 'coc':  # follows from the depth, which is known better than the blur of one frame
                    self._finish(result, lambda x: x.copy_(lens.coc_px(x, focus)), math.nan)
        return result.numpy()

    @cached_property
    def _upsampling(self) -> Upsampling | None:
        return Upsampling(self._prediction, *self._guides) if self._guides else None

    @cached_property
    def _unknown(self) -> list[torch.Tensor]:
        """(rows, columns) bool each: the places of the image without depth."""
        unknown = [] if self._seen is None else [~self._seen]
        missing = self._prediction[U].isnan()
        if missing.any():
            unknown.append(around(missing) if self._guides else missing)
        return unknown

    def _map(self, channel: int, gain: float = 1.0, bias: float = 0.0) -> torch.Tensor:
        """`gain` x + `bias` of a map x of the network, in the size of the result."""
        if self._upsampling is None:
            return self._prediction[channel] * gain + bias
        return self._upsampling(channel, gain, bias)

    def _finish(self, result: torch.Tensor, change: Callable[[torch.Tensor], object], unknown: float) -> None:
        """`change` in place, and `unknown` where there is no depth."""
        height, width = result.shape
        for rows in strips(height, width):
            change(result[rows])
            for cells in self._unknown:
                result[rows].masked_fill_(nearest(cells, rows, height, width), unknown)
