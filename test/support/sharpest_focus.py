"""A network that learns nothing: simple enough to know what must come out of the estimator."""

import math

import torch
import torch.nn.functional as F

from dfd_ros.networks import Network, Prediction


class SharpestFocus(Network):
    """Depth from focus by hand: the focus at which each place was sharpest so far. State (B, 2, H/4, W/4)."""

    def initial_state(self, batch, height, width, device='cpu'):
        return [torch.zeros(batch, 2, height // 4, width // 4, device=device)]

    def forward(self, image, focus, blur_scale, *state):
        best, at = (state or self.initial_state(len(image), *image.shape[2:], image.device))[0].split(1, 1)
        grey = image.mean(1, keepdim=True)
        energy = F.avg_pool2d((grey - F.avg_pool2d(grey, 3, 1, 1)) ** 2, 4)
        energy = F.avg_pool2d(energy, 3, 1, 1)
        v = focus[:, None, None, None]
        better = energy > best
        best, at = torch.where(better, energy, best), torch.where(better, v, at)
        u = F.interpolate(at, size=image.shape[2:], mode='nearest')
        coc = blur_scale[:, None, None, None] * (u - v)
        return Prediction(u, torch.full_like(u, math.log(0.05)), coc), torch.cat([best, at], 1)
