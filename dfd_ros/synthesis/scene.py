"""Layered scenes: textured surfaces in front of each other, each with its own continuous depth and motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F

from dfd_ros.core.constraints import Count, Motion, Pair, Share, Size
from dfd_ros.synthesis.apertures import Aperture
from dfd_ros.synthesis.defocus import defocus
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.shapes import coverage
from dfd_ros.synthesis.textures import highlights, texture


@dataclass
class Layer:
    """One surface, on a square canvas centred on the image.

    Attributes:
        rgba: (4, S, S) linear colour times coverage, and coverage.
        vergence: (1, S, S) u of the surface, also outside its coverage.
        parallax: how far the layer moves when the camera moves (0 = infinitely far away).
        velocity: (2,) px per frame, of the layer itself.
        spin: rotation, rad per frame.
        growth: relative change of size per frame.
    """

    rgba: torch.Tensor
    vergence: torch.Tensor
    parallax: float
    velocity: tuple[float, float] = (0.0, 0.0)
    spin: float = 0.0
    growth: float = 0.0

    def start_moving(self, rng: Random, fastest: float) -> None:
        """Give it a random motion of at most `fastest` px per frame."""
        direction, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0, fastest)
        self.velocity = (speed * math.cos(direction), speed * math.sin(direction))
        self.spin, self.growth = rng.uniform(-0.01, 0.01), rng.uniform(-0.005, 0.005)

    def box(self) -> tuple[int, int, int, int] | None:
        """(top, bottom, left, right) of the covered part of the canvas; None if there is none."""
        covered = self.rgba[3] > 0
        rows, columns = covered.any(1).nonzero(), covered.any(0).nonzero()
        if not len(rows):
            return None
        return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


@dataclass
class Pose:
    """The pose of a layer in T frames: image point = scale * rotate(canvas point) + shift, relative to the centre."""

    scale: torch.Tensor  # (T,)
    angle: torch.Tensor  # (T,) rad
    shift: torch.Tensor  # (T, 2) px, x and y

    def is_identity(self) -> bool:
        return bool((self.scale == 1).all() and (self.angle == 0).all() and (self.shift == 0).all())


@dataclass(frozen=True)
class SceneSettings:
    """Settings of random scenes; u is the vergence scaled to 0..1 over the swept range.

    Attributes:
        objects: minimum and maximum number of objects, besides the background.
        radius: minimum and maximum size of an object, as a share of the image's shorter side.
        untextured: probability that a surface has no texture.
        highlights: probability that an object has specular highlights.
        wall: True = always a distant wall (the study's scenes); False = walls, floors and corners.
        moving: probability that an object moves on its own.
        speed: maximum speed of an object, px per frame.
        split: 'train' or 'test' families of textures and shapes.
    """

    objects: Pair[Count] = (3, 8)
    radius: Pair[Size] = (0.06, 0.35)
    untextured: Share = 0.12
    highlights: Share = 0.15
    wall: bool = False
    moving: Share = 0.3
    speed: Motion = 1.5
    split: Literal['train', 'test'] = 'train'


class AnyScene(Protocol):
    """A source of focal stacks: a `Scene` or a `ViewScene`. `photograph` takes the result of `poses`."""

    def vergence(self) -> torch.Tensor: ...

    def poses(self, time: torch.Tensor, camera: torch.Tensor, turn: torch.Tensor, zoom: torch.Tensor) -> Any: ...

    def photograph(
        self,
        poses: Any,
        blur: torch.Tensor,
        focus: torch.Tensor,
        exponent: torch.Tensor,
        softness: float = 0.0,
        aperture: Aperture | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]: ...


class Scene:
    """Layers from far to near, which can be photographed."""

    def __init__(self, layers: list[Layer], height: int, width: int):
        self.layers = layers
        self.height, self.width = height, width
        self._boxes = [layer.box() for layer in layers]

    @staticmethod
    def random(rng: Random, height: int, width: int, settings: SceneSettings, margin: int) -> Scene:
        """A random scene on canvases that exceed the image by `margin` px on every side."""
        size = max(height, width) + 2 * margin
        x = torch.arange(size, device=rng.device, dtype=torch.float32) - (size - 1) / 2
        y, x = x[:, None].expand(size, size), x[None].expand(size, size)
        half = max(height, width) / 2
        short = min(height, width)

        surface = _background_vergence(rng, x / half, y / half, settings.wall)
        rgb = texture(rng, size, settings.split, settings.untextured)
        layers = [Layer(torch.cat([rgb, torch.ones_like(rgb[:1])]), surface[None], rng.uniform(0, 0.3))]

        nearness = sorted(
            rng.uniform(0.05, 1.0) for _ in range(rng.integer(settings.objects[0], settings.objects[1] + 1))
        )
        for u in nearness:
            # Log-uniform: small and thin things are as frequent as large ones.
            radius = short * rng.log_uniform(*settings.radius)
            cx, cy = rng.uniform(-0.55, 0.55) * width, rng.uniform(-0.55, 0.55) * height
            angle = rng.uniform(0, 2 * math.pi)
            along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
            across = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
            alpha = coverage(rng, along, across, radius, settings.split)
            body = u + _relief(rng, along, across, radius)
            # A surface is never behind what it covers: where it would be, the two touch.
            surface = torch.where(alpha > 0.5, torch.maximum(body, surface + 0.002), surface)
            rgb = texture(rng, size, settings.split, settings.untextured)
            if rng.chance(settings.highlights):
                rgb = rgb + highlights(rng, size)
            layer = Layer(torch.cat([rgb * alpha, alpha[None]]), torch.maximum(body, surface)[None], 0.3 + 0.7 * u)
            if rng.chance(settings.moving):
                layer.start_moving(rng, settings.speed)
            layers.append(layer)
        return Scene(layers, height, width)

    def vergence(self) -> torch.Tensor:
        """u (S, S) of the visible surfaces before anything moves."""
        result = self.layers[0].vergence[0]
        for layer in self.layers[1:]:
            result = torch.where(layer.rgba[3] > 0.5, layer.vergence[0], result)
        return result

    def poses(self, time: torch.Tensor, camera: torch.Tensor, turn: torch.Tensor, zoom: torch.Tensor) -> list[Pose]:
        """The pose of each layer at times (T,) in frames, for camera shifts (T, 2) in px at u = 1, turns (T, 2) in px
        (the same for all distances), and a zoom (T,) of the image (focus breathing)."""
        result = []
        for layer in self.layers:
            own = torch.tensor(layer.velocity, device=time.device)
            shift = own * time[:, None] + layer.parallax * camera + turn
            result.append(Pose(zoom * (1 + layer.growth * time), layer.spin * time, zoom[:, None] * shift))
        return result

    def photograph(
        self,
        poses: list[Pose],
        blur: torch.Tensor,
        focus: torch.Tensor,
        exponent: torch.Tensor,
        softness: float = 0.0,
        aperture: Aperture | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Photograph the scene through a lens, in linear light.

        Args:
            poses: of each layer, for T frames.
            blur: (T,) CoC in px for a unit of u off the focus.
            focus: (T,) u of the focus.
            exponent: (T,) of the point spread function.
            softness: CoC (px) of points in focus.
            aperture: a non-circular one, instead of `exponent`.

        Returns:
            Images (T, 3, H, W); u of the surface at each pixel (T, 1, H, W); whether this is foreground
            (T, 1, H, W), bool.
        """
        frames = len(focus)
        device = focus.device
        image = torch.zeros(frames, 3, self.height, self.width, device=device)
        vergence = torch.zeros(frames, 1, self.height, self.width, device=device)
        foreground = torch.zeros(frames, 1, self.height, self.width, dtype=torch.bool, device=device)
        blur, focus = (x[:, None, None, None] for x in (blur, focus))
        soft = torch.tensor(softness, device=device)

        for index, (layer, pose, box) in enumerate(zip(self.layers, poses, self._boxes)):
            window = box and self._window(layer, pose, box, index == 0, blur, focus)
            if not window:
                continue
            top, bottom, left, right = window
            rgba, u = self._sample(layer, pose, window)
            coc = blur * (u - focus)
            seen = aperture.spread(rgba, coc, soft) if aperture else defocus(rgba, torch.hypot(coc, soft), exponent)
            # The window exceeds the image by the blur: crop it to the image.
            rows = slice(max(-top, 0), bottom - top - max(bottom - self.height, 0))
            columns = slice(max(-left, 0), right - left - max(right - self.width, 0))
            seen, sharp, u = (x[..., rows, columns] for x in (seen, rgba[:, 3:], u))
            area = (..., slice(max(top, 0), min(bottom, self.height)), slice(max(left, 0), min(right, self.width)))
            if index == 0:
                image[area] = seen[:, :3] / seen[:, 3:].clamp_min(1e-6)
                vergence[area] = u
                continue
            # Where blur varies, coverage of one surface can add up to more than 1: limit it.
            seen = seen / seen[:, 3:].clamp_min(1)
            image[area] = image[area] * (1 - seen[:, 3:]) + seen[:, :3]
            hit = sharp > 0.5
            vergence[area] = torch.where(hit, u, vergence[area])
            foreground[area] |= hit
        return image, vergence, foreground

    def _window(self, layer, pose, box, is_background, blur, focus):
        """(top, bottom, left, right) in image pixels of the part that the layer can affect, beyond the image as far as
        blur brings in light; None if the layer is out of view."""
        size = layer.rgba.shape[-1]
        reach = 2 + int(0.75 * (blur * (focus - 0.5).abs().add(0.6)).max().item())
        if is_background:
            reach = min(reach, (size - max(self.height, self.width)) // 2)
            return -reach, self.height + reach, -reach, self.width + reach
        corners = torch.tensor([[x, y] for x in box[2:] for y in box[:2]], device=blur.device) - size / 2
        cos, sin = torch.cos(pose.angle), torch.sin(pose.angle)
        x = pose.scale[:, None] * (cos[:, None] * corners[:, 0] - sin[:, None] * corners[:, 1]) + pose.shift[:, :1]
        y = pose.scale[:, None] * (sin[:, None] * corners[:, 0] + cos[:, None] * corners[:, 1]) + pose.shift[:, 1:]
        left = max(math.floor(x.min().item() + self.width / 2), 0) - reach
        right = min(math.ceil(x.max().item() + self.width / 2), self.width) + reach
        top = max(math.floor(y.min().item() + self.height / 2), 0) - reach
        bottom = min(math.ceil(y.max().item() + self.height / 2), self.height) + reach
        if left >= self.width or top >= self.height or right <= 0 or bottom <= 0:
            return None
        return top, bottom, left, right

    def _sample(self, layer: Layer, pose: Pose, window) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer's (T, 4, h, w) colour and (T, 1, h, w) vergence in a window of the image."""
        top, bottom, left, right = window
        frames = len(pose.scale)
        size = layer.rgba.shape[-1]
        x = torch.arange(left, right, device=pose.scale.device) + 0.5 - self.width / 2
        y = torch.arange(top, bottom, device=pose.scale.device) + 0.5 - self.height / 2
        if pose.is_identity():
            # No resampling: rows and columns by index, the edge repeated.
            rows = (y + size / 2 - 0.5).long().clamp(0, size - 1)
            columns = (x + size / 2 - 0.5).long().clamp(0, size - 1)
            rgba, u = (a[:, rows][:, :, columns].expand(frames, -1, -1, -1) for a in (layer.rgba, layer.vergence))
            return rgba, u
        dx = x[None, None] - pose.shift[:, 0, None, None]
        dy = y[None, :, None] - pose.shift[:, 1, None, None]
        cos, sin = (f(pose.angle)[:, None, None] / pose.scale[:, None, None] for f in (torch.cos, torch.sin))
        grid = torch.stack([cos * dx + sin * dy, cos * dy - sin * dx], -1) * (2 / size)
        both = torch.cat([layer.rgba, layer.vergence])[None].expand(frames, -1, -1, -1)
        # Bicubic: linear interpolation would blur by an amount that depends on the shift, a false focus cue.
        both = F.grid_sample(both, grid, mode='bicubic', padding_mode='border', align_corners=False)
        alpha = both[:, 3:4].clamp(0, 1)
        return torch.cat([both[:, :3].clamp_min(0) * (alpha > 0), alpha], 1), both[:, 4:]


def _background_vergence(rng: Random, x: torch.Tensor, y: torch.Tensor, wall: bool) -> torch.Tensor:
    """u of a wall, a slanted plane, a floor in front of a wall, or a corner. x and y run over -1..1 in the image."""
    base = rng.uniform(-0.03, 0.15)
    if wall or rng.chance(0.35):
        return base + rng.uniform(-0.05, 0.05) * x + rng.uniform(-0.05, 0.05) * y
    if rng.chance(0.4):  # a floor, with a wall behind it from the horizon up
        horizon = rng.uniform(-0.9, 0.2)
        return torch.maximum(
            base + 0 * x, base + rng.uniform(0.3, 1.0) * (y - horizon) / (1 - horizon) + rng.uniform(-0.1, 0.1) * x
        )
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.uniform(0.1, 0.5)
    plane = slope * (x * math.cos(angle) + y * math.sin(angle)) + rng.uniform(0.1, 0.6)
    if rng.chance(0.3):  # a corner of two planes
        other = angle + rng.uniform(1, 5)
        plane = torch.maximum(plane, slope * (x * math.cos(other) + y * math.sin(other)) + rng.uniform(0.1, 0.5))
    return plane.clamp(-0.05, 1.05)


def _relief(rng: Random, x: torch.Tensor, y: torch.Tensor, radius: float) -> torch.Tensor:
    """Vergence of an object's surface relative to its centre: flat, slanted or bulging."""
    if rng.chance(0.3):
        return torch.zeros_like(x)
    slant = rng.uniform(-0.12, 0.12) * x / radius + rng.uniform(-0.12, 0.12) * y / radius
    if rng.chance(0.4):
        slant = slant + rng.uniform(0.02, 0.15) * (1 - (x * x + y * y) / radius**2).clamp_min(0).sqrt()
    return slant.clamp(-0.4, 0.4)
