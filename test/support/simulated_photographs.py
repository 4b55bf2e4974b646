"""Photographs of flat targets by a fully known camera, to test the calibration.

Geometry by ray casting with supersampling, defocus by `dfd_ros.synthesis.defocus`, then noise and sRGB.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.defocus import defocus, psf_kernel

STEP = 8  # subpixels between two rays that are computed
SURROUNDINGS = 0.35  # linear, brightness beside the target


@lru_cache(maxsize=4)
def _rays(camera: CameraModel, supersampling: int) -> np.ndarray:
    """(H s, W s, 2) float32: x / z and y / z of the ray of each subpixel."""
    height, width = camera.height * supersampling, camera.width * supersampling

    def nodes(length):  # a node in the middle of every eight subpixels, and one beyond each end
        return (((np.arange(-1, -(-length // STEP) + 1) + 0.5) * STEP) / supersampling - 0.5).astype(np.float32)

    x, y = nodes(width), nodes(height)
    pixels = np.stack(np.meshgrid(x, y), -1)
    rays = cv2.undistortPoints(pixels.reshape(-1, 1, 2), camera.matrix, np.array(camera.distortion))
    # In between they are interpolated, to a thousandth of a pixel.
    rays = cv2.resize(rays.reshape(pixels.shape), (len(x) * STEP, len(y) * STEP), interpolation=cv2.INTER_LINEAR)
    return rays[STEP : STEP + height, STEP : STEP + width]


def look_at_plane(
    texture: np.ndarray, texel: float, camera: CameraModel, pose: np.ndarray, *, margin: int = 0, supersampling: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """A sharp view of a textured plane.

    Args:
        texture: (h, w) float32, linear light 0..1; `margin` texels of it lie outside the plane's origin.
        texel: m on the plane.
        pose: (4, 4) from the plane (x right, y down, z = 0) to the camera.

    Returns:
        (H, W) float32 linear light, and (H, W) float32 depth of the plane (m), NaN behind the camera.
    """
    rays = _rays(camera, supersampling)
    # On the plane: pose @ (X, Y, 0, 1) = depth (x, y, 1), a homography from rays to the plane.
    matrix = np.linalg.inv(np.stack([pose[:3, 0], pose[:3, 1], pose[:3, 3]], 1))
    h, w = rays.shape[:2]
    on_plane = np.c_[rays.reshape(-1, 2), np.ones(h * w, np.float32)] @ matrix.T.astype(np.float32)
    scale = 1 / on_plane[:, 2]
    at = (on_plane[:, :2] * scale[:, None] / np.float32(texel) - 0.5 + margin).reshape(h, w, 2).astype(np.float32)
    image = cv2.remap(
        texture.astype(np.float32), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=SURROUNDINGS
    )
    size = (camera.width, camera.height)
    depth = cv2.resize(scale.reshape(h, w), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.where(depth > 0, depth, np.nan).astype(np.float32)


def blur_by_depth(
    linear: np.ndarray, depth: np.ndarray, focus_distance: float, lens: Lens, exponent: float = 8.0
) -> np.ndarray:
    """A sharp view (H, W) with the defocus of each pixel's depth. The PSF's exponent: 2 Gaussian, 32 disc."""
    coc = np.nan_to_num(lens.coc_px(depth, focus_distance))
    light = torch.from_numpy(linear)[None, None].float()
    premultiplied = torch.cat([light.expand(1, 3, -1, -1), torch.ones_like(light)], 1)
    blurred = defocus(premultiplied, torch.from_numpy(coc)[None, None].float(), torch.tensor([exponent]))[0]
    return (blurred[0] / blurred[3]).numpy()  # compensates for light lost at the edge of the image


def photograph_plane(
    texture: np.ndarray,
    texel: float,
    camera: CameraModel,
    pose: np.ndarray,
    coc: float,
    exponent: float = 8.0,
    *,
    margin: int = 0,
    supersampling: int = 3,
) -> np.ndarray:
    """(H, W) linear light of a plane that faces the camera, with one circle of confusion (px) everywhere.

    Blurred before it is sampled, as by a lens, so that even a small blur is accurate to a percent.
    """
    fine = camera.resized(camera.width * supersampling, camera.height * supersampling)
    linear, _ = look_at_plane(texture, texel, fine, pose, margin=margin, supersampling=1)
    # The kernel is integrated over each subpixel, which also blurs: subtract that variance.
    squared = (coc * supersampling) ** 2 - 16 / 12
    if squared > 0:
        size = 2 * math.ceil(0.9 * math.sqrt(squared) + 1) + 1
        kernel = psf_kernel(math.sqrt(squared), torch.tensor([exponent]), size)[0]
        linear = cv2.filter2D(linear, cv2.CV_32F, kernel.numpy(), borderType=cv2.BORDER_REFLECT)
    return cv2.resize(linear, (camera.width, camera.height), interpolation=cv2.INTER_AREA)


def develop(linear: np.ndarray, noise: float = 0.004, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of linear light with Gaussian noise (share of white)."""
    noisy = linear + noise * np.random.default_rng(seed).standard_normal(linear.shape)
    encoded = srgb_encode(torch.from_numpy(np.clip(noisy, 0, 1)))
    grey = (encoded * 255).round().to(torch.uint8).numpy()
    return np.repeat(grey[..., None], 3, 2)


def pose(centre: tuple[float, float], at: tuple[float, float, float], tilt: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) of a plane whose point `centre` (m on the plane) is at `at` (m), turned by the vector `tilt` (rad)."""
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.array(tilt, float))[0]
    matrix[:3, 3] = np.array(at) - matrix[:3, :3] @ np.array([*centre, 0.0])
    return matrix


def poses_of_board(size: tuple[float, float], camera: CameraModel, count: int, seed: int = 0) -> list[np.ndarray]:
    """`count` poses in which a board of this size (m) fills about half of the view, tilted in all directions."""
    rng = np.random.default_rng(seed)
    nearest = 1.15 * max(size[0] * camera.fx / camera.width, size[1] * camera.fy / camera.height)
    poses = []
    for i in range(count):
        z = nearest * rng.uniform(1.0, 1.5)
        reach = 0.25 * z * np.array([camera.width / camera.fx, camera.height / camera.fy]) * (1 - nearest / z * 0.8)
        x, y = rng.uniform(-1, 1, 2) * reach
        direction, angle = 2 * math.pi * i / count, rng.uniform(0.35, 0.7)
        tilt = angle * math.cos(direction), angle * math.sin(direction), rng.uniform(-0.2, 0.2)
        poses.append(pose((size[0] / 2, size[1] / 2), (x, y, z), tilt))
    return poses
