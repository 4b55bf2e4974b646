"""The published measures of public test sets, for one stack; the figure of a set is their mean.

As in the evaluation of DFV (https://github.com/fuy34/DFV, eval_DDFF12.py), which follows that of DDFF 12-Scene.
"""

from __future__ import annotations

import cv2
import numpy as np

BUMPINESS_LIMIT = 0.05


def measures(estimate: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All measures, over pixels with ground truth and an estimate.

    Args:
        estimate, truth: (H, W) depth or disparity, positive; NaN = none.

    Returns:
        `mae`, `mse`, `rms` in the unit of the inputs; `log_rms` of natural logarithms; `abs_rel`, `sq_rel`; `d1.05` and
        so on, the share (per cent) with max(e / t, t / e) below the number; `bumpiness`. NaN if no pixel counts.
    """
    valid = np.isfinite(estimate) & np.isfinite(truth)
    if not valid.any():
        return dict.fromkeys(NAMES, np.nan)
    e, t = estimate[valid].astype(np.float64), truth[valid].astype(np.float64)
    error, ratio = e - t, np.maximum(e / t, t / e)
    mse = np.square(error).mean()
    result = {
        'mae': np.abs(error).mean(),
        'mse': mse,
        'rms': np.sqrt(mse),
        'log_rms': np.sqrt(np.square(np.log(e / t)).mean()),
        'abs_rel': (np.abs(error) / t).mean(),
        'sq_rel': (np.square(error) / t).mean(),
        **{f'd{name}': (ratio < limit).mean() * 100 for name, limit in _THRESHOLDS.items()},
        'bumpiness': bumpiness(estimate, truth, valid),
    }
    return {name: float(value) for name, value in result.items()}


_THRESHOLDS = {'1.05': 1.05, '1.15': 1.15, '1.25': 1.25, '1.25^2': 1.25**2, '1.25^3': 1.25**3}
NAMES = {
    'mae': 'MAE',
    'mse': 'MSE',
    'rms': 'RMS',
    'log_rms': 'log RMS',
    'abs_rel': 'AbsRel',
    'sq_rel': 'SqRel',
    **{f'd{name}': f'd{name} %' for name in _THRESHOLDS},
    'bumpiness': 'Bump.',
}
"""Names as printed."""


def bumpiness(estimate: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """100 times the mean norm of the Hessian of the error, clipped to `BUMPINESS_LIMIT`, with Scharr filters that give
    2 for a slope of 1, as in scikit-image. Without ground truth the error is the estimate, as in the publication."""
    error = np.nan_to_num(estimate.astype(np.float64)) - np.nan_to_num(truth.astype(np.float64))

    def scharr(x, dx, dy):
        return cv2.Scharr(x, cv2.CV_64F, dx, dy, scale=1 / 16, borderType=cv2.BORDER_REFLECT)

    across, down = scharr(error, 1, 0), scharr(error, 0, 1)
    squared = sum(np.square(scharr(x, *axis)) for x in (across, down) for axis in ((1, 0), (0, 1)))
    return 100 * np.minimum(np.sqrt(squared), BUMPINESS_LIMIT)[valid].mean()
