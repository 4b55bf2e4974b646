"""Generated rooms: walls, tables and shelves with printed boxes, books, posters and models.

Each seed gives a different room: a `World` of visuals, like those read from SDF. Does not need Blender.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfd_ros.core.geometry import matrix_from_rpy
from dfd_ros.synthesis.worlds.sdf import Visual, World

THICKNESS = 0.1  # m, of walls


def make_room(seed: int, models: Sequence[Path], pictures: Sequence[Path]) -> World:
    """A furnished room.

    Args:
        models: mesh files of any size, y up; may be empty.
        pictures: image files of photographs, prints and patterns; may be empty.
    """
    return _Room(random.Random(f'room {seed}'), models, pictures).world


class _Room:
    def __init__(self, rng: random.Random, models: Sequence[Path], pictures: Sequence[Path]):
        self.rng, self.models, self.pictures = rng, models, pictures
        self.world = World()
        self.length, self.width, self.height = rng.uniform(2.2, 6), rng.uniform(2.2, 5), rng.uniform(2.3, 3)
        self._taken: list[tuple[float, float, float]] = []  # x, y, radius of things on the floor
        self._walls()
        for _ in range(rng.randint(2, 5)):
            self._table()
        for _ in range(rng.randint(0, 2)):
            self._shelf()
        for _ in range(rng.randint(2, 8)):
            self._furniture()
        for _ in range(rng.randint(2, 10)):
            self._poster()

    def _surface(self, picture: float) -> dict:
        """Arguments of a `Visual`: an image with probability `picture`, otherwise a colour."""
        rng = self.rng
        if self.pictures and rng.random() < picture:
            return {'texture': rng.choice(self.pictures)}
        level = math.exp(rng.uniform(math.log(0.15), math.log(0.97)))
        tint = rng.uniform(0, 0.12 if rng.random() < 0.6 else 0.6)
        return {'colour': tuple(min(1.0, max(0.0, level * (1 + tint * rng.uniform(-1, 1)))) for _ in range(3))}

    def _box(self, size, x, y, z, yaw=0.0, picture=0.3, name='box') -> None:
        """Add a box centred at x, y, z (m)."""
        pose = _pose(x, y, z, yaw)
        self.world.visuals.append(Visual(name, pose, shape='box', size=tuple(size), **self._surface(picture)))

    def _walls(self) -> None:
        a, b, h, t = self.length, self.width, self.height, THICKNESS
        self._box((a, b, t), 0, 0, -t / 2, picture=0.5, name='floor')
        self._box((a, b, t), 0, 0, h + t / 2, picture=0.1, name='ceiling')
        for x, y, size in (
            (a / 2 + t / 2, 0, (t, b, h)),
            (-a / 2 - t / 2, 0, (t, b, h)),
            (0, b / 2 + t / 2, (a, t, h)),
            (0, -b / 2 - t / 2, (a, t, h)),
        ):
            self._box(size, x, y, h / 2, picture=0.25, name='wall')

    def _place(self, radius: float) -> tuple[float, float] | None:
        """Reserve floor space for something of this radius; None if there is no room left."""
        for _ in range(40):
            x = self.rng.uniform(-1, 1) * max(self.length / 2 - radius, 0.05)
            y = self.rng.uniform(-1, 1) * max(self.width / 2 - radius, 0.05)
            if all(math.hypot(x - ox, y - oy) > radius + other for ox, oy, other in self._taken):
                self._taken.append((x, y, radius))
                return x, y
        return None

    def _table(self) -> None:
        rng = self.rng
        a, b, h, t = rng.uniform(0.5, 1.7), rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.95), rng.uniform(0.015, 0.06)
        place = self._place(0.5 * math.hypot(a, b))
        if place is None:
            return
        x, y = place
        yaw = rng.choice((0, math.pi / 2)) + rng.gauss(0, 0.1)
        self._box((a, b, t), x, y, h - t / 2, yaw, picture=0.35, name='table')
        for i in (-1, 1):
            for j in (-1, 1):
                lx, ly = i * (a / 2 - 0.04), j * (b / 2 - 0.04)
                self._box(
                    (0.05, 0.05, h - t),
                    x + lx * math.cos(yaw) - ly * math.sin(yaw),
                    y + lx * math.sin(yaw) + ly * math.cos(yaw),
                    (h - t) / 2,
                    yaw,
                    picture=0,
                    name='leg',
                )
        self._things(x, y, h, yaw, a, b, rng.randint(3, 16), 0.45)

    def _shelf(self) -> None:
        rng = self.rng
        a, b, boards = rng.uniform(0.5, 1.6), rng.uniform(0.2, 0.4), rng.randint(2, 5)
        gap = rng.uniform(0.22, 0.5)
        side = rng.choice((-1, 1))
        x, y = rng.uniform(-1, 1) * max(self.length / 2 - a / 2, 0), side * (self.width / 2 - b / 2)
        for board in range(boards):
            z = 0.1 + board * gap
            self._box((a, b, 0.02), x, y, z - 0.01, picture=0.3, name='board')
            self._things(x, y, z, 0.0, a, b, rng.randint(2, 10), gap - 0.05)
        for i in (-1, 1):
            self._box((0.02, b, boards * gap), x + i * a / 2, y, boards * gap / 2, picture=0.2, name='side')

    def _things(self, x, y, z, yaw, a, b, count, tallest) -> None:
        """Add things on a rectangle of a by b (m) at height z."""
        rng = self.rng
        taken: list[tuple[float, float, float]] = []
        for number in range(count):
            radius = math.exp(rng.uniform(math.log(0.025), math.log(0.22)))
            u, v = (rng.uniform(-1, 1) * max(side / 2 - radius, 0) for side in (a, b))
            flat = rng.random() < 0.25  # paper and books may overlap
            if not flat and any(math.hypot(u - p, v - q) < radius + r for p, q, r in taken):
                continue
            taken += [] if flat else [(u, v, radius)]
            px, py = x + u * math.cos(yaw) - v * math.sin(yaw), y + u * math.sin(yaw) + v * math.cos(yaw)
            self._thing(px, py, z + 0.0005 * number, radius, tallest, flat)

    def _thing(self, x, y, z, radius, tallest, flat) -> None:
        rng = self.rng
        yaw = rng.uniform(0, 2 * math.pi)
        if flat:
            height = rng.choice((0.0008, 0.0008, rng.uniform(0.008, 0.04)))
            self._box((radius * 1.5, radius * rng.uniform(0.8, 1.2), height), x, y, z + height / 2, yaw, picture=0.85)
        elif self.models and rng.random() < 0.45:
            self._model(x, y, z, yaw, min(2 * radius, tallest))
        elif rng.random() < 0.25:
            height = min(radius * rng.uniform(0.8, 4), tallest)
            pose = _pose(x, y, z + height / 2, yaw)
            self.world.visuals.append(
                Visual('can', pose, shape='cylinder', size=(radius, radius, height), **self._surface(0.6))
            )
        else:
            height = min(radius * math.exp(rng.uniform(-1.2, 1)), tallest)
            self._box(
                (radius * rng.uniform(0.3, 1.6), radius * rng.uniform(0.3, 1.4), height),
                x,
                y,
                z + height / 2,
                yaw,
                picture=0.75,
            )

    def _model(self, x, y, z, yaw, size) -> None:
        self.world.visuals.append(
            Visual('model', _pose(x, y, z, yaw), self.rng.choice(self.models), fit=size, y_up=True)
        )

    def _furniture(self) -> None:
        rng = self.rng
        size = rng.uniform(0.35, 1.5)
        place = self._place(0.45 * size)
        if place is None:
            return
        if self.models and rng.random() < 0.75:
            self._model(*place, 0, rng.uniform(0, 2 * math.pi), size)
        else:
            sides = [size * rng.uniform(0.3, 0.7) for _ in range(2)]
            height = rng.uniform(0.3, 1.8)
            self._box((*sides, height), *place, height / 2, rng.uniform(0, 2 * math.pi), picture=0.4)

    def _poster(self) -> None:
        """Add a flat picture to a wall, with hardly any depth edge."""
        rng = self.rng
        w, h = rng.uniform(0.15, 1.2), rng.uniform(0.15, 0.9)
        side, thin = rng.choice((-1, 1)), rng.choice((0.002, 0.002, 0.03))
        z = rng.uniform(0.4 + h / 2, self.height - h / 2)
        if rng.random() < 0.5:
            self._box(
                (w, thin, h),
                rng.uniform(-1, 1) * max(self.length / 2 - w / 2, 0),
                side * self.width / 2,
                z,
                picture=0.95,
                name='poster',
            )
        else:
            self._box(
                (thin, w, h),
                side * self.length / 2,
                rng.uniform(-1, 1) * max(self.width / 2 - w / 2, 0),
                z,
                picture=0.95,
                name='poster',
            )


def _pose(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_rpy(0, 0, yaw)
    pose[:3, 3] = x, y, z
    return pose
