"""PoolNet: a network that treats the frames of a focal stack as a set.

Aittala and Durand, "Burst Image Deblurring Using Permutation Invariant Convolutional Neural Networks" (ECCV 2018):
the same U-Net processes every frame. Each stage concatenates the maximum of the features over all frames to those of
every frame; the end takes the maximum over all frames. As "Deep Learning for Video Depth Estimation from Defocus"
modified it: batch normalisation, fewer channels, no such pooling in the decoder.

The network does not know the order of the frames. One variant therefore reads the focus as a fourth channel of each
frame. Another has two networks in sequence (after Maximov et al., "Focus on Defocus", CVPR 2020): the first estimates
the circle of confusion in every frame, and the second depth from these.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from dfd_ros.core.errors import InputError
from dfd_ros.networks.stack_network import StackNetwork, conv_bn, expand_coc, scaled, up_bn

CHANNELS = (32, 48, 64, 96, 128)


class Pooling(nn.Module):
    """Concatenates the maximum features over all frames to each frame, and mixes them by a 1x1 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = conv_bn(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        """(B N, C, h, w), with the N frames of a stack in a row, to the same shape."""
        pooled = _greatest(x, frames).repeat_interleave(frames, 0)
        return self.mix(torch.cat([x, pooled], 1))


class Encoder(nn.Module):
    """Stages of two convolutions and a pooling; all except the first halve the resolution."""

    def __init__(self, inputs: int, channels: list[int]):
        super().__init__()
        first = nn.Sequential(conv_bn(inputs, channels[0]), conv_bn(channels[0], channels[0]))
        # Even kernels halve the resolution without shifting the coarse maps against the fine ones.
        rest = [nn.Sequential(conv_bn(i, o, 4, stride=2), conv_bn(o, o)) for i, o in itertools.pairwise(channels)]
        self.stages = nn.ModuleList([first, *rest])
        self.poolings = nn.ModuleList(Pooling(c) for c in channels)

    def forward(self, x: torch.Tensor, frames: int) -> list[torch.Tensor]:
        """(B N, inputs, H, W) to the features of each stage, finest first."""
        features = []
        for stage, pooling in zip(self.stages, self.poolings):
            x = pooling(stage(x), frames)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Separately for each frame: double the resolution, concatenate the encoder's features, convolve."""

    def __init__(self, channels: list[int]):
        super().__init__()
        down = list(zip(channels[:0:-1], channels[-2::-1]))
        self.ups = nn.ModuleList(up_bn(coarse, here) for coarse, here in down)
        self.stages = nn.ModuleList(conv_bn(2 * here, here) for _, here in down)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x = features[-1]
        for up, stage, skip in zip(self.ups, self.stages, features[-2::-1]):
            x = stage(torch.cat([up(x), skip], 1))
        return x


def _output(channels: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(channels, channels), nn.Conv2d(channels, 1, 3, padding=1))


class PoolNet(StackNetwork):
    """See the module's docstring; the interface is that of `dfd_ros.networks`.

    Args:
        frames: frames of a stack. The weights do not depend on it.
        width: factor for `CHANNELS`.
        coc: add a second decoder for the CoC in each frame, without the last pooling, which leaves one map.
        focus_channel: add the focus v as a channel of each frame.
        two_stage: two networks in sequence, see the module's docstring. The first one predicts the CoC.

    Raises:
        InputError: `coc` and `two_stage` are both set.
    """

    STRIDE = 2 ** (len(CHANNELS) - 1)

    def __init__(
        self,
        frames: int = 4,
        width: float = 1.0,
        coc: bool = False,
        focus_channel: bool = False,
        two_stage: bool = False,
    ):
        super().__init__(frames, coc or two_stage, width)
        if coc and two_stage:
            raise InputError('two_stage predicts the CoC already, leave out coc')
        channels = scaled(CHANNELS, width)
        self.focus_channel = focus_channel
        self.coc_encoder = Encoder(3 + focus_channel, channels) if two_stage else None
        self.coc_decoder = Decoder(channels) if coc or two_stage else None
        self.coc_output = _output(channels[0]) if coc or two_stage else None
        self.encoder = Encoder((1 if two_stage else 3) + focus_channel, channels)
        self.decoder = Decoder(channels)
        self.output = _output(channels[0])

    def stack(self, images, focus, blur_scale):
        batch, frames = images.shape[:2]
        x = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        coc = None
        if self.coc_encoder is not None:
            x = coc = self._coc(self.coc_encoder(self._with_focus(x, focus), frames))
        features = self.encoder(self._with_focus(x, focus), frames)
        if coc is None and self.coc_decoder is not None:
            coc = self._coc(features)
        u = self.output(_greatest(self.decoder(features), frames))
        return u, None if coc is None else expand_coc(coc).unflatten(0, (batch, frames))

    def _coc(self, features: list[torch.Tensor]) -> torch.Tensor:
        assert self.coc_decoder is not None and self.coc_output is not None
        return self.coc_output(self.coc_decoder(features))

    def _with_focus(self, x: torch.Tensor, focus: torch.Tensor) -> torch.Tensor:
        if not self.focus_channel:
            return x
        v = focus.flatten()[:, None, None, None].expand_as(x[:, :1])
        return torch.cat([x, v.to(x.dtype)], 1)


def _greatest(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(B N, C, h, w) to (B, C, h, w): the maximum over frames."""
    return x.unflatten(0, (-1, frames)).amax(1)
