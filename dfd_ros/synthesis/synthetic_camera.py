"""The camera of the demo: focus control in a rendered scene, with exact ground truth."""

from __future__ import annotations

import math

import numpy as np
import torch

from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, VergenceRange
from dfd_ros.synthesis.desk import desk_scene
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.scene import Scene, SceneSettings
from dfd_ros.synthesis.sensor import expose


class SyntheticCamera:
    """A machine-vision camera (11 mm, about f/2) that looks at one scene, which moves slowly back and forth.

    Args:
        width, height: image size (px).
        seed: of scene and noise.
        near, far: distances (m) between which the scene lies.
        blur_scale: CoC (px) across the whole range of the lens, for an image 640 px wide.
        desk: look at books and boxes on a desk instead of a random scene. They stand still; the camera turns.
        lens_range: distances that the lens can focus; default: those of the scene.
    """

    FOCAL_LENGTH = 11e-3
    SENSOR_WIDTH = 5.6e-3
    PERIOD = 16.0  # s, of the motion

    def __init__(
        self,
        width: int = 640,
        height: int = 480,
        seed: int = 0,
        near: float = 0.15,
        far: float = 1.5,
        blur_scale: float = 40.0,
        desk: bool = False,
        lens_range: VergenceRange | None = None,
    ):
        self._rng = Random(seed)
        self._size = max(width, height)
        self._range = VergenceRange(near, far)
        self._lens_range = lens_range or self._range
        pixel_pitch = self.SENSOR_WIDTH / width
        blur_scale *= width / 640
        f_number = self.FOCAL_LENGTH**2 * self._lens_range.width / (blur_scale * pixel_pitch)
        self._lens = Lens(self.FOCAL_LENGTH, f_number, pixel_pitch)
        margin = 24 + self._size // 16
        if desk:
            tan = self.SENSOR_WIDTH / 2 / self.FOCAL_LENGTH * self._size / width
            self._scene = desk_scene(seed, height, width, self._range, tan, margin)
        else:
            settings = SceneSettings(
                objects=(6, 8), radius=(0.1, 0.3), untextured=0.0, moving=0.6, speed=1.0, split='test'
            )
            self._scene = Scene.random(self._rng, height, width, settings, margin)
        self._direction = self._rng.uniform(0, 2 * math.pi)

    def capture(self, time_s: float, focus_distance: float) -> tuple[np.ndarray, np.ndarray, LensState]:
        """Take one photograph.

        Args:
            time_s: time (s), which determines the pose of the scene.
            focus_distance: m; clipped to the range of the lens.

        Returns:
            Image (H, W, 3) uint8, RGB; true depth (H, W) float32, m; the state of the lens.
        """
        focus_distance = min(max(focus_distance, self._lens_range.near), self._lens_range.far)
        focus = torch.tensor([self._range.normalise(focus_distance)])
        phase = 2 * math.pi * time_s / self.PERIOD
        # Objects move by an amount per frame of a stack; here they swing over several frames.
        swing = torch.tensor([8.0 * math.sin(phase)]) * self._size / 320
        reach = 0.02 * self._size * math.sin(2 * phase / 3)
        travel = torch.tensor([[reach * math.cos(self._direction), reach * math.sin(self._direction)]])
        poses = self._scene.poses(swing, travel, torch.zeros(1, 2), torch.ones(1))
        blur = self._lens.blur_scale(self._range) / (1 - self.FOCAL_LENGTH / focus_distance)
        linear, vergence, _ = self._scene.photograph(poses, torch.tensor([blur]), focus, torch.tensor([8.0]))
        exposed = expose(linear, torch.tensor([1.1]), 3e-4, 1e-3, self._rng.normal(*linear.shape))
        image = (srgb_encode(exposed)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        # Points beyond the range have a depth too, but it stays finite.
        depth = self._range.denormalise(
            vergence[0, 0].double().clamp_min(0.02 - 1 / (self._range.far * self._range.width))
        )
        state = LensState.of_lens(focus_distance, self._lens, self._lens_range, magnification=1.0, stamp=time_s)
        return image, depth.float().numpy(), state
