"""The evidence of a pixel over vergence: how sharp it was at each focus, and what was estimated from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dfd_ros.core import laplace
from dfd_ros.core.optics import VergenceRange

SAMPLES = 121


@dataclass(frozen=True)
class EvidenceCurve:
    """Three arrays (n,) of one length."""

    vergence: np.ndarray
    """1/m, ascending."""
    sharpness: np.ndarray
    """0..1: relative to the largest, linear between the foci; 0 everywhere while no focus is known."""
    estimate: np.ndarray
    """0..1: the density of the estimated vergence relative to its maximum; 0 everywhere where it is unknown."""


def evidence_curve(
    foci: np.ndarray, sharpness: np.ndarray, range_: VergenceRange, distance: float, confidence: float
) -> EvidenceCurve:
    """Of a pixel.

    Args:
        foci: (n,) vergences (1/m), ascending; sharpness: (n,) measured at them.
        range_: of depth.
        distance: estimated, m; NaN = unknown. confidence: of it, 0..1.
    """
    low, high = min([1 / range_.far, *foci]), max([1 / range_.near, *foci])
    peak = [] if math.isnan(distance) else [min(max(1 / distance, low), high)]
    vergences = np.union1d(np.linspace(low, high, SAMPLES), [*foci, *peak])
    largest = float(sharpness.max()) if len(sharpness) else 0.0
    measured = np.interp(vergences, foci, sharpness / largest) if largest > 0 else np.zeros_like(vergences)
    estimate = np.zeros_like(vergences)
    if peak:
        u = (vergences - 1 / range_.far) / range_.width
        estimate = laplace.density(u, range_.normalise(distance), laplace.scale_of(confidence))
    return EvidenceCurve(vergences, measured, estimate)
