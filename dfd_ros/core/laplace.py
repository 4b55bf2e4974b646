"""The uncertainty of u: a Laplace distribution, whose scale b and the confidence say the same."""

from __future__ import annotations

import math

import numpy as np

CONFIDENT_ERROR = 0.05
"""Confidence is the probability that u is wrong by less than this: 1 - exp(-CONFIDENT_ERROR / b)."""


def scale_of(confidence: float) -> float:
    """b of a confidence 0..1; infinity at 0."""
    if not confidence > 0:
        return math.inf
    return -CONFIDENT_ERROR / math.log1p(-min(confidence, 1 - 1e-6))


def density(u: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """The density of u, relative to its maximum."""
    return np.exp(-np.abs(u - mean) / scale)
