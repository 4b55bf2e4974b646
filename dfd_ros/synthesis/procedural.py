"""Random focal stacks with exact ground truth: seeded, on any torch device.

`StackSettings` has the ranges of all random camera properties: lens, aperture, swept range, order and spacing of the
focus, camera motion, focus breathing, exposure and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field

from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.constraints import Finite, Frames, Motion, Pair, Share, Side
from dfd_ros.core.optics import VergenceRange
from dfd_ros.synthesis.compression import jpeg
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.processing import CameraSettings, Look
from dfd_ros.synthesis.scene import AnyScene, Scene, SceneSettings
from dfd_ros.synthesis.sensor import expose, sharpen
from dfd_ros.synthesis.surface_materials import SurfaceSettings
from dfd_ros.synthesis.surroundings import real_scene
from dfd_ros.synthesis.worlds.view_scene import ViewScene

Order = Literal['rising', 'falling', 'shuffled', 'ping_pong']
ORDERS: tuple[Order, ...] = get_args(Order)
Positive = Annotated[float, Field(gt=0, le=1000)]
Noise = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class StackSettings:
    """Settings of random focal stacks. Pairs are minimum and maximum; probabilities are 0..1.

    Attributes:
        height, width: image size (px).
        frames: frames of a stack.
        ramp: frames of one sweep across the range; sweeps repeat until the stack is full.
        orders: possible orders of the focus within a sweep: 'rising' (far to near), 'falling', 'shuffled',
            'ping_pong' (alternately rising and falling).
        uneven: probability of unevenly spaced focus.
        blur_scale: k, CoC in px across the whole range.
        unknown_aperture: probability that the network does not know the blur scale.
        range_ratio: far / near; the far end is at infinity with probability `infinity`.
        static: probability that nothing moves, camera included.
        shake: maximum turn of the camera between frames, px.
        travel: maximum parallax between frames at u = 1, px.
        breathing: maximum growth of the image from far to near focus.
        breathing_residual: maximum share of the breathing, of either sign, that registration leaves in the images.
            None = all breathing, as the camera delivers it.
        exponent: of the point spread function.
        softness: blur (px, as a CoC) of points in focus, by diffraction, aberrations and demosaicing. It adds to the
            CoC as variances do. The true CoC does not contain it.
        shot, read: noise, see `sensor.expose`. The signal-to-noise ratio of mid-grey is 43 dB (daylight) to 25 dB (a
            dim room).
        exposure: maximum change of exposure between frames (share).
        jpeg: probability of JPEG compression.
        sharpening: probability of a sharpening camera.
        views: folder of path-traced views of rooms (`dfd render --world`), or published RGB-D images
            (`hypersim:DIR`, `tartanair:DIR`, `nyuv2:FILE`, `rgbd:DIR`), or None.
        views_share: probability that a stack shows one of these views instead of a drawn scene.
        views_grain: probability that the surfaces of a view get faint fine noise. Rendered paint is perfectly plain,
            while most real surfaces have texture enough to show focus when the camera has little noise.
        scene, surfaces: drawn scenes; `surfaces.share` of them have realistic surfaces.
        camera: a realistic camera takes `camera.share` of the stacks.
    """

    height: Side = 256
    width: Side = 256
    frames: Frames = 5
    ramp: Pair[Frames] = (5, 5)
    orders: Annotated[tuple[Order, ...], Field(min_length=1)] = ORDERS
    uneven: Share = 0.5
    blur_scale: Pair[Positive] = (6.0, 48.0)
    unknown_aperture: Share = 0.3
    near: Pair[Annotated[float, Field(gt=0, le=1e4)]] = (0.1, 1.0)
    range_ratio: Pair[Annotated[float, Field(ge=1, le=1e6)]] = (2.5, 20.0)
    infinity: Share = 0.3
    static: Share = 0.3
    shake: Motion = 1.0
    travel: Motion = 1.0
    breathing: Share = 0.06
    breathing_residual: Finite | None = 0.1
    exponent: Pair[Positive] = (2.0, 32.0)
    softness: Pair[Annotated[float, Field(ge=0, le=100)]] = (0.0, 2.0)
    shot: Pair[Noise] = (1e-5, 6e-4)
    read: Pair[Noise] = (3e-4, 3e-3)
    exposure: Share = 0.15
    jpeg: Share = 0.3
    sharpening: Share = 0.2
    views: str | None = None
    views_share: Share = 0.5
    views_grain: Share = 0.0
    scene: SceneSettings = field(default_factory=SceneSettings)
    surfaces: SurfaceSettings = field(default_factory=SurfaceSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)

    @staticmethod
    def study(**changes) -> StackSettings:
        """The study's conditions: one known lens that focuses from 1.25 m to 0.25 m, no motion, large blur, textured
        objects in front of a wall, rising ramps."""
        scene = SceneSettings(untextured=0.0, wall=True, split=changes.pop('split', 'train'))
        return StackSettings(
            **{
                **dict(
                    orders=('rising',),
                    uneven=0.0,
                    blur_scale=(15.0, 48.0),
                    unknown_aperture=0.0,
                    near=(0.25, 0.25),
                    range_ratio=(5.0, 5.0),
                    infinity=0.0,
                    static=1.0,
                    breathing=0.0,
                    softness=(0.0, 0.0),
                    exposure=0.0,
                    jpeg=0.0,
                    sharpening=0.0,
                    shot=(1e-5, 1e-4),
                    read=(3e-4, 1e-3),
                    scene=scene,
                ),
                **changes,
            }
        )

    @staticmethod
    def field(**changes) -> StackSettings:
        """Conditions on robots: motion, breathing, noise, untextured parts; half of the apertures are unknown."""
        scene = SceneSettings(split=changes.pop('split', 'train'))
        return StackSettings(**{**dict(static=0.0, unknown_aperture=0.5, scene=scene), **changes})

    @staticmethod
    def real(**changes) -> StackSettings:
        """Realistic surfaces and cameras; some surfaces show images from the folder `photographs`."""
        scene = SceneSettings(split=changes.pop('split', 'train'))
        surfaces = SurfaceSettings(share=1.0, photographs=changes.pop('photographs', ''))
        return StackSettings(**{**dict(scene=scene, surfaces=surfaces, camera=CameraSettings(share=0.8)), **changes})


@dataclass
class StackBatch:
    """B focal stacks of T frames.

    Attributes:
        images: (B, T, 3, H, W) uint8, sRGB; float in 0..1 after cropping for training.
        focus: (B, T) v, the focus scaled to 0..1 over the swept range.
        blur_scale: (B,) px, NaN = the network does not know it.
        vergence: (B, T, 1, H, W) u, truth.
        blur: (B, T) truth: CoC in px per unit of u off the focus (the exact blur scale of each focus).
        foreground: (B, T, 1, H, W) bool, everything except the background.
        near, far: (B,) the swept range (m), far may be infinite.
        focal_length, f_number, pixel_pitch: (B,) the lens (SI).
        magnification: (B, T) of the images, relative to each other: focus breathing, or its residual.
    """

    images: torch.Tensor
    focus: torch.Tensor
    blur_scale: torch.Tensor
    vergence: torch.Tensor
    blur: torch.Tensor
    foreground: torch.Tensor
    near: torch.Tensor
    far: torch.Tensor
    focal_length: torch.Tensor
    f_number: torch.Tensor
    pixel_pitch: torch.Tensor
    magnification: torch.Tensor

    @property
    def coc(self) -> torch.Tensor:
        """True CoC (B, T, 1, H, W), px, positive for points nearer than the focus."""
        return self.blur[..., None, None, None] * (self.vergence - self.focus[..., None, None, None])

    @property
    def range_ratio(self) -> torch.Tensor:
        """(B,) far / near of the swept range."""
        return self.far / self.near

    def ranges(self) -> list[VergenceRange]:
        return [VergenceRange(near, far) for near, far in zip(self.near.tolist(), self.far.tolist())]

    @staticmethod
    def stack(batches: list[StackBatch]) -> StackBatch:
        """Join batches of the same image size and frames."""
        return StackBatch(*(torch.cat([getattr(b, f.name) for b in batches]) for f in fields(StackBatch)))

    def __getitem__(self, which: slice) -> StackBatch:
        """Some of the stacks."""
        return StackBatch(*(getattr(self, f.name)[which] for f in fields(self)))

    def to(self, device) -> StackBatch:
        # An asynchronous copy to the CPU could be read before it is complete.
        non_blocking = torch.device(device).type != 'cpu'
        return StackBatch(*(getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)))


def focus_positions(rng: Random, settings: StackSettings) -> torch.Tensor:
    """v (T,) of the frames: consecutive sweeps over 0..1, in one of the allowed orders."""
    n = rng.integer(settings.ramp[0], settings.ramp[1] + 1)
    order = rng.choice(settings.orders)
    uneven = rng.chance(settings.uneven)
    sweeps = []
    for sweep in range(math.ceil(settings.frames / n)):
        v = torch.linspace(0, 1, n)
        if uneven and n > 2:
            gaps = torch.tensor([rng.uniform(0.3, 1.7) for _ in range(n - 1)]).cumsum(0)
            v = torch.cat([torch.zeros(1), gaps / gaps[-1]])
        if order == 'falling' or (order == 'ping_pong' and sweep % 2):
            v = v.flip(0)
        elif order == 'shuffled':
            v = v[rng.permutation(n)]
        sweeps.append(v)
    return torch.cat(sweeps)[: settings.frames]


def _walk(rng: Random, frames: int, step: float) -> torch.Tensor:
    """Positions (T, 2) of a steady drift with some tremor, starting at zero."""
    steps = rng.normal(1, 2) * 0.7 + rng.normal(frames, 2) * 0.5
    path = (steps * step * 0.6).clamp(-step, step).cumsum(0)
    return path - path[:1]


def _scene(rng: Random, seed: int, settings: StackSettings, range_: VergenceRange) -> Scene:
    if settings.surfaces.share:
        own = Random(seed ^ 0x7EA1, rng.device)  # `rng` draws the same rest of the stack
        if own.chance(settings.surfaces.share):
            return real_scene(
                own,
                settings.height,
                settings.width,
                settings.scene,
                settings.surfaces,
                1 / range_.far / range_.width,
                seed,
                margin=40,
            )
    return Scene.random(rng, settings.height, settings.width, settings.scene, margin=40)


def _look(rng: Random, seed: int, settings: StackSettings) -> Look | None:
    if not settings.camera.share:
        return None
    own = Random(seed ^ 0xCA3E4A, rng.device)
    return (
        Look(own, settings.camera, settings.frames, settings.height, settings.width)
        if own.chance(settings.camera.share)
        else None
    )


def render_stack(
    seed: int,
    settings: StackSettings,
    device: str | torch.device = 'cpu',
    *,
    foci: list[float] | None = None,
    all_in_focus: bool = False,
) -> StackBatch:
    """One focal stack (B = 1). The same seed and settings give the same stack on the same device.

    foci: v of the frames, instead of random ones.
    all_in_focus: render the same views and exposure with all points in focus, without noise and compression. Not for
        realistic cameras (`settings.camera`), whose processing depends on the image.
    """
    rng = Random(seed, device)
    frames = settings.frames

    near = rng.log_uniform(*settings.near)
    room = None
    if settings.views and rng.chance(settings.views_share):
        room = ViewScene.random(rng, settings.height, settings.width, settings.views, near, grain=settings.views_grain)
        far = room.range.far
    else:
        far = math.inf if rng.chance(settings.infinity) else near * rng.log_uniform(*settings.range_ratio)
    range_ = VergenceRange(near, far)
    focal_length = near * rng.log_uniform(0.002, 0.06)
    pixel_pitch = rng.log_uniform(1e-6, 6e-6)
    blur_scale = rng.log_uniform(*settings.blur_scale)
    f_number = focal_length**2 * range_.width / (blur_scale * pixel_pitch)

    focus = focus_positions(rng, settings).to(rng.device)
    time = torch.arange(frames, dtype=torch.float32, device=rng.device)
    static = rng.chance(settings.static)
    scene: AnyScene = room or _scene(rng, seed, settings, range_)
    look = _look(rng, seed, settings)
    if look:
        focus = look.focus(focus, 1 / far / range_.width, scene.vergence())
    if foci is not None:
        focus = torch.tensor(foci, device=rng.device)
    if static:
        time = torch.zeros_like(time)
    travel, turn = (
        _walk(rng, frames, 0 if static else rng.uniform(0, limit)) for limit in (settings.travel, settings.shake)
    )
    breathing = rng.uniform(0, settings.breathing)
    if settings.breathing_residual is None:
        magnification = 1 + breathing * focus
    else:
        magnification = 1 + breathing * settings.breathing_residual * rng.uniform(-1, 1) * (focus - 0.5)
    poses = scene.poses(time, travel, turn, magnification)

    # CoC = A f (1/D - 1/F) / (1 - f/F), see dfd_ros.core.optics: k (u - v), over 1 - f/F.
    blur = blur_scale / (1 - focal_length * (focus * range_.width + 1 / far))
    exponent = torch.full((frames,), rng.log_uniform(*settings.exponent), device=rng.device)
    softness = rng.uniform(*settings.softness)
    aperture = look.aperture(settings.exponent) if look else None
    linear, vergence, foreground = scene.photograph(poses, blur, focus, exponent, softness, aperture)
    if look:
        assert not all_in_focus
        linear, vergence, foreground = look.roll(0.0 if static else settings.shake, linear, vergence, foreground)
        linear = look.light(linear)

    level = 0.85 / torch.quantile(linear[:, 1].flatten()[::37], 0.98).clamp_min(0.05)
    gain = level * rng.log_uniform(0.5, 1.3) * (1 + settings.exposure * rng.uniform(-1, 1, frames))
    if look:
        gain = look.gain(gain)
    shot, read, noise = rng.log_uniform(*settings.shot), rng.log_uniform(*settings.read), rng.normal(*linear.shape)
    if all_in_focus:
        linear, noise = scene.photograph(poses, 0 * blur, focus, exponent, softness)[0], 0 * noise
    image = expose(linear, gain, shot, read, noise)
    image = srgb_encode(look.balance(image) if look else image) ** rng.uniform(0.85, 1.15)
    if look:
        image = look.process(image)
    else:
        if rng.chance(settings.sharpening):
            image = sharpen(image, rng.uniform(0.2, 1.0))
        image = (image * 255).round() / 255
        if rng.chance(settings.jpeg) and not all_in_focus:
            image = jpeg(image, rng.uniform(60, 95))

    def one(value):
        return torch.tensor([value], device=rng.device)

    known = not rng.chance(settings.unknown_aperture)
    return StackBatch(
        images=(image * 255).round().to(torch.uint8)[None],
        focus=focus[None],
        blur_scale=one(blur_scale if known else math.nan),
        vergence=vergence[None],
        blur=blur[None],
        foreground=foreground[None],
        near=one(near),
        far=one(far),
        focal_length=one(focal_length),
        f_number=one(f_number),
        pixel_pitch=one(pixel_pitch),
        magnification=magnification[None],
    )


def render_batch(seeds: list[int], settings: StackSettings, device: str | torch.device = 'cpu') -> StackBatch:
    """One stack for each seed."""
    return StackBatch.stack([render_stack(seed, settings, device) for seed in seeds])
