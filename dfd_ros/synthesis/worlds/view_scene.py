"""A view as a scene to photograph: any lens, focus and motion, with correct occlusion.

The view is sliced by depth. Slices are blurred and composited from far to near: near surfaces spread over those behind
them, and far surfaces do not spread over those in front. The second layer of the view, or else the nearest pixel of a
farther slice, fills what nearer slices hide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros.core.optics import VergenceRange
from dfd_ros.synthesis.apertures import Aperture
from dfd_ros.synthesis.defocus import defocus
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.rgbd_sets.view_sources import ViewSource, open_views
from dfd_ros.synthesis.surface_materials import faint_grain
from dfd_ros.synthesis.worlds.view import View

SLICES = 10
SCALE = (0.72, 1.2)  # of a view before cropping
BRIGHTEST = 16.0  # linear light relative to white: lamps


@dataclass(frozen=True)
class ViewPoses:
    """The camera in T frames.

    Attributes:
        parallax: (T, 2) px by which a point at u = 1 moves; other points move in proportion to u.
        turn: (T, 2) px, the same for all points.
        zoom: (T,) of the image.
    """

    parallax: torch.Tensor
    turn: torch.Tensor
    zoom: torch.Tensor

    def is_identity(self) -> bool:
        return bool((self.parallax == 0).all() and (self.turn == 0).all() and (self.zoom == 1).all())


@dataclass
class _Slice:
    """(4, h, w) colour times coverage, and coverage; (1, h, w) u."""

    rgba: torch.Tensor
    vergence: torch.Tensor


class ViewScene:
    """Slices from far to near, which exceed the image by `margin` px on every side.

    Attributes:
        range: near and far end (m) of the focus sweep for this scene.
    """

    def __init__(self, slices: list[_Slice], range_: VergenceRange, height: int, width: int, margin: int):
        self.slices, self.range = slices, range_
        self.height, self.width, self.margin = height, width, margin

    @staticmethod
    def random(
        rng: Random, height: int, width: int, folder: str, near: float, *, margin: int = 24, grain: float = 0.0
    ) -> ViewScene:
        """A random crop of a random view, scaled so that the near end of the range is at `near` (m).

        Args:
            folder: source of views, see `open_views`.
            grain: probability of faint fine noise on all surfaces.

        Raises:
            InputError: there are no views, or the file is broken.
        """
        source = _source(folder)
        view = source.read(rng.integer(0, len(source)))
        colour, vergence, behind_colour, behind = _cut(rng, view, height + 2 * margin, width + 2 * margin)
        if grain and rng.chance(grain):
            factor = faint_grain(rng, max(colour.shape))[0, : colour.shape[0], : colour.shape[1], None].cpu().numpy()
            colour, behind_colour = colour * factor, behind_colour * factor
        low, high = np.quantile(vergence[np.isfinite(vergence)], [0.01, 0.99])
        # u runs from `first` to `last` over the view. In half of the scenes the range fits the scene, as after
        # adjusting the sweep to it; in the others range and scene end at different depths.
        fits = rng.chance(0.5)
        last, ratio = rng.uniform(0.95, 1.03) if fits else rng.uniform(0.85, 1.05), low / max(high, 1e-9)
        first = min(rng.uniform(-0.03, 0.03) if fits else rng.uniform(-0.04, 0.2), ratio * last)
        first = min(first, last - 0.25)
        if ratio > 0.9:  # almost a single distance, which cannot determine the range
            first = last * rng.uniform(0.1, 0.8)
            ratio = min(ratio, 0.9)
        offset = max(0.0, (ratio * last - first) / (1 - ratio))  # vergence of the far end, in widths of the range
        scale = (offset + last) / high
        u, u_behind = scale * vergence - offset, scale * behind - offset
        width_of_range = 1 / near / (1 + offset)
        far = math.inf if offset < 1e-3 else 1 / (offset * width_of_range)
        slices = _slices(rng, colour, u, behind_colour, u_behind)
        return ViewScene(slices, VergenceRange(near, far), height, width, margin)

    def vergence(self) -> torch.Tensor:
        """u (H, W) of the visible surfaces for a static camera."""
        seen = torch.full_like(self.slices[0].vergence[0], math.nan)
        for one in self.slices:
            seen = torch.where(one.rgba[3] > 0.5, one.vergence[0], seen)
        return seen

    def poses(self, time: torch.Tensor, camera: torch.Tensor, turn: torch.Tensor, zoom: torch.Tensor) -> ViewPoses:
        """As `Scene.poses`; only the camera moves."""
        return ViewPoses(camera, turn, zoom)

    def photograph(
        self,
        poses: ViewPoses,
        blur: torch.Tensor,
        focus: torch.Tensor,
        exponent: torch.Tensor,
        softness: float = 0.0,
        aperture: Aperture | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `Scene.photograph`; all pixels are foreground."""
        frames = len(focus)
        size = (self.height + 2 * self.margin, self.width + 2 * self.margin)
        image = torch.zeros(frames, 4, *size, device=focus.device)
        vergence = torch.full((frames, 1, *size), math.nan, device=focus.device)
        blur, focus = (x[:, None, None, None] for x in (blur, focus))
        soft = torch.tensor(softness, device=focus.device)
        still = poses.is_identity()
        for one in self.slices:
            window = self._window(one, poses, blur, focus)
            if still:
                rgba, u = (x[(None, ..., *window)].expand(frames, -1, -1, -1) for x in (one.rgba, one.vergence))
            else:
                rgba, u = self._moved(one, poses, window)
            coc = blur * (u - focus)
            seen = aperture.spread(rgba, coc, soft) if aperture else defocus(rgba, torch.hypot(coc, soft), exponent)
            # Where blur varies, coverage of one surface can add up to more than 1: limit it.
            seen = seen / seen[:, 3:].clamp_min(1)
            area = (..., *window)
            image[area] = image[area] * (1 - seen[:, 3:]) + seen
            hit = rgba[:, 3:] > 0.5
            vergence[area] = torch.where(hit, u, vergence[area])
        inner = (..., slice(self.margin, self.margin + self.height), slice(self.margin, self.margin + self.width))
        image, vergence = image[inner], vergence[inner]
        # Gaps that motion opens have no truth.
        return image[:, :3] / image[:, 3:].clamp_min(1e-3), vergence, torch.ones_like(vergence, dtype=torch.bool)

    def _window(self, one: _Slice, poses: ViewPoses, blur: torch.Tensor, focus: torch.Tensor):
        """(rows, columns) of the part that the slice can affect."""
        covered = one.rgba[3] > 0
        moved = 2 + (poses.parallax.abs() + poses.turn.abs()).max().item()
        moved += 0.5 * max(covered.shape) * (poses.zoom - 1).abs().max().item()
        low, high = one.vergence[0][covered].aminmax()
        farthest = torch.maximum((low - focus).abs(), (high - focus).abs())
        reach = int(moved + 0.75 * (blur * farthest).max().clamp_max(100).item()) + 2
        (top, bottom), (left, right) = (
            (max(at[0].item() - reach, 0), min(at[-1].item() + 1 + reach, length))
            for at, length in (
                (covered.any(1).nonzero()[:, 0], covered.shape[0]),
                (covered.any(0).nonzero()[:, 0], covered.shape[1]),
            )
        )
        return slice(top, bottom), slice(left, right)

    @staticmethod
    def _moved(one: _Slice, poses: ViewPoses, window) -> tuple[torch.Tensor, torch.Tensor]:
        """The slice's colour (T, 4, h, w) and vergence (T, 1, h, w) in a window of each frame."""
        height, width = one.rgba.shape[1:]
        rows, columns = (
            torch.arange(part.start, part.stop, device=poses.zoom.device, dtype=torch.float32) for part in window
        )
        y = (rows + 0.5 - height / 2)[None, :, None] / poses.zoom[:, None, None] - poses.turn[:, 1, None, None]
        x = (columns + 0.5 - width / 2)[None, None] / poses.zoom[:, None, None] - poses.turn[:, 0, None, None]
        frames = len(poses.zoom)
        y, x = y.expand(-1, -1, len(columns)), x.expand(-1, len(rows), -1)
        vergence = one.vergence[None].expand(frames, -1, -1, -1)

        def grid(u):
            at = torch.stack([x - poses.parallax[:, 0, None, None] * u, y - poses.parallax[:, 1, None, None] * u], -1)
            return at * torch.tensor([2 / width, 2 / height], device=at.device)

        # The source of a point depends on its vergence, which is known only at the source. One iteration from the mean
        # is accurate enough for a slice.
        mean = one.vergence[0][one.rgba[3] > 0].mean()
        u = F.grid_sample(
            vergence, grid(mean.expand(frames, 1, 1)), mode='bilinear', padding_mode='border', align_corners=False
        )[:, 0]
        both = torch.cat([one.rgba, one.vergence])[None].expand(frames, -1, -1, -1)
        # Bicubic: linear interpolation would blur by an amount that depends on the shift, a false focus cue.
        both = F.grid_sample(both, grid(u), mode='bicubic', padding_mode='border', align_corners=False)
        alpha = both[:, 3:4].clamp(0, 1)
        return torch.cat([both[:, :3].clamp_min(0) * (alpha > 0), alpha], 1), both[:, 4:]


@lru_cache(maxsize=8)
def _source(folder: str) -> ViewSource:
    return open_views(folder)


def _cut(rng: Random, view: View, height: int, width: int):
    """A random crop (H, W) of a view at a random scale: colour, vergence, and both of the second layer (NaN = none)."""
    minimum = max(height / view.depth.shape[0], width / view.depth.shape[1])
    scale = max(rng.uniform(*SCALE), minimum)
    rows, columns = (math.ceil(n * scale) for n in view.depth.shape)
    top, left = rng.integer(0, rows - height + 1), rng.integer(0, columns - width + 1)

    def part(x, interpolation):
        x = cv2.resize(np.ascontiguousarray(x), (columns, rows), interpolation=interpolation)
        return x[top : top + height, left : left + width]

    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    colour = np.clip(part(view.colour, smooth), 0, BRIGHTEST)
    vergence = part(1 / view.depth, cv2.INTER_NEAREST)
    if view.behind_depth is None:
        return colour, vergence, colour, np.full_like(vergence, np.nan)
    behind = part(1 / view.behind_depth, cv2.INTER_NEAREST)
    return colour, vergence, np.clip(part(view.behind_colour, cv2.INTER_NEAREST), 0, BRIGHTEST), behind


def _slices(
    rng: Random, colour: np.ndarray, u: np.ndarray, behind_colour: np.ndarray, behind: np.ndarray
) -> list[_Slice]:
    """Slices of equal vergence (blur is linear in vergence), from far to near."""
    low, high = float(u.min()), float(u.max())
    # Cut at random positions, so that a network cannot learn the artefacts of cuts.
    number, number_behind = (
        np.clip(np.nan_to_num((x - low) / max(high - low, 1e-6) * (SLICES - 1) + shift, nan=SLICES), 0, SLICES).astype(
            np.int32
        )
        for shift in [rng.uniform(0, 1)]
        for x in (u, behind)
    )
    # Both layers, concatenated: slices take their pixels by index.
    colours = np.concatenate([colour.reshape(-1, 3), behind_colour.reshape(-1, 3)])
    vergences = np.concatenate([u.ravel(), behind.ravel()]).astype(np.float32)
    numbers = np.concatenate([number.ravel(), number_behind.ravel()])
    own = np.arange(u.size).reshape(u.shape)
    slices = []
    for i in np.unique(number):
        # For each pixel, the nearest surface that is not in front of the slice.
        top = np.where(number <= i, own, own + u.size)
        top = _nearest(top, numbers[top] <= i)
        covered = numbers[top] == i
        # The next slice may show the same surface, so continue into it without a seam.
        source = np.where(number == i + 1, own, top)
        # Beyond its rim the slice continues the vergence of the rim, which determines its motion.
        rim = _nearest(source, covered | (number == i + 1))
        rgba = np.concatenate([(colours[source] * covered[..., None]).transpose(2, 0, 1), covered[None]])
        slices.append(_Slice(torch.from_numpy(rgba.astype(np.float32)), torch.from_numpy(vergences[rim][None])))
    return slices


def _nearest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (H, W), with unknown ones replaced by the nearest known value."""
    if known.all() or not known.any():
        return values
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(labels.max() + 1, values.dtype)
    value_of[labels[known]] = values[known]
    return value_of[labels]
