"""A desk with books and boxes in front of a wall: a scene that looks real, drawn in seconds, for demonstrations.

Surfaces are planes with prints, paint and wood. Light comes from a window at the left and from everywhere; rays from
each point towards it find the shadows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.optics import VergenceRange
from dfd_ros.synthesis import prints
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.planes import Box, Plane, View, coordinates, lay, sample
from dfd_ros.synthesis.scene import Layer, Scene
from dfd_ros.synthesis.surface_materials import faint_grain, linear, wood

HEIGHT, TILT, WALL = 0.12, math.radians(8), 1.25  # m, rad, m: of the camera above the table, and its distances
COARSE = 6  # px between the points where light is computed
RAYS, REACH = 32, 0.5  # to the light of each kind; m: things farther away do not darken
WINDOW, WINDOW_RADIUS = (-0.9, 1.0, 0.1), 0.25  # m: right of, above and in front of the camera's foot
WINDOW_LIGHT, SKY_LIGHT = 0.65, 0.35
BOARD, SIZE = 0.5, 0.4  # m: a repeat of the wood, and of the wall's plaster
DISTANT = 1e4
TEXELS, MIN_PRINT = 12, 24  # of prints: in a metre, for each px of half the image; px of a side at least


@dataclass(frozen=True)
class Thing:
    """A box on the table, m and rad: its foot right of and in front of the camera, and above the table."""

    x: float
    z: float
    size: tuple[float, float, float]
    """Width, height, depth."""
    turn: float = 0.0
    foot: float = 0.0
    cover: str = 'box'
    """What is printed on it: box, cover (of a book) or carton."""


# None ends as high as the camera stands: `Box` does not see a face edge-on.
THINGS = (
    Thing(-0.038, 0.20, (0.035, 0.085, 0.02), 0.5),
    Thing(0.062, 0.33, (0.09, 0.022, 0.065), -0.25, cover='cover'),
    Thing(0.058, 0.33, (0.075, 0.016, 0.055), 0.1, 0.022, cover='cover'),
    Thing(-0.055, 0.42, (0.05, 0.10, 0.035), -0.5),
    Thing(0.10, 0.52, (0.026, 0.15, 0.10), -0.1, cover='cover'),
    Thing(0.128, 0.53, (0.02, 0.165, 0.11), -0.08, cover='cover'),
    Thing(0.0, 0.62, (0.07, 0.05, 0.07), 0.7),
    Thing(-0.17, 0.72, (0.14, 0.10, 0.11), 0.3, cover='carton'),
    Thing(-0.15, 0.72, (0.07, 0.06, 0.05), -0.2, 0.10),
    Thing(0.08, 1.05, (0.13, 0.07, 0.1), 0.15, cover='carton'),
)


def desk_scene(seed: int, height: int, width: int, range_: VergenceRange, tan: float, margin: int) -> Scene:
    """The scene on canvases that exceed the image by `margin` px on every side.

    Args:
        seed: of prints, colours and small turns.
        range_: of u.
        tan: of half the angle at which the camera sees the longer side of the image.
    """
    rng = Random(seed)
    size, half = max(height, width) + 2 * margin, max(height, width) / 2
    x = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2).expand(size, size)
    view = View(x, x.T.contiguous(), half, tan, 1 / range_.far / range_.width)
    painter = _Painter(rng, seed, view, range_.width)
    layers = [painter.room()]
    for thing, box in sorted(zip(THINGS, painter.boxes), key=lambda pair: -float(pair[1].middle[2])):
        if (layer := painter.thing(thing, box, layers[-1].vergence)) is not None:
            layers.append(layer)
    return Scene(layers, height, width)


class _Painter:
    """Lengths are in the unit of `planes`: `unit` of them in a metre."""

    def __init__(self, rng: Random, seed: int, view: View, unit: float):
        self.rng, self.view, self.unit = rng, view, unit
        self.draw = np.random.default_rng(seed)
        self.up = torch.tensor([0.0, -math.cos(TILT), -math.sin(TILT)])
        self.ahead = torch.tensor([0.0, -math.sin(TILT), math.cos(TILT)])
        self.right = torch.tensor([1.0, 0.0, 0.0])
        s, foot, wall = view.scale, HEIGHT * unit, WALL * unit
        self.table = Plane(math.sin(TILT) / foot, 0.0, math.cos(TILT) * s / foot)
        self.wall = Plane(math.cos(TILT) / wall, 0.0, -math.sin(TILT) * s / wall)
        self.boxes = [self._box(thing) for thing in THINGS]
        # Evenly spread directions and points of the window, the same for all points.
        golden = math.pi * (3 - math.sqrt(5)) * torch.arange(RAYS)
        radius = torch.sqrt((torch.arange(RAYS) + 0.5) / RAYS)
        disc = torch.stack([radius * torch.cos(golden), radius * torch.sin(golden)], 1)
        self.sky = torch.cat([disc, torch.sqrt(1 - radius**2)[:, None]], 1)  # more of them straight on
        window = self._place(*WINDOW)
        self.window = window + WINDOW_RADIUS * unit * (disc[:, :1] * self.up + disc[:, 1:] * self.ahead)

    def _place(self, x: float, y: float, z: float) -> torch.Tensor:
        """m right of, above and in front of the camera's foot on the table."""
        return (x * self.right + (y - HEIGHT) * self.up + z * self.ahead) * self.unit

    def _box(self, thing: Thing) -> Box:
        turn = thing.turn + self.rng.uniform(-0.1, 0.1)
        across = math.cos(turn) * self.right + math.sin(turn) * self.ahead
        axes = torch.stack([across, -self.up, torch.linalg.cross(across, -self.up)])
        middle = self._place(thing.x, thing.foot + thing.size[1] / 2, thing.z)
        return Box(middle, torch.tensor(thing.size) * self.unit / 2, axes)

    def room(self) -> Layer:
        """The table and the wall behind it."""
        view = self.view
        w_table, w_wall = (plane.w(view.x, view.y) for plane in (self.table, self.wall))
        is_table = w_table > w_wall
        wood_ = wood(self.rng, 384) * torch.tensor([1.5, 1.35, 1.2])[:, None, None]
        table = self._tiled(self.table, wood_.clamp(0, 0.8), BOARD) * self._light(self.table.normal(view), self.up)
        tint = torch.tensor([0.62, 0.6, 0.55])[:, None, None] * faint_grain(self.rng, 384)
        wall = self._tiled(self.wall, tint.expand(3, -1, -1), SIZE)
        for kind, x, y, radius, aspect in (('poster', -0.03, 0.11, 0.1, 0.75), ('calendar', 0.2, 0.12, 0.06, 0.8)):
            wall = self._laid(wall, self.wall, kind, self._place(x, y, WALL), radius, aspect)
        wall = wall * self._light(self.wall.normal(view), -self.ahead)
        page = self._laid(
            torch.ones(3, view.size, view.size), self.table, 'page', self._place(-0.01, 0, 0.36), 0.06, 0.7
        )
        is_page = (page != 1).any(0)
        lit = page * self._light(self.table.normal(view), self.up)
        table = torch.where(is_page, lit, table)
        rgb = torch.where(is_table, table, wall)
        vergence = torch.maximum(w_table, w_wall) - view.offset
        # All layers move alike, as where the camera turns.
        return Layer(torch.cat([rgb, torch.ones_like(rgb[:1])]), vergence[None], 1.0)

    def _tiled(self, plane: Plane, image: torch.Tensor, metres: float) -> torch.Tensor:
        """(3, S, S): a plane that repeats an image."""
        u, v = coordinates(self.view, plane, plane.axes(self.view, 0.0), self.view.x, self.view.y)
        return sample(image, *(2 * a / (metres * self.unit) for a in (u, v)))

    def _laid(self, rgb: torch.Tensor, plane: Plane, kind: str, at: torch.Tensor, radius: float, aspect: float):
        """`rgb` with a print on the plane. at: (3,) its centre."""
        view = self.view
        x, y = (at[:2] / at[2] / view.scale).tolist()
        # As wide as high in the print, so that letters keep their shape.
        side = max(2 * MIN_PRINT, round(2 * self.view.half))
        image = self._print(kind, side, round(side / aspect))
        px = radius * self.unit * plane.w(x, y) / view.scale
        sheet = lay(view, plane, image, x, y, px, 0.0, aspect)
        if sheet is None:
            return rgb
        colour, alpha, window = sheet
        area = (..., *window)
        rgb = rgb.clone()
        rgb[area] = rgb[area] + (colour - rgb[area]) * alpha
        return rgb

    def _print(self, kind: str, height: int, width: int) -> torch.Tensor:
        # No ink is black, no paper white.
        return 0.05 + 0.85 * linear(prints.BY_NAME[kind](self.draw, height, width, ()), 'cpu')

    def thing(self, thing: Thing, box: Box, behind: torch.Tensor) -> Layer | None:
        """The layer of a box; None if it is out of view."""
        view = self.view
        if (seen := box.seen(view)) is None:
            return None
        w, alpha, which, axes, window = seen
        cover = self._cover(thing)
        rgb = torch.zeros(3, view.size, view.size)
        area = (..., *window)
        signs = [-float(torch.sign(box.axes[axis] @ normal)) for axis, normal in box.faces()[0]]
        images = [_turned(cover[axis], axis, sign) for axis, sign in zip(axes, signs)]
        rgb[area] = box.texture(view, images, w, which, axes, window)
        for number, ((axis, normal), sign) in enumerate(zip(box.faces()[0], signs)):
            light = self._light(normal, sign * box.axes[axis], window)
            rgb[area] = torch.where(which[window] == number, rgb[area] * light, rgb[area])
        body = torch.where(alpha > 0, w - view.offset, behind[0])
        return Layer(torch.cat([rgb * alpha, alpha[None]]), torch.maximum(body, behind[0])[None], 1.0)

    def _cover(self, thing: Thing) -> dict[int, torch.Tensor]:
        """What the faces across each axis show: of the sides, the top, and the front."""
        width, height, depth = (max(MIN_PRINT, round(TEXELS * self.view.half * side)) for side in thing.size)
        if thing.cover == 'carton':
            brown = torch.tensor([0.36, 0.23, 0.12])[:, None, None] * faint_grain(self.rng, 256)
            return dict.fromkeys(range(3), brown)
        kind = thing.cover
        front = self._print(kind, height, width)
        side = front.mean((1, 2), True).expand(3, 8, 8)
        if kind == 'box':
            return {0: self._print(kind, height, depth), 1: side, 2: front}
        is_lying = height < depth
        top = self._print(kind, depth, width) if is_lying else side
        return {0: side if is_lying else self._print(kind, height, depth), 1: top, 2: front}

    def _light(self, normal: torch.Tensor, outward: torch.Tensor, window=(slice(None), slice(None))) -> torch.Tensor:
        """(1, h, w) the light on a plane in a window of the canvas. normal: as `Plane.normal`; outward: (3,) unit."""
        x, y = (a[window][COARSE // 2 :: COARSE, COARSE // 2 :: COARSE] for a in (self.view.x, self.view.y))
        ray = torch.stack([x * self.view.scale, y * self.view.scale, torch.ones_like(x)], -1)
        points = ray / (ray @ normal).clamp_min(0.05)[..., None]
        points = points + 1e-3 * outward
        first = F.normalize(torch.linalg.cross(outward, self.right + 0.1 * self.up), dim=0)
        frame = torch.stack([first, torch.linalg.cross(outward, first), outward])
        points = points[..., None, :]
        sky = ~self._is_hit(points, self.sky @ frame, REACH * self.unit)
        to = F.normalize(self.window - points, dim=-1)
        window_ = (to @ outward).clamp_min(0) * ~self._is_hit(points, to, DISTANT)
        light = SKY_LIGHT * sky.float().mean(-1) + WINDOW_LIGHT * window_.mean(-1)
        shape = self.view.x[window].shape
        return F.interpolate(light[None, None], shape, mode='bilinear', align_corners=False)[0]

    def _is_hit(self, points: torch.Tensor, directions: torch.Tensor, reach: float) -> torch.Tensor:
        """Whether rays (R, 3) or (..., R, 3) from points (..., 1, 3) meet a box within reach: (..., R)."""
        hit = torch.zeros(*points.shape[:-2], RAYS, dtype=torch.bool)
        for box in self.boxes:
            start, along = (points - box.middle) @ box.axes.T, directions @ box.axes.T
            along = torch.where(along.abs() < 1e-9, 1e-9, along)
            one, other = (-box.halves - start) / along, (box.halves - start) / along
            enter, leave = torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)
            hit |= (leave > enter.clamp_min(1e-6)) & (enter < reach)
        return hit


def _turned(image: torch.Tensor, axis: int, sign: float) -> torch.Tensor:
    """A print as `Box.texture` wants it, so that it is upright on the face across an axis, on this side of it."""
    if axis == 0:
        image = image.transpose(1, 2)
    return image.flip(1) if axis == 1 or (axis == 0 and sign < 0) else image
