"""Scenes with realistic surfaces: planes and boxes with print, photographs, paint, wood, cloth and tiles.

Flat things have the vergence of the surface they are on, so their edges are no depth edges. Light and shadows change
smoothly, so brightness does not mark depth edges either.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.pictures import library
from dfd_ros.synthesis.planes import Box, Plane, View, lay, texture_plane
from dfd_ros.synthesis.scene import Layer, Scene, SceneSettings, _relief
from dfd_ros.synthesis.shapes import coverage
from dfd_ros.synthesis.surface_materials import SurfaceSettings, grain, material, shading
from dfd_ros.synthesis.textures import highlights

_STEP = 0.002  # in u: minimum, from a thing to the surface behind it
# Limits of u, as in all drawn scenes.
_MIN_U, _MAX_U = -0.05, 1.05


class _Painter:
    """Paints surfaces: materials, light and grain."""

    def __init__(self, rng: Random, settings: SurfaceSettings, split: str, seed: int, view: View):
        self.rng, self.settings, self.split, self.seed, self.view = rng, settings, split, seed, view
        self.pictures = library(settings.photographs, split)

    def material(self) -> torch.Tensor:
        return material(self.rng, self.settings, self.pictures, self.seed, self.split)

    def finish(self, rgb: torch.Tensor) -> torch.Tensor:
        """Add light, and grain to some surfaces."""
        rgb = rgb * shading(self.rng, *rgb.shape[-2:])
        if self.rng.chance(self.settings.grain):
            rgb = rgb * grain(self.rng, max(rgb.shape[-2:]))[:, : rgb.shape[1], : rgb.shape[2]]
        return rgb.clamp(0, 1.5)

    def plane(self, plane: Plane, window=None) -> torch.Tensor:
        rng = self.rng
        return texture_plane(self.view, plane, self.material(), rng.log_uniform(0.9, 2.5), rng, window)

    def lying(self, rgb: torch.Tensor, plane: Plane, where: torch.Tensor, short: float) -> torch.Tensor:
        """Put flat things on a plane: `rgb` (3, S, S), changed where the plane is visible (`where`, (S, S))."""
        rng, view = self.rng, self.view
        places = where.nonzero()
        for _ in range(rng.integer(0, self.settings.lying + 1)):
            if not len(places):
                break
            row, column = places[rng.integer(0, len(places))].tolist()
            x, y = view.x[row, column].item(), view.y[row, column].item()
            sheet = lay(
                view,
                plane,
                self.material(),
                x,
                y,
                short * rng.log_uniform(0.08, 0.6),
                rng.uniform(0, 2 * math.pi) if rng.chance(0.6) else 0.0,
                rng.uniform(0.4, 1),
            )
            if sheet is None:
                continue
            colour, alpha, window = sheet
            area = (..., *window)
            alpha = alpha * where[window]
            if rng.chance(0.4):  # the shadow of a thin thing, or of the gap beneath it
                around = F.avg_pool2d(alpha[None], 7, 1, 3)[0]
                rgb[area] = rgb[area] * (1 - rng.uniform(0.1, 0.5) * around)
            if rng.chance(0.5):
                colour = colour * shading(rng, *colour.shape[-2:])
            rgb[area] = rgb[area] + (colour - rgb[area]) * alpha
        return rgb


def real_scene(
    rng: Random,
    height: int,
    width: int,
    scene: SceneSettings,
    settings: SurfaceSettings,
    offset: float,
    seed: int,
    margin: int,
) -> Scene:
    """A random scene with realistic surfaces.

    Args:
        rng: the source of all draws except the pictures.
        scene: motion, highlights and split.
        offset: inverse distance of the far end of the swept range, in widths of the range.
        seed: selects the prints and photographs.
        margin: px by which the canvases exceed the image on every side.

    Raises:
        InputError: there is no such folder of photographs.
    """
    if settings.bare and rng.chance(settings.bare):
        settings = settings.bared()
    size, half, short = max(height, width) + 2 * margin, max(height, width) / 2, min(height, width)
    x = torch.arange(size, device=rng.device, dtype=torch.float32) - (size - 1) / 2
    view = View(x[None].expand(size, size), x[:, None].expand(size, size), half, rng.uniform(0.25, 0.7), offset)
    painter = _Painter(rng, settings, scene.split, seed, view)
    down = 0.1 * (rng.uniform(-1, 1) + rng.uniform(-1, 1)) if rng.chance(0.7) else rng.uniform(0, 2 * math.pi)
    gravity = (math.sin(down), math.cos(down))
    dominated = rng.chance(settings.large_planes)

    planes, nearest, floor = (_large if dominated else _far)(rng, view, gravity)
    background, surface = _background(painter, planes, nearest, short)
    u = surface.mean().item()
    layers = [
        Layer(
            torch.cat([background, torch.ones_like(background[:1])]),
            surface[None],
            0.3 + 0.7 * u if dominated else rng.uniform(0, 0.3),
        )
    ]

    count = rng.integer(settings.objects[0], settings.objects[1] + 1)
    things = []
    for _ in range(count // 2 if dominated else count):
        cx, cy = rng.uniform(-0.55, 0.55) * width, rng.uniform(-0.55, 0.55) * height
        behind = surface[round(cy + (size - 1) / 2), round(cx + (size - 1) / 2)].item()
        things.append((behind + max(1 - behind, 0.05) * rng.uniform(0.03, 0.95), cx, cy))
    for u, cx, cy in sorted(things):
        radius = short * rng.log_uniform(*settings.radius)
        if rng.chance(settings.boxes):
            thing = _box(painter, u, cx, cy, radius, floor)
        else:
            thing = _shape(painter, u, cx, cy, radius, scene)
        if thing is None:
            continue
        rgb, alpha, body = thing
        is_covered = alpha > 0.5
        surface = torch.where(is_covered, torch.maximum(body, surface + _STEP), surface)
        if rng.chance(scene.highlights):
            rgb = rgb + highlights(rng, size)
        layer = Layer(torch.cat([rgb * alpha, alpha[None]]), torch.maximum(body, surface)[None], 0.3 + 0.7 * u)
        if rng.chance(scene.moving):
            layer.start_moving(rng, scene.speed)
        elif rng.chance(0.5):
            layers[0].rgba[:3] *= _shadow(rng, alpha, short)
        layers.append(layer)
    return Scene(layers, height, width)


def _slanted(rng: Random, view: View, u: float, steepest: float) -> Plane:
    """A random plane with this u in the middle of the canvas, within the swept range everywhere on it."""
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.log_uniform(0.02, steepest)
    room = min(u - _MIN_U, _MAX_U - u)
    reach = (abs(math.cos(angle)) + abs(math.sin(angle))) * view.size / 2 / view.half
    slope = min(slope, room / reach) / view.half
    return Plane(u + view.offset, slope * math.cos(angle), slope * math.sin(angle))


def _floor(rng: Random, view: View, gravity: tuple[float, float], nearest: tuple[float, float]) -> Plane:
    """A table top or floor. Its horizon is at infinity."""
    horizon = rng.uniform(-2.0, 0.1)
    slope = (rng.uniform(*nearest) + view.offset) / (1 - horizon) / view.half
    return Plane(-slope * horizon * view.half, slope * gravity[0], slope * gravity[1])


def _large(rng: Random, view: View, gravity) -> tuple[list[Plane], bool, Plane | None]:
    """Planes that fill the image, whether the nearest of them is visible (otherwise the farthest), and the floor."""
    kind = rng.uniform(0, 1)
    if kind < 0.4:  # a wall, a page, the face of something
        return [_slanted(rng, view, rng.uniform(0.05, 0.95), 0.9)], True, None
    if kind < 0.75:  # a table in front of a wall
        floor = _floor(rng, view, gravity, (0.5, 1.05))
        return [floor, _slanted(rng, view, rng.uniform(0, 0.45), 0.1)], True, floor
    # Two or three planes that meet: the corner of a room, or the edge of something large
    planes = [_slanted(rng, view, rng.uniform(0.1, 0.9), 0.8) for _ in range(rng.integer(2, 4))]
    return planes, rng.chance(0.6), None


def _far(rng: Random, view: View, gravity) -> tuple[list[Plane], bool, Plane | None]:
    """As `_large`, for the background of a scene."""
    wall = _slanted(rng, view, rng.uniform(-0.03, 0.3), 0.15)
    if rng.chance(0.5):
        return [wall], True, None
    floor = _floor(rng, view, gravity, (0.3, 0.9))
    return [floor, wall], True, floor


def _background(
    painter: _Painter, planes: list[Plane], nearest: bool, short: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, S, S) colour and (S, S) u of planes that fill the canvas."""
    view = painter.view
    w = torch.stack([plane.w(view.x, view.y) for plane in planes])
    w, which = w.max(0) if nearest else w.min(0)
    result = torch.zeros(3, view.size, view.size, device=view.x.device)
    for number, plane in enumerate(planes):
        where = which == number
        window = view.window(where)
        if window is None or min(a.stop - a.start for a in window) < 3:
            continue
        rgb = torch.zeros_like(result)
        rgb[(..., *window)] = painter.plane(plane, window)
        rgb = painter.lying(rgb, plane, where, short)
        area = (..., *window)
        result[area] = torch.where(where[window], painter.finish(rgb[area]), result[area])
    return result, (w - view.offset).clamp(_MIN_U, _MAX_U)


def _box(painter: _Painter, u: float, cx: float, cy: float, radius: float, floor: Plane | None):
    """Colour (3, S, S), coverage (S, S) and u (S, S) of a box, on the floor or anywhere."""
    rng, view = painter.rng, painter.view
    sides = torch.tensor([rng.log_uniform(0.3, 1) for _ in range(3)])
    if rng.chance(0.3):
        sides[2] *= 0.2  # as a book is thin
    if floor is not None and rng.chance(0.7) and floor.w(cx, cy) > view.offset + 0.02:
        w = floor.w(cx, cy)
        up = -F.normalize(floor.normal(view), dim=0)
        axes = torch.cat([floor.axes(view, rng.uniform(0, 2 * math.pi)), up[None]])
        axes = axes[torch.tensor(rng.choice(((0, 1, 2), (0, 2, 1), (2, 0, 1))))]
        halves = sides * (radius * view.scale / w)
        ray = torch.tensor([cx * view.scale, cy * view.scale, 1.0])
        middle = ray / w + up * (axes @ up).abs() @ halves
    else:
        w = max(u + view.offset, 0.05)
        axes, _ = torch.linalg.qr(torch.tensor([[rng.uniform(-1, 1) for _ in range(3)] for _ in range(3)]))
        halves = sides * (radius * view.scale / w)
        # Its centre is behind its nearest point, by about half its size
        w = 1 / (1 / w + 0.6 * halves.norm().item())
        middle = torch.tensor([cx * view.scale, cy * view.scale, 1.0]) / w
    box = Box(middle, halves, axes)
    if (seen := box.seen(view)) is None:
        return None
    w, alpha, which, faces, window = seen
    images = [painter.material() for _ in faces]
    if rng.chance(0.4):  # the same paper on all faces
        images = images[:1] * len(faces)
    images = [image * rng.uniform(0.4, 1.1) for image in images]
    rgb = torch.zeros(3, view.size, view.size, device=view.x.device)
    rgb[(..., *window)] = painter.finish(box.texture(view, images, w, which, faces, window))
    return rgb, alpha, (w - view.offset).clamp(_MIN_U, _MAX_U)


def _shape(painter: _Painter, u: float, cx: float, cy: float, radius: float, scene: SceneSettings):
    """As `_box`, for a thing with a random outline: flat, slanted or bulging."""
    rng, view = painter.rng, painter.view
    angle = rng.uniform(0, 2 * math.pi)
    dx, dy = view.x - cx, view.y - cy
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    alpha = coverage(rng, along, across, radius, scene.split)
    window = view.window(alpha > 0)
    if window is None or min(a.stop - a.start for a in window) < 2:
        return None
    body = u + _relief(rng, along, across, radius)
    plane = Plane.through(cx, cy, u + view.offset + 0.05, 0.0, 0.0)
    rgb = torch.zeros(3, view.size, view.size, device=view.x.device)
    rgb[(..., *window)] = painter.finish(painter.plane(plane, window))
    return rgb, alpha, body.clamp(_MIN_U, _MAX_U)


def _shadow(rng: Random, alpha: torch.Tensor, short: float) -> torch.Tensor:
    """The share of light (1, S, S) that reaches the background past a thing."""
    small = F.avg_pool2d(alpha[None, None], 8)
    n = 2 * rng.integer(0, 4) + 1
    small = F.avg_pool2d(small, n, 1, n // 2)
    shift = [int(rng.uniform(-0.1, 0.1) * short / 8) for _ in range(2)]
    small = torch.roll(small, shift, (2, 3))
    return 1 - rng.uniform(0.1, 0.6) * F.interpolate(small, alpha.shape, mode='bilinear', align_corners=False)[0]
