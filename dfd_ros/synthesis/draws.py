"""A seeded source of random draws."""

from __future__ import annotations

import math

import torch


class Random:
    """Random draws on one device. The same seed gives the same draws."""

    def __init__(self, seed: int, device: str | torch.device = 'cpu'):
        self.device = torch.device(device)
        self._scalars = torch.Generator().manual_seed(seed)  # on the host, so a scalar does not wait for a GPU
        self._arrays = torch.Generator(self.device).manual_seed(seed ^ 0x5DEECE66D)

    def uniform(self, low: float, high: float, shape=None):
        """A float, or a tensor of `shape` (an int or a tuple), uniform in low..high."""
        if shape is None:
            return low + (high - low) * torch.rand((), generator=self._scalars).item()
        return low + (high - low) * torch.rand(shape, generator=self._arrays, device=self.device)

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self, *shape) -> torch.Tensor:
        return torch.randn(shape, generator=self._arrays, device=self.device)

    def integer(self, low: int, high: int) -> int:
        """low <= n < high."""
        return low + int(self.uniform(0, 1) * (high - low))

    def chance(self, probability: float) -> bool:
        return self.uniform(0, 1) < probability

    def choice(self, options):
        return options[self.integer(0, len(options))]

    def permutation(self, n: int) -> list[int]:
        return torch.randperm(n, generator=self._scalars).tolist()
