"""Translates lenses of `dfd_ros.core.optics` to Blender's camera.

Cycles uses its "focal length" L as the distance between lens and sensor at every focus: rays start on a disc of
diameter L / fstop, and all rays of a pixel meet in the plane of focus F. On the sensor, a point at D is therefore
blurred by (L / fstop) L |D - F| / (D F). A thin lens has its sensor at v = f F / (F - f), and its blur is
A f |D - F| / (D (F - f)) = A v |D - F| / (D F), with A = f / N.

* With focus breathing, L = v gives the field of view of the thin lens, and fstop = L / A its blur.
* Without, L = f keeps the field of view at infinity focus. The aperture is larger by v / f, so that the blur in pixels
  is still that of `dfd_ros.core.optics.coc_px`.

Blender does not allow sensors and focal lengths below 1 mm, which phones may have. Only their ratio and the aperture
matter, so the sensor is always 36 mm here; L and fstop scale with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dfd_ros.core.optics import Lens, magnification

SENSOR = 36.0
"""mm, the shorter side of Blender's sensor."""
FARTHEST_FOCUS = 1e5
"""m; replaces infinity, which Blender does not have."""
MAX_DISTANCE = 1e9
"""m; Cycles returns 1e10 for a pixel that sees nothing."""


@dataclass(frozen=True)
class BlenderLens:
    """Settings of a Blender camera with a sensor of `SENSOR` mm: lens in mm, focus distance in m."""

    lens: float
    fstop: float
    focus_distance: float


def blender_lens(lens: Lens, focus_distance: float, side: int, breathing: bool = False) -> BlenderLens:
    """The camera that blurs like `lens`. side: shorter side of the image (px)."""
    growth = magnification(focus_distance, lens.focal_length)
    image_distance = lens.focal_length * (growth if breathing else 1.0)
    aperture = lens.focal_length / lens.f_number * (1.0 if breathing else growth)
    focus = focus_distance if math.isfinite(focus_distance) else FARTHEST_FOCUS
    length = image_distance / (lens.pixel_pitch * side) * SENSOR
    return BlenderLens(length, length * 1e-3 / aperture, focus)


def apply(camera, values: BlenderLens, in_focus: bool = False) -> None:
    """Set up a bpy camera; `in_focus` makes it a pinhole."""
    camera.type = 'PERSP'
    camera.lens_unit = 'MILLIMETERS'
    camera.lens = values.lens
    camera.dof.use_dof = not in_focus
    camera.dof.focus_distance = values.focus_distance
    camera.dof.aperture_fstop = values.fstop
    camera.dof.aperture_blades = 0
    camera.dof.aperture_ratio = 1.0


def set_sensor(camera, height: int, width: int) -> None:
    """Set up the sensor of a bpy camera for images of this size (px)."""
    camera.sensor_fit = 'VERTICAL' if height < width else 'HORIZONTAL'
    camera.sensor_width = camera.sensor_height = SENSOR
    camera.clip_start, camera.clip_end = 1e-3, 1e4
