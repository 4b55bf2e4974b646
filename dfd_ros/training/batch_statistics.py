"""Batch normalisation's statistics, of weights that were averaged."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from dfd_ros.networks import Network
from dfd_ros.synthesis.procedural import StackBatch

_NORMS = nn.modules.batchnorm._BatchNorm  # of all dimensions; torch's own `update_bn` uses it as well


def has_statistics(network: nn.Module) -> bool:
    """Whether anything in it normalises by statistics of a batch."""
    return any(isinstance(module, _NORMS) for module in network.modules())


@torch.no_grad()
def take_statistics(network: Network, batches: Iterable[StackBatch]) -> None:
    """Compute the running mean and variance anew, over all of some batches.

    Those that training leaves behind are of the weights that were trained, and the average of some weights has
    others (Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018). All
    else, such as dropout, is in evaluation mode meanwhile.

    Args:
        batches: of `dfd_ros.training.sequences.TrainingData`.
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
