"""Focal length, principal point and distortion of a camera, from images of a ChArUco board.

Zhang, "A flexible new technique for camera calibration", PAMI 2000, as implemented in OpenCV; the distortion is
ROS's plumb_bob with k3 = 0, because images of a board seldom determine k3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfd_ros.calibration.board import View, opencv
from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.core.errors import InputError

MIN_VIEWS = 5
MAX_RESIDUAL = 2.0  # px
MIN_SPREAD = 20.0  # degrees, largest angle between two views of the board
MAX_UNCERTAINTY = 0.01
"""Relative standard deviation of the focal length; above it the views do not determine it."""


@dataclass(frozen=True)
class IntrinsicsResult:
    """The camera, and the measures of its quality."""

    camera: CameraModel
    focal_uncertainty: float
    """Standard deviation of fx, as a share of it."""
    residuals: list[np.ndarray]
    """For each view (N, 2) px: found minus expected."""
    views: Sequence[View]


def calibrate_intrinsics(
    views: Sequence[View], size: tuple[int, int], focus_distance: float = math.nan
) -> IntrinsicsResult:
    """The camera that saw these views of one board.

    Args:
        views: five or more, tilted in different directions.
        size: width and height of the images (px).
        focus_distance: m, of the images: the focal length in pixels depends on it.

    Raises:
        InputError: too few views, views that are too similar, or views that do not fit together.
    """
    if len(views) < MIN_VIEWS:
        raise InputError(f'intrinsics: {len(views)} views of the board, but at least {MIN_VIEWS} are needed')
    cv2 = opencv()
    points, corners = [v.points for v in views], [v.corners for v in views]
    try:
        residual, matrix, distortion, rotations, translations, deviations, _, of_view = cv2.calibrateCameraExtended(
            points, corners, size, None, None, flags=cv2.CALIB_FIX_K3
        )
    except cv2.error as error:
        raise InputError(
            f'intrinsics: the views do not determine a camera ({" ".join(str(error.err).split())}); '
            'show the board tilted, in different directions'
        ) from None
    of_view = of_view.reshape(-1)
    if not residual <= MAX_RESIDUAL:
        worst = views[int(np.argmax(of_view))].name
        raise InputError(
            f'intrinsics: the corners miss by {residual:.2f} px, most in image {worst} '
            f'({of_view.max():.2f} px); remove blurred images and images of another board'
        )
    normals = np.array([cv2.Rodrigues(r)[0][:, 2] for r in rotations])
    # Boards that all face one way do not determine focal length and distance, and the deviations do not show it.
    spread = math.degrees(math.acos(np.clip((normals @ normals.T).min(), -1, 1)))
    if spread < MIN_SPREAD:
        raise InputError(
            f'intrinsics: the views of the board are all within {spread:.0f} degrees; show it tilted by '
            '20 to 50 degrees, in different directions'
        )
    uncertainty = float(deviations.reshape(-1)[0] / matrix[0, 0])
    if not uncertainty <= MAX_UNCERTAINTY:
        raise InputError(
            f'intrinsics: the focal length is uncertain by {100 * uncertainty:.1f} %, the views are too '
            'similar; show the board tilted by 20 to 50 degrees, in different directions'
        )
    residuals = [
        c - cv2.projectPoints(p, r, t, matrix, distortion)[0].reshape(-1, 2)
        for p, c, r, t in zip(points, corners, rotations, translations)
    ]
    camera = CameraModel(
        width=size[0],
        height=size[1],
        fx=float(matrix[0, 0]),
        fy=float(matrix[1, 1]),
        cx=float(matrix[0, 2]),
        cy=float(matrix[1, 2]),
        distortion=tuple(float(d) for d in distortion.reshape(-1)[:5]),
        focus_distance=focus_distance,
        residual_px=float(residual),
        images=len(views),
    )
    return IntrinsicsResult(camera, uncertainty, residuals, views)
