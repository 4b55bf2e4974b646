"""Planes and boxes in perspective, and their textures.

The unit of distance makes the inverse distance w = u + offset, where u is the vergence scaled to 0..1 over the swept
range. For a plane w is linear over the image, so slanted planes are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dfd_ros.synthesis.draws import Random

MIN_SIDE = 4  # px, of a box that is drawn


@dataclass
class View:
    """A canvas seen by a pinhole camera.

    Attributes:
        x, y: (S, S) px from the centre.
        half, tan: half of the image's longer side (px), and the tangent of the angle at which it is seen.
        offset: w at the far end of the swept range (0 = infinity).
    """

    x: torch.Tensor
    y: torch.Tensor
    half: float
    tan: float
    offset: float

    @property
    def size(self) -> int:
        return self.x.shape[-1]

    @property
    def scale(self) -> float:
        """Pixels to rays: pixel (x, y) is seen in the direction (x * scale, y * scale, 1)."""
        return self.tan / self.half

    def window(self, covered: torch.Tensor) -> tuple[slice, slice] | None:
        """Rows and columns that `covered` (S, S) spans; None if it is empty."""
        rows, columns = covered.any(1).nonzero(), covered.any(0).nonzero()
        if not len(rows):
            return None
        return slice(rows[0].item(), rows[-1].item() + 1), slice(columns[0].item(), columns[-1].item() + 1)


@dataclass
class Plane:
    """w = base + across * x + down * y, with x and y in px from the centre."""

    base: float
    across: float
    down: float

    @staticmethod
    def through(x: float, y: float, w: float, across: float, down: float) -> Plane:
        """The plane with this w at pixel (x, y)."""
        return Plane(w - across * x - down * y, across, down)

    def w(self, x, y):
        return self.base + self.across * x + self.down * y

    def normal(self, view: View) -> torch.Tensor:
        """(3,) n, not of unit length, away from the camera: n . P = 1 for the points P of the plane."""
        return torch.tensor([self.across / view.scale, self.down / view.scale, self.base])

    def axes(self, view: View, angle: float) -> torch.Tensor:
        """(2, 3) two orthogonal directions in the plane, rotated by an angle."""
        n = F.normalize(self.normal(view), dim=0)
        start = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        first = F.normalize(start - n * (n @ start), dim=0)
        return torch.stack([first, torch.linalg.cross(n, first)])


def coordinates(
    view: View, plane: Plane, axes: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates along both axes (2, 3) of the points of the plane that pixels (x, y) see."""
    w = plane.w(x, y).clamp_min(1e-3)
    (ax, ay, az), (bx, by, bz) = axes.tolist()
    s = view.scale
    return (ax * s * x + ay * s * y + az) / w, (bx * s * x + by * s * y + bz) / w


def sample(image: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Sample an image (3, H, W) at positions u and v (h, w), -1..1 from edge to edge and mirrored beyond, alias-free.

    Interpolates between levels of a pyramid. A pixel's area picks the level: its longer side would blur slanted
    surfaces, and blur means depth here.
    """
    height, width = image.shape[-2:]
    du, dv = (
        [d[..., 1:, :-1] - d[..., :-1, :-1], d[..., :-1, 1:] - d[..., :-1, :-1]]
        if min(d.shape) > 1
        else [torch.zeros_like(d), torch.ones_like(d)]
        for d in (u, v)
    )
    area = (du[0] * dv[1] - du[1] * dv[0]).abs() * (height * width / 4)
    area = (
        F.pad(area[None, None], (0, u.shape[1] - area.shape[1], 0, u.shape[0] - area.shape[0]), mode='replicate')
        if area.shape != u.shape
        else area[None, None]
    )
    coarsest = max(0, int(math.log2(max(min(height, width), 2))) - 2)
    level = (0.5 * torch.log2(area[0].clamp_min(1e-6)) - 0.3).clamp(0, coarsest)
    grid = torch.stack([u, v], -1)[None]
    lowest, highest = math.floor(level.min().item()), math.ceil(level.max().item())
    result = torch.zeros(len(image), *u.shape, device=image.device)
    for i in range(highest + 1):
        if i >= lowest:
            share = (1 - (level - i).abs()).clamp_min(0)
            seen = F.grid_sample(image[None], grid, mode='bilinear', padding_mode='reflection', align_corners=False)[0]
            result = result + seen * share
        image = F.avg_pool2d(image[None], 2)[0] if i < highest else image
    return result


def texture_plane(
    view: View,
    plane: Plane,
    image: torch.Tensor,
    density: float,
    rng: Random,
    window: tuple[slice, slice] | None = None,
) -> torch.Tensor:
    """The colour (3, h, w) of a plane that repeats an image.

    Args:
        density: image pixels per canvas pixel where the plane is nearest.
        window: the part of the canvas; None = all.
    """
    x, y = (a[window] if window else a for a in (view.x, view.y))
    u, v = coordinates(view, plane, plane.axes(view, rng.uniform(-0.3, 0.3)), x, y)
    nearest = max(plane.w(a, b) for a in (x[0, 0].item(), x[0, -1].item()) for b in (y[0, 0].item(), y[-1, 0].item()))
    texels = density * max(nearest, 1e-2) / view.scale
    height, width = image.shape[-2:]
    middle = tuple(a // 2 for a in u.shape)
    start_u, start_v = ((a[middle].item()) for a in (u, v))
    return sample(
        image,
        (u - start_u) * (2 * texels / width) + rng.uniform(-0.5, 0.5),
        (v - start_v) * (2 * texels / height) + rng.uniform(-0.5, 0.5),
    )


def lay(
    view: View, plane: Plane, image: torch.Tensor, x: float, y: float, radius: float, angle: float, aspect: float
) -> tuple[torch.Tensor, torch.Tensor, tuple[slice, slice]] | None:
    """A sheet on a plane.

    Args:
        image: (3, H, W), which the sheet shows from edge to edge.
        x, y: position of its centre (px).
        radius: half of its longer side (px), as if seen from above.
        angle: its rotation.
        aspect: shorter by longer side.

    Returns:
        (3, h, w) colour, (1, h, w) coverage, and the window of the canvas; None if it is out of view.
    """
    axes = plane.axes(view, angle)
    u, v = coordinates(view, plane, axes, view.x, view.y)
    here = coordinates(view, plane, axes, torch.tensor(x), torch.tensor(y))
    half = radius * view.scale / max(plane.w(x, y), 1e-2)
    u, v = (u - here[0]) / half, (v - here[1]) / (half * aspect)
    return _patch(view, image, u, v, plane.w(view.x, view.y) > 0.01)


def _patch(view, image, u, v, valid):
    window = view.window((u.abs() < 1.05) & (v.abs() < 1.05) & valid)
    if window is None:
        return None
    u, v = u[window], v[window]
    if min(u.shape) < 3:
        return None
    coverage = torch.ones_like(u)
    for a in (u, v):
        down, right = torch.gradient(a)
        slope = (down**2 + right**2).sqrt().clamp_min(1e-6)
        coverage = torch.minimum(coverage, ((1 - a.abs()) / slope + 0.5).clamp(0, 1))
    return sample(image, u, v), coverage[None], window


@dataclass
class Box:
    """A box: centre (3,), half sides (3,), and axes as the rows of a rotation (3, 3)."""

    middle: torch.Tensor
    halves: torch.Tensor
    axes: torch.Tensor

    def faces(self) -> tuple[list[tuple[int, torch.Tensor]], list[torch.Tensor]]:
        """(axis, n) of the faces towards the camera, and n of the others; n . ray is w on the plane of a face."""
        front, back = [], []
        for axis in range(3):
            for sign in (-1.0, 1.0):
                normal = sign * self.axes[axis]
                distance = float(normal @ self.middle + self.halves[axis])
                if distance < -1e-4:
                    front.append((axis, normal / distance))
                elif distance > 1e-4:
                    back.append(normal / distance)
        return front, back

    def seen(
        self, view: View
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int], tuple[slice, slice]] | None:
        """w (S, S), coverage (S, S), index of the visible face (S, S), the axes of the faces, and the window that the
        box covers. Beyond the outline of the box, w continues the planes of its faces. None if the box is not in front
        of the camera, or covers less than `MIN_SIDE` px."""
        front, back = self.faces()
        if not front or not back:
            return None
        s = view.scale

        def plane(n):
            return n[0].item() * s, n[1].item() * s, n[2].item()

        def value(p):
            return p[0] * view.x + p[1] * view.y + p[2]

        fronts, backs = [plane(n) for _, n in front], [plane(n) for n in back]
        w = torch.stack([value(p) for p in fronts])
        w, which = w.min(0) if len(front) > 1 else (w[0], torch.zeros_like(view.x, dtype=torch.long))
        inside = torch.full_like(view.x, math.inf)
        for p in fronts:  # a ray hits the box if it enters every front plane before it leaves any back plane
            for q in backs:
                d = tuple(a - b for a, b in zip(p, q))
                distance = value(d) / max(math.hypot(d[0], d[1]), 1e-9)
                inside = torch.minimum(inside, distance)
        coverage = (inside + 0.5).clamp(0, 1) * (w > 0)
        window = view.window(coverage > 0)
        if window is None or min(side.stop - side.start for side in window) < MIN_SIDE:
            return None
        return w, coverage, which, [axis for axis, _ in front], window

    def texture(
        self,
        view: View,
        images: list[torch.Tensor],
        w: torch.Tensor,
        which: torch.Tensor,
        axes: list[int],
        window: tuple[slice, slice],
    ) -> torch.Tensor:
        """The colour (3, h, w) of a window. Each face shows an image from edge to edge."""
        x, y, w, which = (a[window] for a in (view.x, view.y, w, which))
        s = view.scale
        result = torch.zeros(3, *x.shape, device=x.device)
        for number, (axis, image) in enumerate(zip(axes, images)):
            is_here = which == number
            part = view.window(is_here)
            if part is None or min(a.stop - a.start for a in part) < 2:
                continue
            xs, ys, ws = x[part], y[part], w[part].clamp_min(1e-3)
            places = []
            for other in (a for a in range(3) if a != axis):
                ax, ay, az = self.axes[other].tolist()
                along = (ax * s * xs + ay * s * ys + az) / ws - float(self.axes[other] @ self.middle)
                places.append(along / self.halves[other].item())
            seen = sample(image, *places)
            area = (..., *part)
            result[area] = torch.where(is_here[part], seen, result[area])
        return result
