"""The sRGB transfer curve (IEC 61966-2-1), for NumPy arrays and torch tensors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:  # Blender's Python has no torch
    import torch

Values = TypeVar('Values', np.ndarray, 'torch.Tensor')


def srgb_encode(linear: Values) -> Values:
    """Linear light in 0..1 to sRGB in 0..1."""
    return _where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(min=0.0031308) ** (1 / 2.4) - 0.055)


def srgb_decode(encoded: Values) -> Values:
    """sRGB in 0..1 to linear light in 0..1."""
    return _where(encoded <= 0.04045, encoded / 12.92, ((encoded.clip(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _where(condition: Any, yes: Values, no: Values) -> Values:
    return np.where(condition, yes, no) if isinstance(yes, np.ndarray) else yes.where(condition, no)
