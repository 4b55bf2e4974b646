"""Camera processing: colour, tone, denoising, sharpening, compression and rolling shutter; and focus positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field

from dfd_ros.core.constraints import Pair, Share
from dfd_ros.synthesis.apertures import Aperture
from dfd_ros.synthesis.compression import jpeg_420, video
from dfd_ros.synthesis.draws import Random


@dataclass(frozen=True)
class CameraSettings:
    """A realistic camera. Probabilities are 0..1 per stack of such a camera; pairs are minimum and maximum.

    Attributes:
        share: probability that a stack is taken by such a camera; with 0 no other setting has an effect, and
            `StackSettings` determines sharpening and compression.
        denoising: probability of edge-preserving smoothing.
        sharpening: probability of an unsharp mask of 1 to 3 px.
        jpeg, quality: probability of JPEG with half the colour resolution, and its quality.
        video: probability of video compression, which codes the difference of each frame to the previous one.
        tone: probability of a random tone curve and colour saturation.
        wander: probability that white balance and exposure drift over the frames.
        vignetting: probability of darker corners.
        lateral_colour: probability that the red and blue images are scaled.
        aperture: probability of an aperture with blades, or cut off by the rim.
        sides_differ: probability that such an aperture looks different in front of and behind the focus.
        rolling_shutter: probability that rows are exposed in turn while the camera shakes.
        focus_tied: probability that focus distances follow the scene's depth; they then miss the ends of the range.
        focus_log: probability that focus steps are between even in vergence and even in the logarithm of distance.
    """

    share: Share = 0.0
    denoising: Share = 0.5
    sharpening: Share = 0.5
    jpeg: Share = 0.5
    quality: Pair[Annotated[float, Field(ge=1, le=100)]] = (30.0, 95.0)
    video: Share = 0.25
    tone: Share = 0.7
    wander: Share = 0.5
    vignetting: Share = 0.5
    lateral_colour: Share = 0.3
    aperture: Share = 0.5
    sides_differ: Share = 0.5
    rolling_shutter: Share = 0.3
    focus_tied: Share = 0.3
    focus_log: Share = 0.5


def respaced(v: torch.Tensor, offset: float, share: float) -> torch.Tensor:
    """Move focus positions (T,), even in vergence, by a share towards even in the logarithm of distance.

    Args:
        offset: inverse distance of the far end of the range, in units of the range; 0 = infinity, which counts as
            20 times the near distance.
    """
    offset = max(offset, 0.05)
    return (1 - share) * v + share * (offset * ((1 + offset) / offset) ** v - offset)


def tied(v: torch.Tensor, vergence: torch.Tensor, share: float) -> torch.Tensor:
    """Move focus positions (T,) by a share towards the quantiles of a scene's vergence."""
    quantiles = torch.quantile(vergence.flatten()[::29].clamp(0, 1), 0.02 + 0.96 * v.clamp(0, 1))
    return (1 - share) * v + share * quantiles


def _box(x: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of the (2 radius + 1)^2 pixels around each, without those outside the image."""
    side = 2 * radius + 1
    x = F.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)


def denoise(image: torch.Tensor, radius: int, strength: float) -> torch.Tensor:
    """Smooth images (T, 3, H, W) by the guided filter (He et al., 2010), guided by their luminance: it removes noise
    weaker than `strength` and keeps edges."""
    guide = image.mean(1, keepdim=True)
    every = _box(torch.cat([image, guide, guide * guide, image * guide], 1), radius)
    means, middle, square, product = every[:, :3], every[:, 3:4], every[:, 4:5], every[:, 5:]
    slope = (product - means * middle) / (square - middle**2 + strength**2)
    slope, start = _box(torch.cat([slope, means - slope * middle], 1), radius).split(3, 1)
    return (slope * guide + start).clamp(0, 1)


def sharpen(image: torch.Tensor, radius: int, amount: float) -> torch.Tensor:
    """Apply an unsharp mask of this radius (px)."""
    return (image + amount * (image - _box(image, radius))).clamp(0, 1)


def tone(image: torch.Tensor, gamma: float, contrast: float, saturation: float, black: float) -> torch.Tensor:
    """Apply a tone curve (gamma, S curve, lifted black) and a saturation to encoded images (T, 3, H, W)."""
    image = image.clamp_min(1e-5) ** gamma
    image = image + contrast * (image * image * (3 - 2 * image) - image)
    grey = image.mean(1, keepdim=True)
    return (black + (1 - black) * (grey + saturation * (image - grey))).clamp(0, 1)


class Look:
    """The look of one camera. Its methods draw from `rng`, so the order of calls matters."""

    def __init__(self, rng: Random, settings: CameraSettings, frames: int, height: int, width: int):
        self.rng, self.settings = rng, settings
        self.frames, self.height, self.width = frames, height, width

    def focus(self, v: torch.Tensor, offset: float, vergence: torch.Tensor) -> torch.Tensor:
        """Turn even focus positions `v` (T,) into those of this camera, for a scene with this vergence (S, S)."""
        if self.rng.chance(self.settings.focus_log):
            v = respaced(v, offset, self.rng.uniform(0.2, 1))
        if self.rng.chance(self.settings.focus_tied):
            v = tied(v, vergence, self.rng.uniform(0.3, 0.9))
        return v

    def aperture(self, exponent: tuple[float, float]) -> Aperture | None:
        """A random aperture; None for a round one."""
        rng = self.rng
        if not rng.chance(self.settings.aperture):
            return None
        return Aperture.random(rng, exponent, rng.chance(self.settings.sides_differ))

    def roll(self, shake: float, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Apply a rolling shutter to images (T, C, H, W) while the camera turns by up to `shake` px per frame: bicubic
        for the first, nearest pixel for the others."""
        if not (shake and self.rng.chance(self.settings.rolling_shutter)):
            return images
        slope = self.rng.normal(self.frames) * 0.5 * shake
        y = torch.linspace(-1, 1, self.height + 1, device=slope.device)
        y = (y[1:] + y[:-1]) / 2
        x = torch.linspace(-1, 1, self.width + 1, device=slope.device)
        x = (x[1:] + x[:-1]) / 2
        shift = slope[:, None] * y / 2 * (2 / self.width)
        grid = torch.stack([x + shift[..., None], y[:, None].expand(self.frames, -1, self.width)], -1)
        rolled = [
            F.grid_sample(image.float(), grid, 'nearest' if i else 'bicubic', 'border', align_corners=False)
            for i, image in enumerate(images)
        ]
        return rolled[0].clamp_min(0), *(a.to(b.dtype) for a, b in zip(rolled[1:], images[1:]))

    def light(self, linear: torch.Tensor) -> torch.Tensor:
        """Apply lateral colour and vignetting to linear light (T, 3, H, W), about a random optical centre."""
        rng, settings = self.rng, self.settings
        cx, cy = rng.uniform(-1, 1), rng.uniform(-1, 1)
        if rng.chance(settings.lateral_colour):
            linear = linear.clone()
            for channel in (0, 2):
                zoom = 1 + rng.uniform(-0.006, 0.006)
                theta = torch.tensor([[zoom, 0, cx * (1 - zoom)], [0, zoom, cy * (1 - zoom)]], device=linear.device)
                grid = F.affine_grid(
                    theta.expand(self.frames, 2, 3), [self.frames, 1, self.height, self.width], align_corners=False
                )
                linear[:, channel : channel + 1] = F.grid_sample(
                    linear[:, channel : channel + 1], grid, 'bicubic', 'border', align_corners=False
                ).clamp_min(0)
        if rng.chance(settings.vignetting):
            x = torch.linspace(-1, 1, self.width, device=linear.device) - cx
            y = torch.linspace(-1, 1, self.height, device=linear.device) - cy
            linear = linear / (1 + rng.uniform(0.02, 0.25) * (x**2 + y[:, None] ** 2)) ** 2
        return linear

    def gain(self, gain: torch.Tensor) -> torch.Tensor:
        """Let exposure (T,) drift. Call before `balance`."""
        self._wanders = self.rng.chance(self.settings.wander)
        if not self._wanders:
            return gain
        return gain * torch.exp(self._walk(1)[:, 0] * self.rng.uniform(0, 0.15))

    def balance(self, image: torch.Tensor) -> torch.Tensor:
        """Apply a wrong white balance, the same for all frames, and a small drift."""
        if not self._wanders:
            return image
        off = self.rng.normal(1, 3) * 0.08 + self._walk(3) * self.rng.uniform(0, 0.05)
        return (image * torch.exp(off.clamp(-0.4, 0.4))[..., None, None]).clamp(0, 1)

    def _walk(self, channels: int) -> torch.Tensor:
        return self.rng.normal(self.frames, channels).cumsum(0) / math.sqrt(self.frames)

    def process(self, image: torch.Tensor) -> torch.Tensor:
        """Encoded images (T, 3, H, W) in 0..1 as the camera outputs them."""
        rng, settings = self.rng, self.settings
        if rng.chance(settings.denoising):
            image = denoise(image, rng.integer(1, 4), rng.log_uniform(0.008, 0.06))
        if rng.chance(settings.tone):
            image = tone(
                image,
                rng.log_uniform(0.7, 1.4),
                rng.uniform(-0.3, 0.8),
                rng.uniform(0.4, 1.5),
                rng.uniform(0, 0.08) if rng.chance(0.4) else 0.0,
            )
        if rng.chance(settings.sharpening):
            image = sharpen(image, rng.integer(1, 4), rng.uniform(0.2, 1.3))
        image = (image * 255).round() / 255
        if rng.chance(settings.video):
            return video(image, rng.log_uniform(3, 16))
        return jpeg_420(image, rng.uniform(*settings.quality)) if rng.chance(settings.jpeg) else image
