"""From blur and image scale in pixels to the lens in metres."""

from __future__ import annotations

import math

import numpy as np

from dfd_ros.calibration.aperture import ApertureResult
from dfd_ros.calibration.calibration_file import Aperture, CameraModel
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens


def aperture_of(
    result: ApertureResult, size: tuple[int, int], lens: Lens, camera: CameraModel | None = None
) -> Aperture:
    """Effective f-number, and the breathing table.

    Blur per dioptre is f^2 / (N p): with the focal length f and the pixel pitch p it gives N. One of the two may be
    unknown where the camera's intrinsics are known: f / p is its focal length in pixels at infinity.

    Args:
        size: width and height (px) of the images of the sweep.
        lens: focal length and pixel pitch, as far as known; its f-number is ignored.
        camera: intrinsics of the focus camera.

    Raises:
        InputError: focal length or pixel pitch is unknown and does not follow from the rest.
    """
    focal_length, pitch = lens.focal_length, lens.pixel_pitch
    if (math.isnan(focal_length) or math.isnan(pitch)) and camera is not None:
        zoom = 1.0 if math.isnan(camera.focus_distance) else 1 / (1 - result.breathing / camera.focus_distance)
        pixels = camera.resized(*size).fx / zoom
        if math.isnan(pitch):
            pitch = focal_length / pixels
        elif math.isnan(focal_length):
            focal_length = pixels * pitch
    if math.isnan(focal_length) or math.isnan(pitch):
        raise InputError(
            'aperture: focal length and pixel pitch are needed, or one of them and the intrinsics; give '
            '--focal-length (mm), and --pixel-pitch (um) or run dfd calibrate intrinsics first'
        )
    f_number = focal_length**2 / (result.blur_per_dioptre * pitch)
    negative, first = np.unique(-result.focus_distances, return_index=True)  # from far to near
    distances = [float(-d) for d in negative]
    magnifications = [float(result.magnification[i]) for i in first]
    if math.isfinite(distances[0]):
        distances, magnifications = [math.inf, *distances], [1.0, *magnifications]
    return Aperture(
        size[0],
        Lens(focal_length, f_number, pitch),
        tuple(distances),
        tuple(magnifications),
        result.residual,
        len(result.focus_distances),
    )
