"""A fully known rig, and recordings of it for `dfd calibrate`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import simulated_photographs
from PIL import Image

from dfd_ros.calibration.board import Board
from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.calibration.noise_target import noise_target
from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.geometry import matrix_from_rpy
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, distance, magnification, vergence

TEXELS = 60  # of a square of the board
BLACK, WHITE = 0.03, 0.9


@dataclass
class SimulatedRig:
    """A focus camera whose lens moves as a whole, with its breathing, and an RGB-D colour camera beside it."""

    width: int = 640
    height: int = 480
    focal_length: float = 16e-3
    f_number: float = 1.8
    exponent: float = 8.0
    """Of the point spread function."""
    board: Board = field(default_factory=Board)
    rgbd_rpy: tuple[float, float, float] = (0.03, -0.05, 0.02)
    rgbd_translation: tuple[float, float, float] = (0.05, -0.01, 0.008)

    @property
    def focus_camera(self) -> CameraModel:
        """At a focus at infinity."""
        w, h = self.width, self.height
        return CameraModel(
            w, h, 1.1 * w, 1.105 * w, 0.51 * w, 0.487 * h, (-0.12, 0.06, 0.001, -0.0008, 0.0), focus_distance=math.inf
        )

    @property
    def rgbd_camera(self) -> CameraModel:
        w, h = self.width, self.height
        return CameraModel(w, h, 0.94 * w, 0.943 * w, 0.492 * w, 0.504 * h, (0.05, -0.08, -0.001, 0.0005, 0.0))

    @property
    def extrinsics(self) -> np.ndarray:
        """(4, 4) from the RGB-D camera to the focus camera."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = matrix_from_rpy(*self.rgbd_rpy), self.rgbd_translation
        return matrix

    @property
    def lens(self) -> Lens:
        return Lens(self.focal_length, self.f_number, self.focal_length / self.focus_camera.fx)

    def control_value(self, focus_distance: float) -> float:
        """Of the focus motor: a little curved in vergence, as motors are."""
        at = vergence(focus_distance)
        return 20 + 60 * at - 1.5 * at * at

    def at_focus(self, focus_distance: float) -> CameraModel:
        """The focus camera with its breathing."""
        return self.focus_camera.zoomed(magnification(focus_distance, self.focal_length))

    def write_boards(self, focus_folder: Path, rgbd_folder: Path, count: int, focus_distance: float) -> None:
        """Pairs of images of the board: those of the focus camera a little out of focus, all with noise."""
        texture = self._printed(self.board.picture(TEXELS, TEXELS))
        texel = self.board.square / TEXELS
        camera = self.at_focus(focus_distance)
        back = np.linalg.inv(self.extrinsics)
        for i, pose in enumerate(simulated_photographs.poses_of_board(self.board.size, camera, count)):
            view, depth = simulated_photographs.look_at_plane(texture, texel, camera, pose, margin=TEXELS)
            # With a wide aperture no board would be sharp everywhere, so stop down.
            stopped = Lens(self.focal_length, 8.0, self.lens.pixel_pitch)
            view = simulated_photographs.blur_by_depth(view, depth, focus_distance, stopped, self.exponent)
            _save(focus_folder / f'{i:02d}.png', simulated_photographs.develop(view, seed=2 * i))
            view, _ = simulated_photographs.look_at_plane(texture, texel, self.rgbd_camera, back @ pose, margin=TEXELS)
            _save(rgbd_folder / f'{i:02d}.png', simulated_photographs.develop(view, seed=2 * i + 1))

    def photograph(self, target: str, target_distance: float, focus_distance: float, seed: int = 0) -> np.ndarray:
        """(H, W, 3) uint8 of a flat target, `board` or `texture`, that faces the camera."""
        camera = self.at_focus(focus_distance)
        across = 1.25 * target_distance * max(self.width / self.focus_camera.fx, self.height / self.focus_camera.fy)
        if target == 'board':
            texture = self._printed(self.board.picture(TEXELS, TEXELS))
            texel, margin = self.board.square / TEXELS, TEXELS
            centre = self.board.size[0] / 2, self.board.size[1] / 2
        else:
            texture = self._printed(noise_target())
            texel, margin, centre = across / len(texture), 0, (across / 2, across / 2)
        pose = simulated_photographs.pose(centre, (0, 0, target_distance), (0, 0, 0))
        coc = self.lens.coc_px(target_distance, focus_distance)
        linear = simulated_photographs.photograph_plane(texture, texel, camera, pose, coc, self.exponent, margin=margin)
        return simulated_photographs.develop(linear, seed=seed)

    def write_sweep(
        self,
        folder: Path,
        target_distance: float,
        values: Sequence[float],
        target: str = 'board',
        is_distance_known: bool = True,
    ) -> None:
        """A sweep by control value."""
        images = [self.photograph(target, target_distance, self._focus_at(value), i) for i, value in enumerate(values)]
        Sweep(str(folder), np.asarray(values, float), images, target_distance if is_distance_known else math.nan).write(
            folder
        )

    def write_stack(self, folder: Path, target_distance: float, focus_distances: Sequence[float]) -> None:
        """A focal stack of the texture, with unknown aperture."""
        images = [self.photograph('texture', target_distance, d, i) for i, d in enumerate(focus_distances)]
        FocalStack(images, [LensState(d) for d in focus_distances]).write(folder)

    def _focus_at(self, value: float) -> float:
        """m, at a control value."""
        at = (60 - math.sqrt(60**2 - 4 * 1.5 * (value - 20))) / (2 * 1.5)
        return distance(max(at, 0.0))

    @staticmethod
    def _printed(picture: np.ndarray) -> np.ndarray:
        """(H, W) float32: paper is not white, ink not black."""
        return (picture / np.float32(255) * (WHITE - BLACK) + BLACK).astype(np.float32)


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
