"""A folder of RGB-D images as a rig of a focus camera and an RGB-D sensor at the same position."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import cv2
import numpy as np
import torch

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.cameras import Frame, RgbdImages
from dfd_ros.cameras.focus_drive import DrivenSource, FocusDrive
from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml
from dfd_ros.core.image_io import read_depth_image, read_image, used_bits
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens, VergenceRange
from dfd_ros.synthesis.rgbd_scene import RgbdScene
from dfd_ros.synthesis.sensor import expose

FOCAL_LENGTH, F_NUMBER = 0.05, 1.4  # blur of some pixels at the distances of a room
INTRINSICS = 'intrinsics.yaml'
PRIMESENSE = 525.0 / 640  # default focal length, in image widths
PERIOD = 2.0  # s that an image is shown
MARGIN = 1.1  # by which the range of the focus exceeds that of the depth
SHOT, READ = 3e-4, 1e-3  # noise, see `sensor.expose`
KEPT = 32  # photographs; a sweep repeats the same ones


class RgbdSource(DrivenSource):
    """Plays ``color_N.jpg`` (or .png) with ``depth_N.png`` (16 bit, mm, 0 = none), back and forth.

    Depth is that of the colour image, pixel by pixel. Intrinsics are those of ``intrinsics.yaml`` in the folder (fx,
    fy, cx, cy in px), otherwise those of a PrimeSense sensor: 525 px at 640x480, centred. The focus camera sees the
    same through a lens without focus breathing; its images are rendered from colour and depth (`RgbdScene`), and noisy.
    """

    gives_rgbd = True

    def __init__(
        self,
        folder: str | Path,
        settle_time: float = 0.0,
        width: int = 0,
        seed: int = 0,
        focal_length: float = 0.0,
        f_number: float = 0.0,
    ) -> None:
        """`width` (px) resizes all images; 0 leaves them. `focal_length` (m) and `f_number`: 0 = 50 mm, f/1.4.

        Raises InputError for a folder without images, or with images that are broken or do not belong together.
        """
        self._pairs = _pairs(Path(folder))
        self._width = width
        self._bits = used_bits([color for color, _ in self._pairs], str(folder))
        color, _ = self._read(0)
        stored = _intrinsics(Path(folder), self._pairs[0][0])
        self.camera = stored.resized(color.shape[1], color.shape[0])
        limits = [_limits(*pair, stored) for pair in self._pairs]
        self._range = VergenceRange(min(near for near, _ in limits) / MARGIN, max(far for _, far in limits) * MARGIN)
        focal_length = focal_length or FOCAL_LENGTH
        self._lens = Lens(focal_length, f_number or F_NUMBER, focal_length / self.camera.fx)
        self._drive = FocusDrive(self._range.far, settle_time, self._range)
        self._noise = torch.Generator().manual_seed(seed)
        self._photograph = functools.lru_cache(KEPT)(self._photograph_of)
        self._scene = functools.lru_cache(2)(self._scene_of)
        self._began: float | None = None

    def capture(self, time_s: float) -> Frame:
        if self._began is None:
            self._began = time_s
        count = len(self._pairs)
        number = int((time_s - self._began) / PERIOD) % max(2 * count - 2, 1)
        number = min(number, 2 * count - 2 - number)
        focus_distance, settled = self._drive.at(time_s)
        linear = self._photograph(number, focus_distance)
        noise = torch.randn(linear.shape, generator=self._noise)
        image = (srgb_encode(expose(linear, torch.ones(1), SHOT, READ, noise))[0] * 255).round().to(torch.uint8)
        state = LensState.of_lens(
            focus_distance, self._lens, self._range, magnification=1.0, settled=settled, stamp=time_s
        )
        _, color, depth = self._scene(number)
        metres = np.where(depth > 0, depth * np.float32(1e-3), np.float32(np.nan))
        return Frame(
            image.permute(1, 2, 0).contiguous().numpy(), state, time_s, metres, RgbdImages(color, depth, self.camera)
        )

    def _photograph_of(self, number: int, focus_distance: float) -> torch.Tensor:
        return self._scene(number)[0].photograph(self._lens, focus_distance)

    def _scene_of(self, number: int) -> tuple[RgbdScene, np.ndarray, np.ndarray]:
        color, depth = self._read(number)
        return RgbdScene(color, np.where(depth > 0, depth * np.float32(1e-3), np.nan)), color, depth

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(color (H, W, 3) uint8 RGB, depth (H, W) uint16 mm) in the requested size."""
        color, depth = _stored(*self._pairs[number], self._bits)
        if self._width and self._width != color.shape[1]:
            scale = self._width / color.shape[1]
            size = self._width, max(1, round(color.shape[0] * scale))
            color = cv2.resize(color, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            # Nearest: a mean across an edge would be the depth of nothing.
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        return color, depth


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    found = {}
    for path in folder.iterdir():
        match = re.fullmatch(r'color_(\d+)\.(jpg|jpeg|png)', path.name)
        if match:
            found[int(match[1])] = path, folder / f'depth_{match[1]}.png'
    if not found:
        raise InputError(f'{folder}: no color_N.jpg or color_N.png with depth_N.png in it')
    for color, depth in found.values():
        if not depth.is_file():
            raise InputError(f'{depth}: no such file, but there is {color.name}')
    return [found[number] for number in sorted(found)]


def _stored(color_path: Path, depth_path: Path, bits: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(color (H, W, 3) uint8 RGB, depth (H, W) uint16 mm) as they are stored. bits: see `read_image`."""
    color, depth = read_image(color_path, bits=bits), read_depth_image(depth_path)
    if color.shape[:2] != depth.shape:
        raise InputError(
            f'{depth_path}: of {depth.shape[1]}x{depth.shape[0]} pixels, but its colour image has '
            f'{color.shape[1]}x{color.shape[0]}; register the depth to the colour'
        )
    return color, depth


def _limits(color_path: Path, depth_path: Path, camera: CameraModel) -> tuple[float, float]:
    """(nearest, farthest) depth (m) of an image. Broken files are reported here, before they are played."""
    _, depth = _stored(color_path, depth_path)
    if depth.shape != (camera.height, camera.width):
        raise InputError(
            f'{color_path}: of {depth.shape[1]}x{depth.shape[0]} pixels, but the first image has '
            f'{camera.width}x{camera.height}; all images must come from one camera'
        )
    known = depth[depth > 0]
    if not known.size:
        raise InputError(f'{depth_path}: no pixel has a depth')
    return float(known.min()) * 1e-3, float(known.max()) * 1e-3


def _intrinsics(folder: Path, color: Path) -> CameraModel:
    """Of the images as they are stored."""
    height, width = read_image(color).shape[:2]
    path = folder / INTRINSICS
    if not path.exists():
        return CameraModel(width, height, PRIMESENSE * width, PRIMESENSE * width, (width - 1) / 2, (height - 1) / 2)
    try:
        content = read_yaml(path)
        fx, fy, cx, cy = (float(content[name]) for name in ('fx', 'fy', 'cx', 'cy'))
    except (KeyError, TypeError, ValueError):
        raise InputError(f'{path}: must give fx, fy, cx and cy, in pixels') from None
    camera = CameraModel(width, height, fx, fy, cx, cy)
    camera.check(str(path))
    return camera
