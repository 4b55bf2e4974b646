"""The recurrent autoencoder of the study: reads a focal stack frame by frame and decodes once at its end.

Chaitanya et al., "Interactive Reconstruction of Monte Carlo Image Sequences using a Recurrent Denoising
Autoencoder" (SIGGRAPH 2017): a U-Net (Ronneberger et al. 2015) with a recurrent convolutional block at every
encoder stage and at the bottleneck, leaky ReLU of slope 0.1. As "Deep Learning for Video Depth Estimation from
Defocus" modified it: batch normalisation, more feature channels, transposed convolution instead of upsampling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dfd_ros.networks.stack_network import StackNetwork, conv_bn, expand_coc, scaled, up_bn

CHANNELS = (32, 43, 57, 76, 101, 101)
"""Of the five encoder stages and the bottleneck, as in the paper."""
SLOPE = 0.1


class RecurrentBlock(nn.Module):
    """A convolution of the input, and two of its result with the hidden state, which is also the output.

    Each frame has separate normalisation statistics (Cooijmans et al., "Recurrent Batch Normalization", ICLR 2017),
    because the hidden state of the first frame is zero and that of the others is not. With common statistics, the error
    in evaluation was three times that in training.
    """

    def __init__(self, inputs: int, channels: int, frames: int):
        super().__init__()
        self.input = conv_bn(inputs, channels, slope=SLOPE)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, channels, 3, padding=1, bias=False) for i in (2 * channels, channels)
        )
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2)) for _ in range(frames))

    def step(self, x: torch.Tensor, hidden: torch.Tensor, t: int) -> torch.Tensor:
        """The hidden state after frame `t`; `x` is its convolved input."""
        x = torch.cat([x, hidden], 1)
        norms = self.norms[t]
        assert isinstance(norms, nn.ModuleList)
        for convolution, norm in zip(self.convolutions, norms):
            x = F.leaky_relu(norm(convolution(x)), SLOPE)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Consecutive frames (B, N, inputs, h, w) to (B, N, channels, h, w), from a hidden state of zeros."""
        frames = self.input(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        hidden = torch.zeros_like(frames[:, 0])
        outputs = []
        for t in range(x.shape[1]):
            hidden = self.step(frames[:, t], hidden, t)
            outputs.append(hidden)
        return torch.stack(outputs, 1)


class Decoder(nn.Module):
    """From the bottleneck to full resolution: in each stage double, concatenate the encoder's features, convolve."""

    def __init__(self, channels: list[int], outputs: int):
        super().__init__()
        self.ups, self.stages = nn.ModuleList(), nn.ModuleList()
        coarse = channels[-1]
        for here in channels[-2::-1]:
            self.ups.append(up_bn(coarse, here, SLOPE))
            self.stages.append(nn.Sequential(conv_bn(2 * here, here, slope=SLOPE), conv_bn(here, here, slope=SLOPE)))
            coarse = here
        self.output = nn.Conv2d(coarse, outputs, 3, padding=1)

    def forward(self, code: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        x = code
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips)):
            x = stage(torch.cat([up(x), skip], 1))
        return self.output(x)


class RecurrentAutoencoder(StackNetwork):
    """See the module's docstring; the interface is that of `dfd_ros.networks`.

    Args:
        frames: frames of a stack.
        width: factor for the channels of the paper.
        coc: add a second decoder, which predicts the CoC in all frames at the end of the stack.
    """

    STRIDE = 2 ** (len(CHANNELS) - 1)

    def __init__(self, frames: int = 4, width: float = 2.0, coc: bool = False):
        super().__init__(frames, coc, width)
        channels = scaled(CHANNELS, width)
        self.encoder = nn.ModuleList(RecurrentBlock(i, o, frames) for i, o in zip([3, *channels], channels))
        self.pool = nn.MaxPool2d(2)
        self.decoder = Decoder(channels, 1)
        self.coc_decoder = Decoder(channels, frames) if coc else None

    def stack(self, images, focus, blur_scale):
        x, skips = images, []
        # Stage by stage instead of frame by frame, so that layers without recurrence process all frames at once.
        for stage, block in enumerate(self.encoder):
            if stage:
                x = self.pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            x = block(x)
            skips.append(x[:, -1])
        *skips, code = skips
        coc = None
        if self.coc_decoder is not None:
            coc = expand_coc(self.coc_decoder(code, skips))[:, :, None]
        return self.decoder(code, skips), coc
