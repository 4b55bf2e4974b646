"""Pose of the RGB-D camera relative to the focus camera, from pairs of images of one board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfd_ros.calibration.board import MIN_CORNERS, View, opencv
from dfd_ros.calibration.calibration_file import CameraModel, Extrinsics
from dfd_ros.core.errors import InputError

MIN_PAIRS = 3
MAX_RESIDUAL = 3.0  # px


@dataclass(frozen=True)
class ExtrinsicsResult:
    """The extrinsics, and the residual of each pair."""

    extrinsics: Extrinsics
    names: list[str]
    residuals: np.ndarray
    """(pairs, 2) px, of the focus camera and of the RGB-D camera."""


def calibrate_extrinsics(
    focus_views: Sequence[View],
    focus_camera: CameraModel,
    rgbd_views: Sequence[View],
    rgbd_camera: CameraModel,
    parent: str,
    child: str,
) -> ExtrinsicsResult:
    """The transform from the RGB-D colour camera into the focus camera; views are paired by name.

    `parent` and `child` are the optical frames of the focus camera and of the RGB-D colour camera.
    Raises `InputError` if fewer than three pairs have eight corners in common, or if the cameras do not fit the views.
    """
    cv2 = opencv()
    rgbd_by_name = {view.name: view for view in rgbd_views}
    names, points, focus_corners, rgbd_corners = [], [], [], []
    for view in focus_views:
        other = rgbd_by_name.get(view.name)
        if other is None:
            continue
        ids, here, there = np.intersect1d(view.ids, other.ids, return_indices=True)
        if len(ids) < MIN_CORNERS:
            continue
        names.append(view.name)
        points.append(view.points[here])
        corners, focus_distortion = focus_camera.for_opencv(view.corners[here])
        focus_corners.append(corners)
        corners, rgbd_distortion = rgbd_camera.for_opencv(other.corners[there])
        rgbd_corners.append(corners)
    if len(names) < MIN_PAIRS:
        raise InputError(
            f'extrinsics: {len(names)} pairs of images of one name show the same part of the board, '
            f'but at least {MIN_PAIRS} are needed; both images of a pair must have the same name'
        )
    # From the RGB-D camera to the focus camera: the transform that projects depth into the focus camera's image.
    found = cv2.stereoCalibrateExtended(
        points,
        rgbd_corners,
        focus_corners,
        rgbd_camera.matrix,
        rgbd_distortion,
        focus_camera.matrix,
        focus_distortion,
        (focus_camera.width, focus_camera.height),
        np.eye(3),
        np.zeros((3, 1)),
        flags=cv2.CALIB_FIX_INTRINSIC,
    )
    rotation, translation, of_view = found[5], found[6], found[-1]
    counts = np.array([len(p) for p in points])[:, None]
    residual = float(np.sqrt((of_view**2 * counts).sum() / (2 * counts.sum())))
    if not residual <= MAX_RESIDUAL:
        worst = names[int(np.argmax(of_view.max(1)))]
        raise InputError(
            f'extrinsics: the corners miss by {residual:.2f} px, most in pair {worst} '
            f'({of_view.max():.2f} px); the cameras moved relative to each other, the images of a pair '
            'were not taken at the same time, or the intrinsics belong to another focus'
        )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation.reshape(3)
    return ExtrinsicsResult(
        Extrinsics.from_matrix(matrix, parent, child, residual_px=residual, pairs=len(names)), names, of_view[:, ::-1]
    )
