"""Random meshes: vertices and faces of unit size, by family. Does not need bpy.

Each object draws new parameters of its family. Training, validation and test have different families.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TAU = 2 * np.pi


class Mesh(NamedTuple):
    """vertices (N, 3), in the unit sphere; faces: quads (M, 4); uv (M, 4, 2) in 0..1; smooth: smooth shading."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    smooth: bool = True


def random_mesh(rng: np.random.Generator, split: str) -> tuple[str, Mesh]:
    """(name of a family of the split, a mesh of it)"""
    families = FAMILIES[split]
    family = families[rng.integers(len(families))]
    return family.__name__, _unit(family(rng))


def _unit(mesh: Mesh) -> Mesh:
    vertices = mesh.vertices - (mesh.vertices.max(0) + mesh.vertices.min(0)) / 2
    return mesh._replace(vertices=vertices / np.linalg.norm(vertices, axis=1).max())


def _surface(function: Callable, rows: int, columns: int, *, smooth: bool = True) -> Mesh:
    """The parametric surface `function`(u, v): u along columns, closed, and v along rows, both 0..1."""
    v, u = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : (columns + 1) * 1j]
    vertices = np.stack(np.broadcast_arrays(*function(u, v)), -1).reshape(-1, 3)
    number = np.arange(vertices.shape[0]).reshape(rows, columns + 1)
    corners = [number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]]
    faces = np.stack([c.ravel() for c in corners], -1)
    uv = np.stack([u.ravel(), v.ravel()], -1)[faces]
    return Mesh(vertices, faces, uv, smooth)


def _lathe(radius: np.ndarray, height: np.ndarray, columns: int, *, outline=None, smooth: bool = True) -> Mesh:
    """A profile rotated about the z axis; `outline` (of the angle) changes its round section."""

    def function(u, v):
        along = np.linspace(0, 1, len(radius))
        r = np.interp(v, along, radius) * (1 if outline is None else outline(u))
        return r * np.cos(TAU * u), r * np.sin(TAU * u), np.interp(v, along, height)

    return _surface(function, len(radius), columns, smooth=smooth)


def ellipsoid(rng: np.random.Generator) -> Mesh:
    """A ball, stretched along each axis."""
    sphere = _sphere(32, 48)
    return sphere._replace(vertices=sphere.vertices * rng.uniform(0.5, 1, 3))


def _sphere(rows: int, columns: int) -> Mesh:
    return _surface(
        lambda u, v: (np.sin(np.pi * v) * np.cos(TAU * u), np.sin(np.pi * v) * np.sin(TAU * u), np.cos(np.pi * v)),
        rows,
        columns,
    )


def box(rng: np.random.Generator) -> Mesh:
    """A box with random sides."""
    return _box(rng.uniform(0.25, 1, 3))


def _box(half, centre=(0.0, 0.0, 0.0)) -> Mesh:
    """A box with these half sides."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    faces = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    uv = np.tile(np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float), (6, 1, 1))
    return Mesh(signs * half + centre, faces, uv, smooth=False)


def _joined(parts: list[Mesh]) -> Mesh:
    """Several meshes as one; smooth if the first one is."""
    first = np.cumsum([0] + [len(part.vertices) for part in parts])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, first)]),
        np.concatenate([part.uv for part in parts]),
        parts[0].smooth,
    )


def cylinder(rng: np.random.Generator) -> Mesh:
    """A cylinder or a frustum, from a disc to a rod."""
    top, height = rng.uniform(0.4, 1), rng.uniform(0.1, 2.5)
    return _lathe(np.array([0, 1, top, 0]), np.array([-1, -1, 1, 1]) * height, 40, smooth=False)


def torus(rng: np.random.Generator) -> Mesh:
    """A ring."""
    thick = rng.uniform(0.1, 0.45)
    return _surface(
        lambda u, v: (
            (1 + thick * np.cos(TAU * v)) * np.cos(TAU * u),
            (1 + thick * np.cos(TAU * v)) * np.sin(TAU * u),
            thick * np.sin(TAU * v),
        ),
        20,
        56,
    )


def blob(rng: np.random.Generator) -> Mesh:
    """A ball displaced by smooth noise: a sum of waves in random directions."""
    sphere = _sphere(48, 64)
    displacement = np.zeros(len(sphere.vertices))
    for _ in range(12):
        frequency = rng.uniform(1.5, 7)
        direction = rng.normal(size=3)
        direction *= frequency / np.linalg.norm(direction)
        displacement += np.sin(sphere.vertices @ direction + rng.uniform(0, TAU)) * rng.uniform(0.3, 1) / frequency
    scale = 1 + rng.uniform(0.15, 0.45) * displacement
    return sphere._replace(vertices=sphere.vertices * np.maximum(scale, 0.2)[:, None])


def rock(rng: np.random.Generator) -> Mesh:
    """A stone with flat facets: a coarse ball with corners at random distances."""
    rows, columns = int(rng.integers(5, 9)), int(rng.integers(5, 10))
    distance = rng.uniform(0.6, 1, (rows, columns + 1))
    distance[:, -1] = distance[:, 0]
    distance[[0, -1]] = distance[[0, -1], :1]
    sphere = _sphere(rows, columns)
    return sphere._replace(vertices=sphere.vertices * distance.reshape(-1, 1) * rng.uniform(0.5, 1, 3), smooth=False)


def sheet(rng: np.random.Generator) -> Mesh:
    """A sheet of cardboard, bent by two waves."""
    wide, thick = rng.uniform(0.4, 1), rng.uniform(0.01, 0.05)
    waves = [
        (rng.uniform(0.05, 0.25), rng.uniform(-1.2, 1.2), rng.uniform(-1.2, 1.2), rng.uniform(0, TAU)) for _ in range(2)
    ]

    def function(u, v):
        # The first and last rows have no thickness: the ends are closed.
        across, along = wide * np.cos(TAU * u), 2 * v - 1
        height = sum(high * np.sin(TAU * (a * across + b * along) + phase) for high, a, b, phase in waves)
        return across, along, height + np.where(np.abs(along) < 1, thick, 0) * np.clip(5 * np.sin(TAU * u), -1, 1)

    return _surface(function, 28, 40)


def helix(rng: np.random.Generator) -> Mesh:
    """A spring."""
    turns, thick, pitch = rng.uniform(1.5, 4), rng.uniform(0.1, 0.28), rng.uniform(0.55, 1.1)
    t = np.linspace(0, 1, 121)
    outward = np.stack([np.cos(TAU * turns * t), np.sin(TAU * turns * t), 0 * t], -1)
    centre = outward + np.array([0, 0, pitch * turns]) * t[:, None]
    along = np.gradient(centre, axis=0)
    radius = np.full(len(t), thick)
    radius[[0, -1]] = 0  # The ends are closed.
    return _tube(centre, along, outward, radius)


def cup(rng: np.random.Generator) -> Mesh:
    """An open vessel with a wall: from a dish to a pipe with a bottom."""
    top, height, wall = rng.uniform(0.7, 1.5), rng.uniform(0.2, 1.6), rng.uniform(0.05, 0.25)
    return _lathe(
        np.array([0, 1, top, top - wall, 1 - wall, 0]),
        np.array([-height, -height, height, height, 2 * wall * height - height, 2 * wall * height - height]),
        int(rng.choice([4, 6, 40])),
        smooth=False,
    )


def jack(rng: np.random.Generator) -> Mesh:
    """Two or three bars that cross at right angles."""
    bars = []
    for axis in range(int(rng.integers(2, 4))):
        half = rng.uniform(0.08, 0.3, 3)
        half[axis] = rng.uniform(0.6, 1)
        bars.append(_box(half, rng.uniform(-0.2, 0.2, 3)))
    return _joined(bars)


def stand(rng: np.random.Generator) -> Mesh:
    """A board on four legs, sometimes with a back: a table, a stool, a chair."""
    wide, deep, high = rng.uniform(0.5, 1, 3)
    board, leg = rng.uniform(0.04, 0.15), rng.uniform(0.05, 0.15)
    parts = [_box((wide, deep, board), (0, 0, high))]
    for x in (leg - wide, wide - leg):
        parts += [_box((leg, leg, high), (x, y, 0)) for y in (leg - deep, deep - leg)]
    if rng.random() < 0.4:
        parts.append(_box((wide, leg, 0.7 * high), (0, deep - leg, 1.7 * high)))
    return _joined(parts)


def cone(rng: np.random.Generator) -> Mesh:
    """A cone or a pyramid."""
    sides = int(rng.choice([3, 4, 5, 40]))
    return _lathe(np.array([0, 1, 0.0]), np.array([-1, -1, 1]) * rng.uniform(0.5, 1.5), sides, smooth=False)


def capsule(rng: np.random.Generator) -> Mesh:
    """A rod with round ends."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    return _lathe(np.cos(angle), np.sin(angle) + np.sign(angle) * rng.uniform(0.3, 2.5), 40)


def star(rng: np.random.Generator) -> Mesh:
    """A star-shaped or gear-shaped prism."""
    teeth, depth = int(rng.integers(4, 12)), rng.uniform(0.2, 0.5)
    height = rng.uniform(0.1, 1)
    return _lathe(
        np.array([0, 1, 1, 0]),
        np.array([-1, -1, 1, 1]) * height,
        8 * teeth,
        smooth=False,
        outline=lambda u: 1 - depth * (0.5 + 0.5 * np.cos(TAU * teeth * u)),
    )


def superellipsoid(rng: np.random.Generator) -> Mesh:
    """Between a star and a rounded box. Barr, "Superquadrics", 1981."""
    north, east = rng.uniform(0.25, 2.2, 2)
    sphere = _sphere(40, 56)
    x, y, z = sphere.vertices.T
    r = np.hypot(x, y)
    angle = np.arctan2(y, x)

    def power(value, exponent):
        return np.sign(value) * np.abs(value) ** exponent

    vertices = np.stack(
        [power(r, north) * power(np.cos(angle), east), power(r, north) * power(np.sin(angle), east), power(z, north)],
        -1,
    )
    return sphere._replace(vertices=vertices * rng.uniform(0.5, 1, 3))


def vase(rng: np.random.Generator) -> Mesh:
    """A profile with bellies and necks, rotated about an axis."""
    along = np.linspace(0, 1, 40)
    radius = 0.5 + sum(rng.uniform(-0.25, 0.25) * np.sin(np.pi * n * along + rng.uniform(0, TAU)) for n in (1, 2, 3))
    radius = np.maximum(radius, 0.1) * np.minimum(1, 12 * np.minimum(along, 1 - along))
    return _lathe(radius, along * rng.uniform(1, 2.5), 48)


def knot(rng: np.random.Generator) -> Mesh:
    """A tube along a torus knot."""
    p, q = ((2, 3), (3, 2), (2, 5), (3, 4))[rng.integers(4)]
    thick, ring = rng.uniform(0.1, 0.25), rng.uniform(0.35, 0.55)
    t = np.linspace(0, 1, 161)
    r = 1 + ring * np.cos(TAU * q * t)
    centre = np.stack([r * np.cos(TAU * p * t), r * np.sin(TAU * p * t), ring * np.sin(TAU * q * t)], -1)
    along = np.gradient(centre, axis=0)
    along[0] = along[-1] = centre[1] - centre[-2]
    outward = np.stack([np.cos(TAU * p * t), np.sin(TAU * p * t), 0 * t], -1)
    return _tube(centre, along, outward, np.full(len(t), thick))


def _tube(centre: np.ndarray, along: np.ndarray, outward: np.ndarray, radius: np.ndarray) -> Mesh:
    """A round tube with these radii (N,) along a curve.

    centre: (N, 3) points of the curve; along: (N, 3) its directions, of any length; outward: (N, 3) other directions,
    which orient the section.
    """
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, outward)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    row = np.arange(len(centre))[:, None]

    def function(u, v):
        tube = side[row] * np.cos(TAU * u)[..., None] + up[row] * np.sin(TAU * u)[..., None]
        return np.moveaxis(centre[row] + radius[row][..., None] * tube, -1, 0)

    return _surface(function, len(centre), 12)


def arch(rng: np.random.Generator) -> Mesh:
    """A bent, twisted bar: part of a ring with a flat section."""
    wide, flat, opening, twist = (
        rng.uniform(0.15, 0.5),
        rng.uniform(0.05, 0.15),
        rng.uniform(0.3, 0.8),
        rng.uniform(-1, 1),
    )

    def function(u, v):
        # The first and last rows have no width: the ends are closed.
        across = np.where((v <= 0) | (v >= 1), 0.0, 1.0)
        along = opening * np.clip((v * 41 - 1) / 39, 0, 1)
        x, y = wide * across * np.cos(TAU * u), flat * across * np.sin(TAU * u)
        turn = np.pi * twist * along
        x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        return (1 + x) * np.cos(TAU * along), (1 + x) * np.sin(TAU * along), y

    return _surface(function, 42, 20)


FAMILIES = {
    'train': (ellipsoid, box, cylinder, torus, blob, rock, sheet, helix, cup, jack, stand),
    'validation': (cone, capsule),
    'test': (star, superellipsoid, vase, knot, arch),
}
