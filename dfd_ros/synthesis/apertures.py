"""Non-circular apertures: polygons, cat's eyes, rings and soft edges, different in front of and behind the focus."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dfd_ros.synthesis.defocus import defocus, psf_radius
from dfd_ros.synthesis.draws import Random


@dataclass(frozen=True)
class Shape:
    """The point spread function on one side of the focus.

    Attributes:
        exponent: 2 (Gaussian) to 32 (sharp edge), see `dfd_ros.synthesis.defocus`.
        blades: number of diaphragm blades; 0 = round.
        roundness: 0 (straight blades) to 1 (round).
        angle: rotation of the polygon and cat's eye (rad).
        cats_eye: how far the rim of the lens cuts off the aperture, in radii: 0 in the image centre.
        ring: spherical aberration: more light at the rim (1) or in the middle (-1); 0 = `exponent` alone.
    """

    exponent: float = 8.0
    blades: int = 0
    roundness: float = 0.0
    angle: float = 0.0
    cats_eye: float = 0.0
    ring: float = 0.0

    def kernel(self, coc: float, exponent: torch.Tensor, size: int, supersampling: int = 5) -> torch.Tensor:
        """As `dfd_ros.synthesis.defocus.psf_kernel`."""
        fine = size * supersampling
        x = (torch.arange(fine, device=exponent.device) + 0.5) / supersampling - size / 2
        y, x = x[:, None], x[None]
        radius = psf_radius(torch.full_like(exponent, coc), exponent)[:, None, None]
        # The discs of the rim and the diaphragm are shifted apart, about a common centre.
        shift = 0.5 * self.cats_eye * radius
        dx, dy = shift * math.cos(self.angle), shift * math.sin(self.angle)
        r = torch.hypot(x - dx, y - dy)
        reach = r
        if self.blades:
            part = 2 * math.pi / self.blades
            turned = torch.remainder(torch.atan2(y - dy, x - dx) - self.angle, part) - part / 2
            # A regular polygon with the second moment of the disc
            side = torch.cos(turned) * math.sqrt(1 + math.tan(part / 2) ** 2 / 3)
            reach = r * (side + self.roundness * (1 - side))
        reach = torch.maximum(reach, torch.hypot(x + dx, y + dy)) if self.cats_eye else reach
        density = torch.exp(-((reach / radius) ** exponent[:, None, None]))
        density = density * (1 + self.ring * (2 * (r / radius) ** 2 - 1).clamp(-1, 1)).clamp_min(0)
        kernel = F.avg_pool2d(density[:, None], supersampling)[:, 0]
        return kernel / kernel.sum((1, 2), keepdim=True)


@dataclass(frozen=True)
class Aperture:
    """The point spread functions in front of the focus (`before`) and `behind` it."""

    before: Shape
    behind: Shape

    @staticmethod
    def random(rng: Random, exponent: tuple[float, float], sides_differ: bool) -> Aperture:
        """A random aperture.

        Args:
            exponent: minimum and maximum.
            sides_differ: spherical aberration turns one side into a ring and softens the other.
        """
        kind = rng.uniform(0, 1)
        blades = rng.integer(5, 10) if kind < 0.6 else 0
        roundness = rng.uniform(0, 0.8)
        angle = rng.uniform(0, 2 * math.pi)
        cats_eye = rng.uniform(0.1, 0.9) if kind > 0.4 else 0.0
        sharp, ring = rng.log_uniform(*exponent), rng.uniform(-0.4, 0.7)
        before = Shape(sharp, blades, roundness, angle, cats_eye, ring)
        if not sides_differ and (not blades or (blades % 2 == 0 and not cats_eye)):
            return Aperture(before, before)  # symmetric
        # Rays cross in the focus: behind it the image is upside down.
        other = (rng.log_uniform(*exponent), -ring) if sides_differ else (sharp, ring)
        behind = Shape(other[0], blades, roundness, angle + math.pi, cats_eye, other[1])
        return Aperture(before, behind) if rng.chance(0.5) else Aperture(behind, before)

    def spread(self, premultiplied: torch.Tensor, coc: torch.Tensor, softness: torch.Tensor) -> torch.Tensor:
        """As `dfd_ros.synthesis.defocus.defocus`.

        Args:
            premultiplied: (N, 4, H, W).
            coc: (N, 1, H, W) px, positive for points nearer than the focus.
            softness: CoC (px) of points in focus.
        """
        is_before = coc > 0
        size = torch.hypot(coc, softness)
        if self.before == self.behind:
            return defocus(
                premultiplied,
                size,
                torch.full((len(coc),), self.before.exponent, device=coc.device),
                self.before.kernel,
            )
        result = torch.zeros_like(premultiplied)
        for shape, here in ((self.before, is_before), (self.behind, ~is_before)):
            if not here.any():
                continue
            exponent = torch.full((len(coc),), shape.exponent, device=coc.device)
            part = premultiplied if here.all() else premultiplied * here
            seen = defocus(part, size, exponent, shape.kernel)
            result = result + seen
        return result
