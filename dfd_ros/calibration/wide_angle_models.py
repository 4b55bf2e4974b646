"""Camera models of Kalibr that ROS's CameraInfo and OpenCV do not know, as the nearest equidistant camera.

`omni` (Mei and Rives, ICRA 2007), `eucm` (Khomutenko et al., "An enhanced unified camera model", RA-L 2016), `ds`
(Usenko et al., "The double sphere camera model", 3DV 2018), and the distortion `fov` (Devernay and Faugeras, MVA 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_distortion import EQUIDISTANT, FISHEYE_COUNT, Projection

MAX_DIFFERENCE = 1.0
"""px, between a camera and the equidistant one that is taken for it. Without tangential distortion it is some 0.002."""
_ANGLES = np.radians(np.arange(0.5, 89.0, 0.5))[:, None]  # from the axis: a pinhole image ends before 90 degrees
_AROUND = np.radians(np.arange(0, 360, 5))[None]

OWN_PARAMETERS = {'pinhole': 0, 'omni': 1, 'eucm': 2, 'ds': 2}
"""Their number, before fx, fy, cx, cy in a file."""
_RADII: dict[str, Callable[..., np.ndarray]] = {
    'pinhole': lambda sine, z: sine / z,
    'omni': lambda sine, z, xi: sine / (z + xi),
    'eucm': lambda sine, z, alpha, beta: sine / (alpha * np.sqrt(beta * sine**2 + z**2) + (1 - alpha) * z),
    'ds': lambda sine, z, xi, alpha: sine / (alpha * np.sqrt(sine**2 + (xi + z) ** 2) + (1 - alpha) * (xi + z)),
}
"""The distance from the centre (1) at which each model sees a direction, of the sine and cosine of its angle to the
axis and the model's own parameters."""


def nearest_equidistant(
    model: str, intrinsics: Sequence[float], distort: Projection | float, size: tuple[int, int], where: str
) -> tuple[Projection, float]:
    """An equidistant camera that sees what this one does, and how far apart they are at most, px.

    Args:
        model: a key of `OWN_PARAMETERS`; intrinsics: its own, and fx, fy, cx, cy (px).
        distort: what follows, as a projection with fx = fy = 1 and cx = cy = 0; or the parameter of `fov`.
        size: width and height of the image, px.
        where: the message begins with it.

    Raises:
        InputError: the parameters are of no camera, or there is none within `MAX_DIFFERENCE`.
    """
    *own, fx, fy, cx, cy = intrinsics
    with np.errstate(all='ignore'):
        radius = _RADII[model](np.sin(_ANGLES), np.cos(_ANGLES), *own)
        plane = np.stack([radius * np.cos(_AROUND), radius * np.sin(_AROUND)], -1)
        if isinstance(distort, float):
            plane *= (np.arctan(2 * np.tan(distort / 2) * radius) / (distort * radius))[..., None]
        else:
            plane = distort.pixels(plane.reshape(-1, 2)).reshape(plane.shape)
        seen = plane * (fx, fy) + (cx, cy)
        rises = np.diff(np.linalg.norm(plane, axis=-1), axis=0, prepend=0) > 0
        inside = ((seen > -0.5) & (seen < np.array(size) - 0.5)).all(-1) & (radius > 0)
    # Polynomials turn back at some angle, where no lens does.
    used = inside & np.logical_and.accumulate(rises, axis=0)
    if not (np.isfinite(intrinsics).all() and fx > 0 and fy > 0 and used.sum() > len(_AROUND[0])):
        raise InputError(f'{where}: no camera has these intrinsics and this distortion; calibrate it again')
    angles, around = (np.broadcast_to(values, used.shape)[used] for values in (_ANGLES, _AROUND))
    # u - cx = fx (a + k1 a^3 + ... + k4 a^9) cos(around), and v likewise; fx / fy is known: linear in the rest.
    powers = angles[:, None] ** (1 + 2 * np.arange(1 + FISHEYE_COUNT))
    ones, zeros = np.ones((len(angles), 1)), np.zeros((len(angles), 1))
    across, down = np.cos(around)[:, None] * powers, np.sin(around)[:, None] * powers
    matrix = np.concatenate([np.hstack([across, ones, zeros]), np.hstack([down, zeros, ones])])
    target = np.concatenate([seen[used][:, 0], seen[used][:, 1] * fx / fy])
    scale = np.linalg.norm(matrix, axis=0)
    found = np.linalg.lstsq(matrix / scale, target, rcond=1e-7)[0] / scale
    focal, centre = found[0], found[-2:] * (1, fy / fx)
    equidistant = Projection(
        np.array([[focal, 0, centre[0]], [0, focal * fy / fx, centre[1]], [0, 0, 1.0]]),
        tuple(map(float, found[1:-2] / focal)),
        EQUIDISTANT,
    )
    rays = np.stack([np.tan(angles) * np.cos(around), np.tan(angles) * np.sin(around)], -1)
    apart = float(np.linalg.norm(equidistant.pixels(rays) - seen[used], axis=-1).max())
    if not apart <= MAX_DIFFERENCE:
        raise InputError(
            f'{where}: no equidistant camera is within {MAX_DIFFERENCE} px of this {model} camera, the nearest is '
            f'{apart:.2g} px off; calibrate with --models pinhole-equi'
        )
    return equidistant, apart
