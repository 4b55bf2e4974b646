"""Photographs of an RGB-D image through a lens: real texture and real depth, rendered defocus.

The image is sliced by depth into layers, which are blurred and composited from far to near: near surfaces spread over
those behind them, and far surfaces do not spread over those in front. An RGB-D image does not show what near layers
hide, so the nearest pixels of the layer behind fill these parts.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from dfd_ros.core.colour import srgb_decode, srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.defocus import KERNEL_COCS, defocus

LAYERS = 12
INFINITELY_FAR = 1e6  # m; no lens can distinguish it from infinity


def fill_depth(depth: np.ndarray) -> np.ndarray:
    """Fill the holes of a depth image (H, W), float32 m, NaN = none.

    An RGB-D sensor has most holes beside near surfaces, which hide those behind. A hole therefore gets the farther of
    its neighbours on the left and right. A row without any depth gets the nearest row's.

    Raises:
        InputError: there is no depth at all.
    """
    known = np.isfinite(depth)
    if not known.any():
        raise InputError('depth image: no pixel has a depth')
    rows = np.flatnonzero(known.any(1))
    rows_used = rows[np.abs(np.arange(len(depth))[:, None] - rows).argmin(1)]
    depth, known = depth[rows_used], known[rows_used]
    columns = np.arange(depth.shape[1])
    left = np.maximum.accumulate(np.where(known, columns, -1), 1)
    right = np.minimum.accumulate(np.where(known, columns, len(columns))[:, ::-1], 1)[:, ::-1]
    beside = [
        np.where(
            (at >= 0) & (at < len(columns)), np.take_along_axis(depth, np.clip(at, 0, len(columns) - 1), 1), -np.inf
        )
        for at in (left, right)
    ]
    return np.where(known, depth, np.maximum(*beside)).astype(np.float32)


class RgbdScene:
    """The scene of one RGB-D image, ready to be photographed with any focus."""

    def __init__(self, color: np.ndarray, depth: np.ndarray, layers: int = LAYERS) -> None:
        """color: (H, W, 3) uint8 sRGB, sharp. depth: (H, W) float32 m along the optical axis, NaN = none (gets filled).

        Raises:
            InputError: there is no depth at all.
        """
        vergence = 1 / fill_depth(depth).astype(np.float64)
        linear = srgb_decode(torch.from_numpy(color).permute(2, 0, 1).float() / 255).numpy()
        low, high = vergence.min(), vergence.max()
        # Equal slices of vergence, because blur is linear in vergence.
        number = np.minimum((vergence - low) / max(high - low, 1e-9) * layers, layers - 1).astype(int)
        self._layers = [self._layer(linear, vergence, number, i) for i in np.unique(number)]
        self.size = depth.shape

    @staticmethod
    def _layer(
        linear: np.ndarray, vergence: np.ndarray, number: np.ndarray, i: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((1, 4, H, W) colour times coverage and coverage, (1, 1, H, W) vergence) of slice `i`.

        It extends beneath nearer slices: to pixels whose nearest pixel at or behind slice `i` belongs to it.
        """
        _, labels = cv2.distanceTransformWithLabels(
            (number > i).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        behind = number <= i
        pixel_of = np.zeros(labels.max() + 1, np.int64)
        pixel_of[labels[behind]] = np.flatnonzero(behind)
        nearest = pixel_of[labels]
        covered = number.flat[nearest] == i
        # The next slice may show the same surface, so continue into it without a seam.
        source = np.where(number == i + 1, np.arange(number.size).reshape(number.shape), nearest)
        colour = linear.reshape(3, -1)[:, source] * covered
        rgba = np.concatenate([colour, covered[None]]).astype(np.float32)
        return torch.from_numpy(rgba)[None], torch.from_numpy(vergence.flat[source].astype(np.float32))[None, None]

    def photograph(self, lens: Lens, focus_distance: float, exponent: float = 8.0) -> torch.Tensor:
        """Linear light (1, 3, H, W), with the circle of confusion of `lens` at each depth.

        Args:
            lens: with the pixel pitch of the RGB-D image.
            focus_distance: m.
            exponent: of the point spread function, 2 (Gaussian) to 32 (disc).
        """
        height, width = self.size
        image = torch.zeros(1, 4, height, width)
        for rgba, vergence in self._layers:
            coc = lens.coc_px(1 / vergence, focus_distance)
            covered = rgba[0, 3] > 0
            # Only the part that its light reaches, padded beyond the border by repeating the edge pixels.
            reach = 2 + int(0.75 * min(coc[0, 0][covered].max().item(), KERNEL_COCS[-1]))
            rows, columns = (covered.any(axis).nonzero()[:, 0] for axis in (1, 0))
            top, bottom = max(rows[0].item() - reach, 0), min(rows[-1].item() + 1 + reach, height)
            left, right = max(columns[0].item() - reach, 0), min(columns[-1].item() + 1 + reach, width)
            area = (..., slice(top, bottom), slice(left, right))
            layer, coc = (torch.nn.functional.pad(x[area], [reach] * 4, mode='replicate') for x in (rgba, coc))
            seen = defocus(layer, coc, torch.tensor([exponent]))[..., reach:-reach, reach:-reach]
            # Where blur varies, coverage of one surface can add up to more than 1: limit it.
            seen = seen / seen[:, 3:].clamp_min(1)
            image[area] = image[area] * (1 - seen[:, 3:]) + seen
        return image[:, :3] / image[:, 3:].clamp_min(1e-6)


class Photographer:
    """Refocuses an all-in-focus image with depth: photographs it with another focus and aperture."""

    def __init__(self, sharp: np.ndarray, depth: np.ndarray, lens: Lens, largest: int | None = None) -> None:
        """
        Args:
            sharp: (H, W, 3) uint8 sRGB.
            depth: (H, W) float32 m, NaN = none; infinity is allowed.
            lens: its pixel pitch is that of the image.
            largest: longer side (px) of the photographs; None = that of the image.

        Raises:
            InputError: there is no depth at all.
        """
        height, width = depth.shape
        scale = min(1.0, (largest or max(height, width)) / max(height, width))
        size = round(width * scale), round(height * scale)
        depth = np.minimum(depth, np.float32(INFINITELY_FAR))
        self._lens = lens.scaled(scale)
        self._scene = RgbdScene(
            cv2.resize(sharp, size, interpolation=cv2.INTER_AREA),
            cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST),
        )

    def photograph(self, focus_distance: float) -> np.ndarray:
        """(H, W, 3) uint8 sRGB, focused at a distance (m)."""
        image = srgb_encode(self._scene.photograph(self._lens, focus_distance).clamp(0, 1))
        return (image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
