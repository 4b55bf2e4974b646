"""Hypersim (Roberts et al., ICCV 2021), in the layout of https://github.com/apple/ml-hypersim::

ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5              "dataset" (768, 1024, 3) linear light
ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5    "dataset" (768, 1024) m along the ray
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.hdf5_files import Hdf5File
from dfd_ros.synthesis.rgbd_sets.rgbd_view import rgbd_view
from dfd_ros.synthesis.worlds.view import View

FOCAL_LENGTH, WIDTH = 886.81, 1024  # px; a field of view of 60 degrees


class Hypersim:
    """All frames below a folder.

    Raises:
        InputError: there are none.
    """

    def __init__(self, folder: Path):
        self._frames = sorted(folder.rglob('*_final_hdf5/frame.*.color.hdf5'))
        if not self._frames:
            raise InputError(
                f'{folder}: no Hypersim, expected ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5'
            )

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> View:
        """Raises `InputError` if a file differs from the published format."""
        path = self._frames[index]
        depth_path = path.parent.with_name(
            path.parent.name.replace('_final_hdf5', '_geometry_hdf5')
        ) / path.name.replace('.color.', '.depth_meters.')
        with Hdf5File(path) as file:
            file.shape('dataset', (None, None, 3))
            colour = file.read('dataset').astype(np.float32)
        with Hdf5File(depth_path) as file:
            file.shape('dataset', (None, None))
            distance = file.read('dataset').astype(np.float32)
        # NaN: the ray hits nothing.
        depth = planar_depth(np.where(np.isnan(distance), np.inf, distance))
        return rgbd_view(
            str(depth_path),
            exposed(np.nan_to_num(colour), np.isfinite(distance)),
            depth,
            FOCAL_LENGTH * depth.shape[1] / WIDTH,
        )


def planar_depth(distance: np.ndarray) -> np.ndarray:
    """Depth (H, W) along the optical axis from the distance along each ray (m), by the formula that Hypersim refers to
    (S. Niklaus, https://github.com/apple/ml-hypersim/issues/9)."""
    height, width = distance.shape
    focal_length = FOCAL_LENGTH * width / WIDTH
    x = np.arange(width) + 0.5 - width / 2
    y = np.arange(height)[:, None] + 0.5 - height / 2
    return (distance * focal_length / np.sqrt(x**2 + y**2 + focal_length**2)).astype(np.float32)


def exposed(colour: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Expose linear light (H, W, 3) as Hypersim's scene_generate_images_tonemap.py does: the 90th percentile of the
    brightness of `valid` pixels (H, W) becomes 0.8 after a gamma of 1 / 2.2. The simulated camera applies the gamma and
    clips."""
    brightness = (colour @ np.array([0.3, 0.59, 0.11], np.float32))[valid]
    bright = np.percentile(brightness, 90) if brightness.size else 0.0
    scale = 0.8**2.2 / bright if bright >= 1e-4 else 0.0 if brightness.size else 1.0
    return np.maximum(colour * np.float32(scale), 0)
