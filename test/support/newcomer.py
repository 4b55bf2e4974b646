"""A network of one's own that only writes `forward`; downsampling, and a state at half the resolution."""

import math  # noqa: F401  a name in this module that is no class

import torch
import torch.nn.functional as F
from torch import nn

from dfd_ros.networks import Network, Prediction, signed_coc


class Newcomer(Network):
    def __init__(self, channels: int = 8):
        super().__init__()
        self.remember = nn.Conv2d(4 + channels, channels, 3, padding=1)
        self.decode = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, image, focus, blur_scale, *state):
        v = focus[:, None, None, None].expand_as(image[:, :1])
        seen = F.avg_pool2d(torch.cat([image, v], 1), 2)
        memory = state[0] if state else seen.new_zeros(len(seen), self.decode.in_channels, *seen.shape[-2:])
        memory = torch.tanh(self.remember(torch.cat([seen, memory], 1)))
        maps = F.interpolate(self.decode(memory).float(), scale_factor=2.0, mode='bilinear')
        u, log_scale = maps.split(1, 1)
        return Prediction(u, log_scale, signed_coc(u, focus, blur_scale)), memory
