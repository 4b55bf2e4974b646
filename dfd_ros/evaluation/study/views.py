"""Averages the predictions of a network for an image, its mirror images and its rotations.

This is the geometric self-ensemble of Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution"
(CVPR Workshops 2017). A depth map costs as many times more as there are views.
"""

from __future__ import annotations

import torch

from dfd_ros.inference.backends import Backend
from dfd_ros.networks import Prediction

MAX_VIEWS = 8
"""Number of mirror images and rotations of a square, itself included."""


class Views:
    """A backend with the interface of `TorchBackend`, for one image at a time, square for more than 4 views."""

    def __init__(self, backend: Backend, count: int):
        self.device, self._backend, self._count = backend.device, backend, count
        self.rescaled_state = backend.rescaled_state

    def __call__(self, image, focus, blur_scale, *state):
        views = torch.cat([_turn(image, view) for view in range(self._count)])
        prediction, *maps = self._backend(views, focus.repeat(self._count), blur_scale.repeat(self._count), *state)
        return Prediction(
            *(
                torch.cat([_turn_back(map_[view : view + 1], view) for view in range(self._count)]).mean(
                    0, keepdim=True
                )
                for map_ in prediction
            )
        ), *maps


def _turn(x: torch.Tensor, view: int) -> torch.Tensor:
    """View 0..7 of maps (..., H, W). Its bits mean: mirror horizontally, vertically, and about the diagonal."""
    x = x.flip(_flipped(view))
    return x.transpose(-1, -2) if view & 4 else x


def _turn_back(x: torch.Tensor, view: int) -> torch.Tensor:
    return (x.transpose(-1, -2) if view & 4 else x).flip(_flipped(view))


def _flipped(view: int) -> list[int]:
    return [axis for axis, bit in ((-1, 1), (-2, 2)) if view & bit]
