"""The base class of networks that read focal stacks, `StackNetwork`, and their building blocks.

Such a network predicts depth when it has all frames of a stack. In the interface of `dfd_ros.networks`, its state holds
the frames so far and the last depth map, which it returns until the next one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from dfd_ros.core.errors import InputError
from dfd_ros.networks import Network, Prediction, signed_coc

MIN_SPAN = 0.75
"""Minimum share of the range that the focus of a stack covers."""


class StackNetwork(Network):
    """Base of networks that read stacks of a fixed number of frames.

    A subclass sets `STRIDE` and implements `stack`. State: the frames of the current stack (B, 4 n, H, W), each as RGB
    and a constant map of its focus, with no channels at the start of a stack; and the last depth map (B, 2, H, W): u
    times its weight, and its weight, zero if unknown. Frames may come in any order: they are sorted by focus.

    Args:
        frames: frames of a stack.
        coc: whether it has a decoder for the circle of confusion.
        width: factor for the channels of all layers.
    """

    reads_stacks = True
    frames: int
    log_error: torch.Tensor
    STRIDE: int
    RECORD_MEMORY = 0.99

    def __init__(self, frames: int, coc: bool, width: float):
        super().__init__()
        if frames < 2:
            raise InputError(f'frames: {frames}, a stack has at least 2')
        if not width > 0:
            raise InputError(f'width: {width} must be above 0')
        self.frames, self.decodes_coc = frames, coc
        self.register_buffer('log_error', torch.tensor(math.log(0.25)))  # before training: u is anywhere in 0..1

    def stack(self, images: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor):
        """Predict for one stack.

        Args:
            images: (B, N, 3, H, W), H and W multiples of `STRIDE`; focus: (B, N), rising; blur_scale: (B,).

        Returns:
            u (B, 1, H, W); the signed CoC (px) in each frame (B, N, 1, H, W), None without a decoder for it.
        """
        raise NotImplementedError

    def check_frames(self, total: int) -> None:
        if total % self.frames:
            raise InputError(
                f'network {self.name}: sequences of {total} frames, but it reads stacks of '
                f'{self.frames}: give a multiple of that'
            )

    @torch.no_grad()
    def record_error(self, vergence: torch.Tensor, truth: torch.Tensor) -> None:
        """Add the error of a training step to the running mean that `log_scale` returns. NaN does not count.

        Args:
            vergence, truth: u, of one shape.
        """
        error = (vergence.float() - truth).abs()
        valid = torch.isfinite(error)
        mean = torch.where(valid, error, 0).sum() / valid.sum().clamp_min(1)
        mean = torch.where(valid.any(), mean, self.log_error.exp())
        self.log_error.copy_(torch.lerp(mean, self.log_error.exp(), self.RECORD_MEMORY).clamp_min(1e-6).log())

    def initial_state(self, batch: int, height: int, width: int, device='cpu') -> list[torch.Tensor]:
        """The state before the first frame of (height, width): no frame, and no depth."""
        return [torch.zeros(batch, channels, height, width, device=device) for channels in (0, 2)]

    def forward(self, image: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor, *state: torch.Tensor):
        """One frame, see `dfd_ros.networks`. Returns (Prediction, *state).

        u is NaN before the first stack is complete. The decoder predicts the CoC of the last frame of a stack; that of
        other frames, and without a decoder, is k (u - v), which is NaN if k is unknown.

        Raises:
            InputError: the network cannot take images of this size.
        """
        u, cocs, read = self._read(image, focus, blur_scale, state)
        coc = signed_coc(u, focus, blur_scale) if cocs is None else cocs[:, -1]
        return Prediction(u, self._log_scale(u), coc), *read

    def sequence(
        self,
        images: torch.Tensor,
        focus: torch.Tensor,
        blur_scale: torch.Tensor,
        *state: torch.Tensor,
        decode: list[int] | None = None,
    ):
        """As `Network.sequence`, of consecutive stacks and without logits.

        The result is that of `forward` for each frame, except for the CoC of a network with a decoder for it: here the
        decoder predicts it for every frame of a completed stack, so that all of them can be trained.

        Raises:
            InputError: T is not a multiple of `frames`, or the network cannot take images of this size.
        """
        total = images.shape[1]
        self.check_frames(total)
        maps: list[torch.Tensor] = []
        cocs: list[torch.Tensor] = []
        for t in range(total):
            u, decoded, state = self._read(images[:, t], focus[:, t], blur_scale, state)
            maps.append(u)
            cocs.append(signed_coc(u, focus[:, t], blur_scale))
            if decoded is not None:
                here = min(t + 1, self.frames)  # earlier frames of the stack are not in this sequence
                cocs[-here:] = decoded.unbind(1)[-here:]
        wanted = range(total) if decode is None else decode
        u, coc = (torch.stack([a[t] for t in wanted], 1) for a in (maps, cocs))
        return Prediction(u, self._log_scale(u), coc), [], list(state)

    def _log_scale(self, u: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(u.detach()) + self.log_error

    def _read(self, image, focus, blur_scale, state):
        """Read one frame. Returns u; the CoC in each frame, in order of arrival, of a stack that this frame completes,
        otherwise None; and the state."""
        self.check_size(*image.shape[-2:])
        frames, held = state or self.initial_state(len(image), image.shape[-2], image.shape[-1], image.device)
        v = focus[:, None, None, None].expand_as(image[:, :1])
        frames = torch.cat([frames, image.float(), v.float()], 1)
        cocs = None
        if frames.shape[1] == 4 * self.frames:
            u, cocs = self._estimate(frames.unflatten(1, (self.frames, 4)), blur_scale)
            frames, held = frames[:, :0], torch.cat([u, torch.ones_like(u)], 1)
        held_u, weight = held.split(1, 1)
        u = torch.where(weight > 0.5, held_u / weight.clamp_min(0.5), math.nan)
        return u, cocs, (frames, held)

    def _estimate(self, frames: torch.Tensor, blur_scale: torch.Tensor):
        batch, _, _, height, width = frames.shape
        focus = _constant(frames[:, :, 3])
        order = focus.argsort(dim=1, stable=True)
        rows = torch.arange(batch, device=frames.device)[:, None]
        images = frames[rows, order, :3]
        pad = (0, -width % self.STRIDE, 0, -height % self.STRIDE)
        if any(pad):
            images = F.pad(images.flatten(0, 1), pad, mode='replicate').unflatten(0, (batch, self.frames))
        u, coc = self.stack(images, focus[rows, order], blur_scale)
        if coc is not None:
            coc = coc[rows, order.argsort(dim=1), :, :height, :width].float()
        return u[..., :height, :width].float(), coc


def check_stack(name: str, frames: int, focus: list[float]) -> None:
    """Check a focal stack for a network that reads stacks of `frames` frames.

    Args:
        focus: of the frames, scaled to 0..1 over the range of the stack.

    Raises:
        InputError: it does not consist of sweeps of that many frames, each across the range.
    """
    takes = f'give a stack of {frames} frames from the far to the near end, or several such stacks in a row'
    if len(focus) % frames:
        raise InputError(f'network {name}: reads stacks of {frames} frames, this one has {len(focus)}: {takes}')
    for first in range(0, len(focus), frames):
        part = focus[first : first + frames]
        if max(part) - min(part) < MIN_SPAN:
            raise InputError(
                f'network {name}: reads stacks of {frames} frames, and frames {first + 1} to '
                f'{first + frames} cover only {max(part) - min(part):.0%} of the range: {takes}'
            )


def scaled(channels: tuple[int, ...], width: float) -> list[int]:
    """Numbers of channels times `width`, at least 1."""
    return [max(1, round(c * width)) for c in channels]


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, slope: float = 0.0) -> nn.Sequential:
    """Convolution, batch normalisation (Ioffe and Szegedy 2015) and leaky ReLU with `slope` (0 = ReLU)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(slope, inplace=True),
    )


def up_bn(inputs: int, outputs: int, slope: float = 0.0) -> nn.Sequential:
    """Transposed convolution that doubles the resolution, batch normalisation, leaky ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(slope, inplace=True),
    )


def expand_coc(compressed: torch.Tensor) -> torch.Tensor:
    """CoC c (px) from the output asinh(c / 4) of a decoder: linear near the focus, at most about 300 px."""
    return 4 * torch.sinh(compressed.float().clamp(-5, 5))


def _constant(map_: torch.Tensor) -> torch.Tensor:
    """The value (B, N) of constant maps (B, N, H, W), which warping may have filled with zeros at the border."""
    low, high = map_.flatten(2).aminmax(dim=2)
    return torch.where(high > -low, high, low)
