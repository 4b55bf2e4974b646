"""Ground truth computed from depth, poses and the lens, without a renderer."""

from __future__ import annotations

import numpy as np


def intrinsics(focal_length: float, pixel_pitch: float, height: int, width: int) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) in px of a lens focused at infinity, with pixel centres at integers."""
    return focal_length / pixel_pitch, focal_length / pixel_pitch, (width - 1) / 2, (height - 1) / 2


def points(depth: np.ndarray, camera: tuple[float, float, float, float], magnification: float = 1.0) -> np.ndarray:
    """The point (H, W, 3) that each pixel sees: m in the camera frame (x right, y down, z forward)."""
    fx, fy, cx, cy = camera
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    return np.stack([(x - cx) / (fx * magnification) * depth, (y - cy) / (fy * magnification) * depth, depth], -1)


def flow(
    depth: np.ndarray,
    index: np.ndarray,
    objects: np.ndarray,
    objects_next: np.ndarray,
    pose: np.ndarray,
    pose_next: np.ndarray,
    camera: tuple[float, float, float, float],
    magnification: float = 1.0,
    magnification_next: float = 1.0,
) -> np.ndarray:
    """Optical flow (H, W, 2) px, (x, y): from each pixel to where its point is in the next frame, hidden or not.

    Exact, because everything is rigid. NaN where a pixel sees nothing, or where its point moves behind the camera.

    Args:
        depth: (H, W) m; index: (H, W) of the object that each pixel sees, in `objects`.
        objects, objects_next: (N, 4, 4) object to world, in this frame and the next.
        pose, pose_next: (4, 4) camera to world.
        camera: intrinsics, see `intrinsics`.
    """
    fx, fy, cx, cy = camera
    # From this camera to the next one, through the visible object.
    steps = np.linalg.inv(pose_next) @ objects_next @ np.linalg.inv(objects) @ pose
    step = steps[index]
    with np.errstate(all='ignore'):
        here = points(depth.astype(np.float64), camera, magnification)
        x, y, z = np.moveaxis((step[..., :3, :3] @ here[..., None])[..., 0] + step[..., :3, 3], -1, 0)
        rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
        moved = np.stack(
            [x / z * fx * magnification_next + cx - columns, y / z * fy * magnification_next + cy - rows], -1
        )
        moved[~(np.isfinite(depth) & (z > 0))] = np.nan
    return moved.astype(np.float16)
