"""Statistics of batch normalisation for averaged weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from dfd_ros.networks import Network
from dfd_ros.synthesis.procedural import StackBatch

_NORMS = nn.modules.batchnorm._BatchNorm  # base class for all dimensions; torch's `update_bn` uses it too


def has_statistics(network: nn.Module) -> bool:
    """Whether a network has batch normalisation."""
    return any(isinstance(module, _NORMS) for module in network.modules())


@torch.no_grad()
def take_statistics(network: Network, batches: Iterable[StackBatch]) -> None:
    """Recompute the running mean and variance from some batches.

    Training leaves the statistics of the trained weights, but averaged weights have different ones (Izmailov et al.,
    "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018). All other layers, such as dropout,
    are in evaluation mode meanwhile.

    Args:
        batches: from `dfd_ros.training.sequences.TrainingData`.
    """
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    was_training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for batch in batches:
        network.sequence(batch.images, batch.focus, batch.blur_scale, decode=[batch.images.shape[1] - 1])
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    network.train(was_training)
