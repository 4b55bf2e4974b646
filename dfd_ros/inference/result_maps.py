"""The maps of an estimate, in the size of the image, from what the network gives in its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.backends import to_tensor
from dfd_ros.inference.evidence import Evidence
from dfd_ros.inference.upsampling import Upsampling

FIELDS = 'depth', 'coc', 'confidence', 'vergence', 'log_scale'
"""Of `dfd_ros.inference.estimator.Estimate`."""
STRIP = 1 << 18
"""Pixels of large images that are computed at a time on a CPU: their maps stay in the caches."""


def result_maps(
    prediction: torch.Tensor,
    image: np.ndarray,
    small: np.ndarray,
    lens_state: LensState,
    range_: VergenceRange,
    evidence: Evidence,
    *,
    lens_is_known: bool,
) -> dict[str, np.ndarray]:
    """The `FIELDS`, each (H, W) float32.

    Args:
        prediction: (1, 3, h, w): u, the log of its scale, and the CoC in px of what the network sees.
        image: (H, W, 3) uint8 RGB.
        small: the same as the network sees it, (h, w, 3).
        lens_is_known: the CoC follows from the depth, which is known better than the blur of one frame.
    """
    height, width = image.shape[:2]
    results: list[torch.Tensor] = []
    coc_scale = width / small.shape[1]
    needed = prediction[:, :2] if lens_is_known else prediction
    for rows, (u, log_scale, *cocs) in _strips(needed, image, small):
        depth = range_.denormalise(u)
        confidence = -torch.expm1(-CONFIDENT_ERROR * torch.exp(-log_scale))
        coc = lens_state.lens.coc_px(depth, lens_state.focus_distance) if lens_is_known else cocs[0].abs() * coc_scale
        if (known := evidence.seen(rows, height, width, u.device)) is not None:
            depth, coc = depth.where(known, math.nan), coc.where(known, math.nan)
        confidence = confidence.masked_fill_(depth.isnan(), 0)
        maps = [depth, coc, confidence, u, log_scale]
        if u.shape[0] == height:
            results = maps
            break
        results = results or [map_.new_empty(height, width) for map_ in maps]
        for result, map_ in zip(results, maps):
            result[rows] = map_
    on_cpu = results if prediction.device.type == 'cpu' else torch.stack(results).cpu()  # one download from a GPU
    return {name: result.numpy() for name, result in zip(FIELDS, on_cpu)}


def _strips(prediction: torch.Tensor, image: np.ndarray, small: np.ndarray) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of the image, and the prediction there, (C, R, W)."""
    height, width = image.shape[:2]
    device = prediction.device
    if small.shape == image.shape:
        yield slice(0, height), prediction[0]
        return
    import cv2

    def grey(rgb: np.ndarray) -> torch.Tensor:
        return to_tensor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], device)

    upsampling = Upsampling(prediction, grey(small), height)
    count = max(1, STRIP // width) if device.type == 'cpu' else height
    for first in range(0, height, count):
        rows = slice(first, min(first + count, height))
        yield rows, upsampling.rows(grey(image[rows]), first)[0]
