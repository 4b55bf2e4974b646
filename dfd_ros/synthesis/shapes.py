"""Random outlines of objects, as coverage masks. Training and tests draw from different families."""

from __future__ import annotations

import math

import torch

from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.textures import spectral_noise

# Each family takes coordinates (px, in the object's frame), the object's radius (px) and random draws, and returns a
# signed distance (px, positive inside) that is exact only near the outline.


def _superellipse(x, y, radius, rng):
    power, aspect = rng.log_uniform(1.5, 8), rng.log_uniform(0.4, 1)
    return (1 - ((x / radius).abs() ** power + (y / (radius * aspect)).abs() ** power) ** (1 / power)) * radius * aspect


def _rectangle(x, y, radius, rng):
    return torch.minimum(radius - x.abs(), radius * rng.log_uniform(0.25, 1) - y.abs())


def _polygon(x, y, radius, rng):
    n = rng.integer(3, 8)
    angles = [2 * math.pi * i / n for i in range(n)]
    sides = [radius * rng.uniform(0.5, 0.9) - x * math.cos(a) - y * math.sin(a) for a in angles]
    return torch.stack(sides).amin(0)


def _ring(x, y, radius, rng):
    width = radius * rng.log_uniform(0.06, 0.35)
    return width / 2 - (torch.hypot(x, y * rng.uniform(1, 1.8)) - radius + width / 2).abs()


def _strut(x, y, radius, rng):
    """A thin bar, a few pixels wide and up to several radii long."""
    return torch.minimum(rng.uniform(1.5, 5) * radius - x.abs(), rng.log_uniform(0.7, 4) - y.abs())


def _blob(x, y, radius, rng):
    noise = spectral_noise(rng, x.shape[-1], 2.2)[0]
    return radius * (1 + 0.35 * noise) - torch.hypot(x, y)


def _fence(x, y, radius, rng):
    """Parallel bars, or a grid of them."""
    period = rng.uniform(10, 30)
    width = rng.uniform(1.5, 0.35 * period)
    bars = width / 2 - ((x % period) - period / 2).abs()
    if rng.chance(0.4):
        bars = torch.maximum(bars, width / 2 - ((y % period) - period / 2).abs())
    return torch.minimum(bars, torch.minimum(1.6 * radius - x.abs(), 1.2 * radius - y.abs()))


def _star(x, y, radius, rng):
    """Stars and gears: the radius varies periodically with the angle."""
    wave = torch.cos(rng.integer(3, 9) * torch.atan2(y, x))
    wave = torch.tanh(3 * wave) if rng.chance(0.5) else wave
    return radius * (0.8 + rng.uniform(0.1, 0.3) * wave) - torch.hypot(x, y)


def _crescent(x, y, radius, rng):
    hole = torch.hypot(x - rng.uniform(0.3, 0.6) * radius, y) - 0.8 * radius
    return torch.minimum(radius - torch.hypot(x, y), hole)


def _leaf(x, y, radius, rng):
    offset = rng.uniform(0.4, 0.8) * radius
    reach = math.hypot(radius, offset)
    return torch.minimum(reach - torch.hypot(x, y - offset), reach - torch.hypot(x, y + offset))


def _branches(x, y, radius, rng):
    """Thin twigs from one point."""
    result = None
    for _ in range(rng.integer(3, 6)):
        a, width = rng.uniform(0, 2 * math.pi), rng.log_uniform(0.8, 3)
        u, v = x * math.cos(a) + y * math.sin(a), y * math.cos(a) - x * math.sin(a)
        twig = torch.minimum(torch.minimum(width - (v + 0.002 * u * u).abs(), u), 2.5 * radius - u)
        result = twig if result is None else torch.maximum(result, twig)
    return result


FAMILIES = {
    'train': (_superellipse, _superellipse, _rectangle, _polygon, _ring, _strut, _strut, _blob, _blob, _fence),
    'test': (_star, _crescent, _leaf, _branches),
}


def coverage(rng: Random, x: torch.Tensor, y: torch.Tensor, radius: float, split: str) -> torch.Tensor:
    """Anti-aliased coverage (size, size) in 0..1 of a random outline, for coordinates in the object's frame (px)."""
    return (rng.choice(FAMILIES[split])(x, y, radius, rng) + 0.5).clamp(0, 1)
