"""LSTM-DDFF: DDFFNet with a recurrent module between its encoder and its decoder.

After "Deep Learning for Video Depth Estimation from Defocus": the encoder of DDFFNet
(`dfd_ros.networks.baselines.ddffnet`) processes each frame, a long short-term memory (Hochreiter and Schmidhuber 1997)
reads the codes of the frames, and its last output is decoded, once per stack. There are two ways to turn codes into
vectors:

* `fully_connected`: the code of a frame, C x H x W, is one vector. One large LSTM reads a vector per frame, and a fully
  connected layer turns its last output into a code.
* `stacking`: each feature map, H x W, is a vector. An LSTM of two layers reads the maps of all frames in turn. Its
  outputs have the length of the vectors, so those for the maps of the last frame form a code. The order is feature by
  feature: if all maps of a frame came in a row, an earlier frame would be hundreds of steps back and forgotten.

The length of the vectors depends on the image size, so each network takes images of one size only.
"""

from __future__ import annotations

import torch
from torch import nn

from dfd_ros.core.errors import InputError
from dfd_ros.networks.baselines.ddffnet import Decoder, Encoder
from dfd_ros.networks.stack_network import StackNetwork, conv_bn, expand_coc, scaled

KINDS = ('fully_connected', 'stacking')
HIDDEN = 2048


class FullyConnected(nn.Module):
    """Codes (B, N, C, h, w) of N frames to one code (B, C, h, w); each code is one vector."""

    def __init__(self, code: tuple[int, int, int], hidden: int):
        super().__init__()
        self.code = code
        channels, height, width = code
        length = channels * height * width
        self.lstm = nn.LSTM(length, hidden, batch_first=True)
        self.fully_connected = nn.Linear(hidden, length)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.lstm(codes.flatten(2))
        return self.fully_connected(outputs[:, -1]).unflatten(1, self.code)


class Stacking(nn.Module):
    """Codes (B, N, C, h, w) of N frames to one code (B, C, h, w); each feature map is one vector."""

    def __init__(self, code: tuple[int, int, int]):
        super().__init__()
        self.code = code
        _channels, height, width = code
        self.lstm = nn.LSTM(height * width, height * width, num_layers=2, batch_first=True)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        frames = codes.shape[1]
        outputs, _ = self.lstm(codes.flatten(3).transpose(1, 2).flatten(1, 2))
        return outputs[:, frames - 1 :: frames].unflatten(2, self.code[1:])


class LSTMDDFF(StackNetwork):
    """See the module's docstring; the interface is that of `dfd_ros.networks`.

    Args:
        frames: frames of a stack.
        width: factor for the channels of all layers, 1 = VGG-16, and for the size of the large LSTM, 1 = 2048.
        dropout: probability.
        coc: add a second decoder, which predicts the CoC in all frames from the common code.
        kind: `fully_connected` or `stacking`.
        size: (H, W) of the images.
        skip_module: concatenate the features of the last encoder stage, aggregated over all frames by a convolution,
            to the decoder's; otherwise the decoder sees only the output of the LSTM.

    Raises:
        InputError: an argument is invalid.
    """

    STRIDE = Encoder.STRIDE

    def __init__(
        self,
        frames: int = 4,
        width: float = 1.0,
        dropout: float = 0.5,
        coc: bool = False,
        kind: str = 'fully_connected',
        size: tuple[int, int] = (256, 256),
        skip_module: bool = True,
    ):
        super().__init__(frames, coc, width)
        if kind not in KINDS:
            raise InputError(f'kind: "{kind}" must be one of {", ".join(KINDS)}')
        if len(size) != 2 or min(size) < 1:
            raise InputError(f'size: {list(size)} is not height and width in pixels')
        self.size = tuple(size)
        self.encoder = Encoder(width, dropout)
        channels = self.encoder.channels[-1]
        code = (channels, *(-(-n // self.STRIDE) for n in size))
        self.recurrent = Stacking(code) if kind == 'stacking' else FullyConnected(code, *scaled((HIDDEN,), width))
        self.skip_module = conv_bn(frames * channels, channels) if skip_module else None
        skip = len(self.encoder.channels) if skip_module else None
        self.decoder = Decoder(width, dropout, 1, skip)
        self.coc_decoder = Decoder(width, dropout, frames, skip) if coc else None

    def check_size(self, height: int, width: int) -> None:
        if (height, width) != self.size:
            raise InputError(
                f'network {self.name}: takes images of {self.size[1]}x{self.size[0]} only, these have '
                f'{width}x{height}: bring them to that size'
            )

    def stack(self, images, focus, blur_scale):
        x = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        codes, skips = self.encoder(x)
        with torch.autocast(x.device.type, enabled=False):  # bf16 is not accurate enough for thousands of steps
            code = self.recurrent(codes.float().unflatten(0, (len(images), self.frames)))
        skip = None
        if self.skip_module is not None:
            skip = self.skip_module(skips[-1].unflatten(0, (len(images), self.frames)).flatten(1, 2))
        coc = None
        if self.coc_decoder is not None:
            coc = expand_coc(self.coc_decoder(code, skip))[:, :, None]
        return self.decoder(code, skip), coc
