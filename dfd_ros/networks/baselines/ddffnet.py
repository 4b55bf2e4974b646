"""DDFFNet: one encoder-decoder processes each frame of a focal stack, then a layer combines the frames.

Hazirbas et al., "Deep Depth From Focus" (ACCV 2018), the variant CC3: the encoder is the convolutional part of
VGG-16 (Simonyan and Zisserman 2015) with batch normalisation, the decoder its mirror image with transposed
convolutions, and the features of the third stage are concatenated to the decoder's. Differences: the encoder is not
pretrained on ImageNet, the last layer of the decoder is a plain convolution, and images can have any size.
"""

from __future__ import annotations

import torch
from torch import nn

from dfd_ros.networks.stack_network import StackNetwork, conv_bn, expand_coc, scaled, up_bn

CHANNELS = (64, 128, 256, 512, 512)
LAYERS = (2, 2, 3, 3, 3)
DROPOUT_FROM = 3
"""The first stage, counted from 1, with dropout."""


class Encoder(nn.Module):
    """VGG-16 without its fully connected layers: five stages, each pooled to half the resolution.

    Args:
        width: factor for the channels of all layers, 1 = VGG-16.
        dropout: probability after pooling in stages 3 to 5.
    """

    STRIDE = 2 ** len(CHANNELS)

    def __init__(self, width: float, dropout: float):
        super().__init__()
        self.channels = scaled(CHANNELS, width)
        inputs = [3, *self.channels]
        self.stages = nn.ModuleList(
            nn.Sequential(conv_bn(i, o), *(conv_bn(o, o) for _ in range(layers - 1)))
            for i, o, layers in zip(inputs, self.channels, LAYERS)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropouts = nn.ModuleList(
            nn.Dropout(dropout if stage >= DROPOUT_FROM else 0) for stage in range(1, len(CHANNELS) + 1)
        )

    def forward(self, x: torch.Tensor):
        """(n, 3, H, W) to the code (n, C5, H/32, W/32), and the output of each stage before pooling."""
        skips = []
        for stage, dropout in zip(self.stages, self.dropouts):
            skips.append(stage(x))
            x = dropout(self.pool(skips[-1]))
        return x, skips


class Decoder(nn.Module):
    """The encoder's mirror image.

    Args:
        outputs: channels of the result.
        skip: the stage, counted from 1, whose features are concatenated; None = no stage.
    """

    def __init__(self, width: float, dropout: float, outputs: int, skip: int | None):
        super().__init__()
        self.skip = skip
        channels = scaled(CHANNELS, width)
        self.ups, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage in range(len(CHANNELS), 0, -1):
            here, next_ = channels[stage - 1], channels[max(stage - 2, 0)]
            self.ups.append(up_bn(here, here))
            widths = [here * (1 + (stage == skip)), *[here] * (LAYERS[stage - 1] - 1)]
            layers: list[nn.Module] = [conv_bn(i, here) for i in widths[:-1]]
            layers.append(conv_bn(widths[-1], next_) if stage > 1 else nn.Conv2d(widths[-1], outputs, 3, padding=1))
            self.stages.append(nn.Sequential(*layers, nn.Dropout(dropout if stage >= DROPOUT_FROM else 0)))

    def forward(self, code: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """The code (n, C5, H/32, W/32), and features to concatenate, to (n, outputs, H, W)."""
        x = code
        for stage, up, layers in zip(range(len(CHANNELS), 0, -1), self.ups, self.stages):
            x = up(x)
            x = layers(x if skip is None or stage != self.skip else torch.cat([x, skip.to(x.dtype)], 1))
        return x


class DDFFNet(StackNetwork):
    """See the module's docstring; the interface is that of `dfd_ros.networks`.

    Args:
        frames: frames of a stack; the last layer has a weight for each.
        width: factor for the channels of all layers, 1 = VGG-16.
        dropout: probability.
        coc: add a second decoder, which predicts the CoC in each frame from the code of that frame.
    """

    STRIDE = Encoder.STRIDE

    def __init__(self, frames: int = 4, width: float = 1.0, dropout: float = 0.5, coc: bool = False):
        super().__init__(frames, coc, width)
        self.encoder = Encoder(width, dropout)
        self.decoder = Decoder(width, dropout, 1, skip=3)
        self.score = nn.Conv2d(frames, 1, 1)
        self.coc_decoder = Decoder(width, dropout, 1, skip=3) if coc else None

    def stack(self, images, focus, blur_scale):
        x = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        code, skips = self.encoder(x)
        scores = self.decoder(code, skips[2]).view(len(images), self.frames, *images.shape[-2:])
        coc = None
        if self.coc_decoder is not None:
            coc = expand_coc(self.coc_decoder(code, skips[2])).unflatten(0, (len(images), self.frames))
        return self.score(scores), coc
