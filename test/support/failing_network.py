"""A network whose next frame fails as a GPU does, or all of whose frames take long, where a file says so."""

import os
import time
from pathlib import Path

import torch

from dfd_ros.networks import Network, Prediction

SWITCH = 'DFD_ROS_TEST_FAILURE'
"""Names the file: 'slow', 'out of memory', or the text of a RuntimeError. A failure is removed as it is read."""
SLOW = 1e-5  # s a pixel


class FailingNetwork(Network):
    """u = brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image, focus, blur_scale, *state):
        file = Path(os.environ[SWITCH])
        if file.exists():
            text = file.read_text()
            if text == 'slow':
                time.sleep(SLOW * image.shape[-1] * image.shape[-2])
            else:
                file.unlink()
                raise torch.cuda.OutOfMemoryError('CUDA ' + text) if text == 'out of memory' else RuntimeError(text)
        u = image[:, :1] * self.weight
        return Prediction(u, u * 0 - 3, u * 0), u[..., ::8, ::8]
