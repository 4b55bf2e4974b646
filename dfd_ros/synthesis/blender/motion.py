"""Motion of camera and objects across the frames of a stack: a rigid pose per frame."""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.core.geometry import matrix_about_axis, matrix_from_unit_quaternion, rigid_transform

MAX_TRAVEL = 1.5  # px between frames: parallax of the camera, at the nearest distance
MAX_SHAKE = 1.0  # px between frames: rotation of the camera
MAX_SPEED = 3.0  # px between frames: an object, at its distance
MAX_TURN = 5.0  # degrees between frames: an object
MOVING = 0.7  # share of moving objects in scenes with moving objects


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation (3, 3), uniform over all rotations: from a uniform unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return matrix_from_unit_quaternion(x, y, z, w)


def camera_path(rng: np.random.Generator, frames: int, near: float, pixels: float) -> np.ndarray:
    """(T, 4, 4) poses of the camera relative to its first frame: a steady drift with some tremor.

    near: the nearest distance (m); pixels: focal length in px. They scale the motion, whose limits are in px.
    """
    travel = rng.uniform(0, MAX_TRAVEL) * near / pixels
    shake = rng.uniform(0, MAX_SHAKE) / pixels
    shifts = _walk(rng, frames, travel)
    shifts[:, 2] *= 0.5
    turns = _walk(rng, frames, shake)
    return np.stack(
        [
            rigid_transform(
                matrix_about_axis((1, 0, 0), x) @ matrix_about_axis((0, 1, 0), y) @ matrix_about_axis((0, 0, 1), z),
                shift,
            )
            for shift, (x, y, z) in zip(shifts, turns)
        ]
    )


def object_path(rng: np.random.Generator, frames: int, start: np.ndarray, distance: float, pixels: float) -> np.ndarray:
    """(T, 4, 4) poses of an object at this distance (m) that starts at `start` and moves and turns steadily."""
    velocity = rng.normal(size=3)
    velocity *= rng.uniform(0, MAX_SPEED) * distance / pixels / np.linalg.norm(velocity)
    axis, turn = rng.normal(size=3), math.radians(rng.uniform(0, MAX_TURN))
    return np.stack(
        [
            rigid_transform(matrix_about_axis(axis, turn * t) @ start[:3, :3], start[:3, 3] + velocity * t)
            for t in range(frames)
        ]
    )


def _walk(rng: np.random.Generator, frames: int, step: float) -> np.ndarray:
    """(T, 3), starting at zero, with at most about `step` between frames."""
    steps = rng.normal(size=3) * 0.5 + rng.normal(size=(frames, 3)) * 0.3
    path = np.clip(steps, -1, 1).cumsum(0) * step
    return path - path[:1]
