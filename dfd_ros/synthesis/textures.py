"""Random textures: linear-light colour images, from sharp to plain.

Training and tests draw from different families, so test scenes show textures that training never saw.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from dfd_ros.synthesis.draws import Random


def _grid(rng: Random, size: int, period: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotated, shifted pixel coordinates (size, size), in units of `period` if given."""
    angle = rng.uniform(0, 2 * math.pi)
    x = torch.arange(size, device=rng.device, dtype=torch.float32) - size / 2
    y, x = x[:, None], x[None]
    u = x * math.cos(angle) + y * math.sin(angle) + rng.uniform(0, 100)
    v = y * math.cos(angle) - x * math.sin(angle) + rng.uniform(0, 100)
    return (u, v) if period is None else (u / period, v / period)


def _unit(x: torch.Tensor) -> torch.Tensor:
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-6)


def spectral_noise(rng: Random, size: int, slope: float, channels: int = 1) -> torch.Tensor:
    """Gaussian noise (channels, size, size) with amplitude spectrum 1 / frequency^slope, zero mean, unit variance."""
    frequency = torch.fft.fftfreq(size, device=rng.device)
    half = torch.fft.rfftfreq(size, device=rng.device)
    radius = torch.sqrt(frequency[:, None] ** 2 + half[None] ** 2).clamp_min(1 / size)
    spectrum = torch.fft.rfft2(rng.normal(channels, size, size)) * radius**-slope
    noise = torch.fft.irfft2(spectrum, s=(size, size))
    return (noise - noise.mean((-2, -1), keepdim=True)) / noise.std((-2, -1), keepdim=True)


def _soft_step(x: torch.Tensor, width: float) -> torch.Tensor:
    return (x / width + 0.5).clamp(0, 1)


# Training families: each returns a pattern (size, size) in 0..1.


def _noise(rng, size):
    return _unit(spectral_noise(rng, size, rng.uniform(0, 2.2))[0].clamp(-2.5, 2.5))


def _patches(rng, size):
    """Flat patches with sharp edges: smooth noise cut at random heights."""
    noise = spectral_noise(rng, size, rng.uniform(1.2, 2.6))[0]
    steps = rng.integer(2, 7)
    heights = torch.linspace(-1.3, 1.3, steps + 1, device=noise.device)[1:-1]
    shades = rng.uniform(0, 1, steps)
    return shades[torch.bucketize(noise, heights.contiguous())]


def _checkers(rng, size):
    u, v = _grid(rng, size, rng.log_uniform(2.5, 40))
    w = rng.uniform(0.05, 0.6)
    return _soft_step(torch.sin(math.pi * u) * torch.sin(math.pi * v), w)


def _stripes(rng, size):
    u, _v = _grid(rng, size, rng.log_uniform(2.5, 40))
    bend = spectral_noise(rng, size, 2.0)[0] * rng.uniform(0, 0.6) if rng.chance(0.5) else 0
    return _soft_step(torch.sin(2 * math.pi * (u + bend)) + rng.uniform(-0.5, 0.5), rng.log_uniform(0.1, 2.0))


def _dots(rng, size):
    u, v = _grid(rng, size, rng.log_uniform(4, 30))
    warp = spectral_noise(rng, size, 1.8, 2) * rng.uniform(0, 0.3)
    return _soft_step(
        torch.cos(2 * math.pi * (u + warp[0])) + torch.cos(2 * math.pi * (v + warp[1])) - rng.uniform(0, 1.4),
        rng.uniform(0.1, 0.6),
    )


def _glyphs(rng, size):
    """Lines of small random blocks, like print seen from afar."""
    cell = rng.integer(2, 7)
    n = size // cell + 1
    bits = (rng.uniform(0, 1, (n, n)) > rng.uniform(0.4, 0.7)).float()
    bits[:: rng.integer(3, 7)] = 0
    pattern = bits.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[:size, :size]
    return pattern.T if rng.chance(0.5) else pattern


def _speckle(rng, size):
    """Sparse points and short scratches on a plain ground."""
    noise = spectral_noise(rng, size, rng.uniform(0, 0.8))[0]
    return _soft_step(noise - rng.uniform(1.2, 2.4), rng.uniform(0.2, 1))


# Test families.


def _cells(rng, size):
    """Voronoi cells."""
    seeds = rng.uniform(0, size, (rng.integer(25, 140), 2))
    shades = rng.uniform(0, 1, len(seeds))
    x = torch.arange(size, device=rng.device, dtype=torch.float32)
    points = torch.stack(torch.meshgrid(x, x, indexing='ij'), -1).reshape(-1, 2)
    return shades[torch.cdist(points, seeds).argmin(1)].reshape(size, size)


def _bricks(rng, size):
    u, v = _grid(rng, size, rng.log_uniform(8, 30))
    row = torch.floor(v * 2)
    u = u + 0.5 * (row % 2)
    joint = rng.uniform(0.05, 0.15)
    brick = _soft_step((u % 1 - joint).minimum((v * 2) % 1 - 2 * joint), 0.08)
    shade = 0.6 + 0.4 * torch.sin(12.9898 * torch.floor(u) + 78.233 * row)
    return _unit(brick * shade + 0.15 * spectral_noise(rng, size, rng.uniform(0.3, 1))[0])


def _ridges(rng, size):
    """Ridged multifractal: veins, as in marble and leaves."""
    noise = sum(spectral_noise(rng, size, 2.0)[0].abs() * w for w in (1, 0.5))
    return _unit(torch.exp(-rng.uniform(1, 4) * noise) + 0.1 * spectral_noise(rng, size, 1.0)[0])


def _rings(rng, size):
    u, v = _grid(rng, size)
    r = torch.hypot(u - u.mean(), v - v.mean()) / rng.log_uniform(3, 24)
    return _soft_step(torch.sin(2 * math.pi * r + spectral_noise(rng, size, 2.0)[0] * 0.5), rng.uniform(0.2, 1.5))


def _weave(rng, size):
    u, v = _grid(rng, size, rng.log_uniform(3, 16))
    over = ((torch.floor(u) + torch.floor(v)) % 2).bool()
    thread = torch.where(over, torch.sin(math.pi * (u % 1)), torch.sin(math.pi * (v % 1)))
    return _unit(thread + 0.2 * spectral_noise(rng, size, 0.5)[0])


FAMILIES = {
    'train': (_noise, _noise, _patches, _patches, _checkers, _stripes, _dots, _glyphs, _speckle),
    'test': (_cells, _bricks, _ridges, _rings, _weave),
}


def texture(rng: Random, size: int, split: str, untextured: float) -> torch.Tensor:
    """A linear-light colour texture (3, size, size), plain with probability `untextured`.

    Random patterns mix two or three colours under smoothly varying light.
    """
    image = rng.log_uniform(0.03, 0.9) * (0.4 + 0.6 * rng.uniform(0, 1, 3))[:, None, None]
    image = image.expand(3, size, size)
    if not rng.chance(untextured):
        for _ in range(rng.integer(1, 3)):
            pattern = rng.choice(FAMILIES[split])(rng, size)
            other = rng.log_uniform(0.02, 0.9) * (0.3 + 0.7 * rng.uniform(0, 1, 3))[:, None, None]
            image = image + (other - image) * (pattern * rng.log_uniform(0.15, 1))
        # Hardly any real surface is perfectly even between the lines of its pattern.
        grain = spectral_noise(rng, size, rng.uniform(0.3, 1.3)) * rng.log_uniform(0.02, 0.25)
        image = image * torch.exp(grain)
    light = F.interpolate(rng.uniform(0.6, 1.3, (1, 1, 3, 3)), (size, size), mode='bicubic', align_corners=True)
    return (image * light[0]).clamp(0, 1.5)


def highlights(rng: Random, size: int) -> torch.Tensor:
    """Specular highlights (1, size, size): a few small spots, far brighter than white."""
    points = torch.zeros(1, 1, size, size, device=rng.device)
    count = rng.integer(1, 12)
    at = rng.uniform(0, size, (2, count)).long().clamp_max(size - 1)
    points[0, 0, at[0], at[1]] = rng.uniform(5, 60, count)
    return F.avg_pool2d(points, 3, 1, 1)[0] * rng.uniform(0.5, 2)
