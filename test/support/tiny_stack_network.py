"""A small network that reads a stack of frames at once, for the tests of the training and of the study."""

import torch
from torch import nn

from dfd_ros.core.errors import InputError
from dfd_ros.networks import Network, Prediction


class TinyStackNetwork(Network):
    """u from all frames of a stack and their focus, by two convolutions and dropout.

    size: the only image size that it takes.
    """

    reads_stacks = True

    def __init__(self, frames: int = 4, channels: int = 8, size: tuple[int, int] | None = None):
        super().__init__()
        self.frames, self.size = frames, size
        self.layers = nn.Sequential(
            nn.Conv2d(4 * frames, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(channels, 1, 3, padding=1),
        )
        self.register_buffer('log_error', torch.zeros(()))

    @torch.no_grad()
    def record_error(self, vergence, truth):
        self.log_error.lerp_((vergence.float() - truth).abs().nanmean().log(), 0.1)

    def stack(self, images, focus):
        if self.size is not None and list(images.shape[-2:]) != list(self.size):
            raise InputError(f'tiny_stack: built for images of {self.size[1]}x{self.size[0]}')
        focus = focus[..., None, None, None].expand(-1, -1, 1, *images.shape[-2:])
        return self.layers(torch.cat([images, focus], 2).flatten(1, 2)).float()

    def _prediction(self, u):
        return Prediction(u, self.log_error.expand_as(u), torch.full_like(u, torch.nan))

    def sequence(self, images, focus, blur_scale, *state, decode=None):
        if images.shape[1] != self.frames:
            raise InputError(f'tiny_stack: takes {self.frames} frames, not {images.shape[1]}')
        u = self.stack(images, focus)[:, None].expand(-1, len(decode), -1, -1, -1)
        return self._prediction(u), [], []

    def forward(self, image, focus, blur_scale, *state):
        map_ = torch.cat([image, focus[:, None, None, None].expand(-1, 1, *image.shape[-2:])], 1)
        buffer, held = state or (map_[:, :0], torch.full_like(map_[:, :1], torch.nan))
        buffer = torch.cat([buffer, map_], 1)
        if buffer.shape[1] == 4 * self.frames:
            frames = buffer.unflatten(1, (self.frames, 4))
            held, buffer = self.stack(frames[:, :, :3], frames[:, :, 3, 0, 0]), buffer[:, :0]
        return self._prediction(held), buffer, held
