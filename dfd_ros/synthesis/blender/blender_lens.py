"""One lens for Blender and `dfd_ros.core.optics`.

Cycles takes its "focal length" L for the distance between lens and sensor, whatever the focus: rays start on a disc of
diameter L / fstop, and all that leave a pixel meet in the plane of focus F. The blur of a point at D is therefore
(L / fstop) L |D - F| / (D F) on the sensor. A thin lens has its sensor at v = f F / (F - f), and its blur is
A f |D - F| / (D (F - f)) = A v |D - F| / (D F), with A = f / N.

* With focus breathing, L = v: the field of view is that of the thin lens and fstop = L / A makes the blur the same.
* Without, L = f: the field of view stays as it is at infinity, and the aperture is larger by v / f, so that the blur
  in pixels is still that of `dfd_ros.core.optics.coc_px`.

Blender clips sensors and focal lengths to 1 mm at least, which a phone's may be below. All that counts is their ratio
and the aperture: the sensor is always 36 mm here, and L and fstop grow with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dfd_ros.core.optics import Lens, magnification

SENSOR = 36.0
"""mm, the shorter side of Blender's sensor."""
FARTHEST_FOCUS = 1e5
"""m, in place of infinity, which Blender does not have."""
LARGEST_DISTANCE = 1e9
"""m; Cycles gives 1e10 for a pixel that sees nothing."""


@dataclass(frozen=True)
class BlenderLens:
    """Values of a Blender camera with a sensor of `SENSOR`: lens in mm, focus distance in m."""

    lens: float
    fstop: float
    focus_distance: float


def blender_lens(lens: Lens, focus_distance: float, side: int, breathing: bool = False) -> BlenderLens:
    """The camera that blurs as `lens` does. side: of the image, the shorter one (px)."""
    growth = magnification(focus_distance, lens.focal_length)
    image_distance = lens.focal_length * (growth if breathing else 1.0)
    aperture = lens.focal_length / lens.f_number * (1.0 if breathing else growth)
    focus = focus_distance if math.isfinite(focus_distance) else FARTHEST_FOCUS
    length = image_distance / (lens.pixel_pitch * side) * SENSOR
    return BlenderLens(length, length * 1e-3 / aperture, focus)


def apply(camera, values: BlenderLens, in_focus: bool = False) -> None:
    """Set a bpy camera; with `in_focus` it becomes a pinhole."""
    camera.type = 'PERSP'
    camera.lens_unit = 'MILLIMETERS'
    camera.lens = values.lens
    camera.dof.use_dof = not in_focus
    camera.dof.focus_distance = values.focus_distance
    camera.dof.aperture_fstop = values.fstop
    camera.dof.aperture_blades = 0
    camera.dof.aperture_ratio = 1.0


def set_sensor(camera, height: int, width: int) -> None:
    """The sensor of a bpy camera, for images of this size (px)."""
    camera.sensor_fit = 'VERTICAL' if height < width else 'HORIZONTAL'
    camera.sensor_width = camera.sensor_height = SENSOR
    camera.clip_start, camera.clip_end = 1e-3, 1e4
