"""Materials of synthetic scenes: prints, photographs, plain and nearly plain paint, wood, cloth, tiles, patterns."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.constraints import Count, Pair, Share, Size
from dfd_ros.synthesis import textures
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.pictures import Library
from dfd_ros.synthesis.textures import _grid, _soft_step, _unit, spectral_noise

SIZE = 384  # px, of materials that are not pictures


@dataclass(frozen=True)
class SurfaceSettings:
    """Scenes with realistic surfaces, in addition to those of `SceneSettings`. Probabilities are 0..1.

    Attributes:
        share: probability that a stack shows such a scene; with 0 no other setting has an effect.
        photographs: folder with images for surfaces, searched recursively; '' = illustrations instead.
        prints, photos, plain, materials: probabilities that a surface shows print, a photograph, (nearly) plain paint,
            or wood, cloth or tiles; other surfaces show procedural patterns. At most 1 in total.
        grain: probability that a surface has fine noise all over.
        large_planes: probability that one or two large planes dominate a scene: a table top, the face of a box, a wall.
        boxes: probability that an object is a box with several visible faces.
        lying: maximum number of flat things on a plane (posters, sheets, books), which have no depth edge.
        objects: minimum and maximum number of objects; half as many where large planes dominate.
        bare: probability that a scene is nothing but large planes in plain paint, with plain things lying on them.
        radius: minimum and maximum size of an object, as a share of the image's shorter side.
    """

    share: Share = 0.0
    photographs: str = ''
    prints: Share = 0.3
    photos: Share = 0.25
    plain: Share = 0.2
    materials: Share = 0.13
    grain: Share = 0.4
    large_planes: Share = 0.5
    boxes: Share = 0.4
    lying: Count = 4
    objects: Pair[Count] = (1, 8)
    radius: Pair[Size] = (0.06, 0.8)
    bare: Share = 0.0

    def bared(self) -> SurfaceSettings:
        """The settings of scenes that are bare."""
        planes = replace(self, large_planes=1.0, lying=2, objects=(0, 0))
        return replace(planes, prints=0.0, photos=0.0, plain=1.0, materials=0.0)


@functools.lru_cache(maxsize=1)
def _linear_light() -> np.ndarray:
    return srgb_decode(torch.arange(256) / 255).numpy()


def linear(image: np.ndarray, device) -> torch.Tensor:
    """(3, H, W) linear light of an (H, W, 3) uint8 sRGB image."""
    return torch.from_numpy(_linear_light()[image.transpose(2, 0, 1)]).to(device)


def _colour(rng: Random) -> torch.Tensor:
    """A colour of paint, mostly pale or grey."""
    level = rng.log_uniform(0.04, 0.9)
    tint = 1 - rng.uniform(0, 0.15 if rng.chance(0.6) else 0.8) * rng.uniform(0, 1, 3)
    return (level * tint)[:, None, None]


def _mixed(rng: Random, pattern: torch.Tensor, contrast: float = 1.0) -> torch.Tensor:
    one, other = _colour(rng), _colour(rng)
    return one + (other - one) * (pattern * contrast)


def paint(rng: Random, size: int = 64) -> torch.Tensor:
    """Plain or nearly plain paint: one colour, a slow gradient or faint clouds, without fine grain."""
    image = _colour(rng).expand(3, size, size)
    kind = rng.uniform(0, 1)
    if kind < 0.4:
        return image
    if kind < 0.7:
        ramp = torch.linspace(0, 1, size, device=rng.device)
        ramp = ramp[:, None] * rng.uniform(-1, 1) + ramp * rng.uniform(-1, 1)
        return image * torch.exp(rng.uniform(0, 0.8) * ramp)
    return image * torch.exp(rng.log_uniform(0.01, 0.12) * spectral_noise(rng, size, 2.2)[0])


def _stretched(rng: Random, size: int, stretch: int, slope: float) -> torch.Tensor:
    """Noise whose features are `stretch` times as long as wide."""
    noise = spectral_noise(rng, size, slope)[:, : max(size // stretch, 4)]
    return F.interpolate(noise[None], (size, size), mode='bicubic', align_corners=False)[0, 0]


def wood(rng, size):
    """Fibres and growth rings along one direction, as boards with dark joints or one piece."""
    fibres = _stretched(rng, size, rng.integer(8, 24), rng.uniform(0.3, 1.0))
    x = torch.arange(size, device=rng.device) / size
    rings = torch.sin(
        2 * math.pi * rng.uniform(3, 25) * (x[None] + rng.uniform(0.02, 0.12) * _stretched(rng, size, 6, 2.2))
    )
    image = (
        rng.log_uniform(0.05, 0.5)
        * torch.tensor([1.0, rng.uniform(0.55, 0.8), rng.uniform(0.25, 0.6)], device=rng.device)[:, None, None]
    )
    image = image * torch.exp(rng.uniform(0.03, 0.25) * fibres + rng.uniform(0.0, 0.25) * rings)
    if rng.chance(0.5):
        board = rng.uniform(0.08, 0.4)
        number = torch.floor(x / board)
        shade = 1 + 0.15 * torch.sin(number * 12.9898 + rng.uniform(0, 6))
        joint = _soft_step((x / board - number).minimum(1 - x / board + number) * board * size - 1, 1)
        image = image * (shade * (0.3 + 0.7 * joint))[None, None]
    return image


def _cloth(rng, size):
    """A weave, with or without a pattern of stripes, in folds."""
    u, v = _grid(rng, size, rng.log_uniform(2.5, 8))
    weave = (torch.sin(math.pi * u) * torch.sin(math.pi * v)).abs()
    image = (
        _mixed(rng, torch.sin(u * rng.uniform(0.05, 0.3)) > rng.uniform(-0.5, 0.5)) if rng.chance(0.4) else _colour(rng)
    )
    folds = _stretched(rng, size, rng.integer(1, 5), 2.4)
    return image * (1 - rng.uniform(0.05, 0.5) * weave) * torch.exp(rng.uniform(0.05, 0.35) * folds)


def _tiles(rng, size):
    """Plain tiles with joints, in slightly different shades."""
    u, v = _grid(rng, size, rng.log_uniform(20, 140))
    v = v * rng.choice((1.0, 1.0, 2.0))
    number = torch.floor(u) * 3.7 + torch.floor(v) * 17.3
    shade = 1 + rng.uniform(0, 0.12) * torch.sin(number * 12.9898)
    joint, width = torch.minimum((u % 1).minimum(1 - u % 1), (v % 1).minimum(1 - v % 1)), rng.uniform(0.01, 0.05)
    inside = _soft_step(joint - width, 0.02)
    tile = _mixed(rng, (torch.floor(u) + torch.floor(v)) % 2) if rng.chance(0.3) else _colour(rng)
    return _colour(rng) * (1 - inside) + tile * shade * inside


def _marble(rng, size):
    return _mixed(rng, textures._ridges(rng, size), rng.uniform(0.2, 0.8))


def _bricks(rng, size):
    return _mixed(rng, textures._bricks(rng, size))


def _carpet(rng, size):
    loops = spectral_noise(rng, size, rng.uniform(0, 0.5))[0]
    return _mixed(rng, _unit(textures._cells(rng, size)), rng.uniform(0, 0.5)) * torch.exp(
        rng.uniform(0.1, 0.4) * loops
    )


MATERIALS = {'train': (wood, _cloth, _tiles), 'test': (_marble, _bricks, _carpet)}


def _pattern(rng: Random, split: str) -> torch.Tensor:
    return _mixed(rng, rng.choice(textures.FAMILIES[split])(rng, SIZE), rng.log_uniform(0.15, 1))


def material(rng: Random, settings: SurfaceSettings, pictures: Library, seed: int, split: str) -> torch.Tensor:
    """What a surface shows: linear light (3, H, W) of any size."""
    kind = rng.uniform(0, 1)
    choice = rng.uniform(0, 1)
    if kind < settings.prints:
        return linear(pictures.print(seed, choice), rng.device)
    kind -= settings.prints
    if kind < settings.photos:
        from dfd_ros.synthesis.print_sheet import crop, illustration

        own = np.random.default_rng(int(choice * 2**32))
        height, width = (int(n) for n in own.integers(260, 560, 2))
        image = pictures.photograph(seed, choice)
        image = illustration(own, height, width) if image is None else crop(own, image, height, width)
        return linear(image, rng.device)
    kind -= settings.photos
    if kind < settings.plain:
        return paint(rng)
    kind -= settings.plain
    if kind < settings.materials:
        image = rng.choice(MATERIALS[split])(rng, SIZE)
        return image.transpose(1, 2).contiguous() if rng.chance(0.5) else image
    return _pattern(rng, split)


def shading(rng: Random, height: int, width: int) -> torch.Tensor:
    """Smoothly varying light (1, height, width): brightness changes that do not mark depth."""
    n = rng.integer(2, 5)
    field = rng.uniform(1 - rng.uniform(0.05, 0.6), 1.15, (1, 1, n, n))
    # In two steps: bicubic interpolation is slow on a CPU, and there is no fine detail.
    field = F.interpolate(field, (24, 24), mode='bicubic', align_corners=True)
    return F.interpolate(field, (height, width), mode='bilinear', align_corners=True)[0].clamp_min(0.05)


def grain(rng: Random, size: int) -> torch.Tensor:
    """Fine noise (1, size, size) to multiply a surface with."""
    return _fine_noise(rng, size, 0.02, 0.25)


def faint_grain(rng: Random, size: int) -> torch.Tensor:
    """As `grain`, but hardly visible: that of paint, paper and plaster."""
    return _fine_noise(rng, size, 0.006, 0.06)


def _fine_noise(rng: Random, size: int, weakest: float, strongest: float) -> torch.Tensor:
    return torch.exp(spectral_noise(rng, size, rng.uniform(0.3, 1.3)) * rng.log_uniform(weakest, strongest))
