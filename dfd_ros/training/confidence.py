"""Calibrates confidence: corrects the scale b that a network predicts, on stacks that it was not trained on.

After Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017): the confidences of a network have the right
order but are too high or too low. The correction log b -> slope * log b + offset keeps the order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from dfd_ros import networks
from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.networks.network import Network
from dfd_ros.synthesis.procedural import StackBatch, render_stack
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.sample_sequences import evenly_spaced, held_out

_FIRST_SEED = 1_100_000_000
_PIXELS = 4000  # per frame
_SLOPES = (0.2, 5.0)


@dataclass(frozen=True)
class Correction:
    """log b becomes slope * log b + offset."""

    slope: float
    offset: float


def fit(log_scale: torch.Tensor, error: torch.Tensor, within: float = CONFIDENT_ERROR) -> Correction:
    """The correction with the maximum likelihood of 1 - exp(-within / b), the predicted probability of an error of at
    most `within`.

    Args:
        log_scale, error: (N,) predicted log b and error of u, per pixel.
    """
    right = (error <= within).double()
    log_scale = log_scale.double()
    middle = log_scale.mean()
    # Log of the slope, and the offset at the mean of log b, which hardly depends on the slope.
    free = torch.zeros(2, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=100, line_search_fn='strong_wolfe')

    def loss():
        optimiser.zero_grad()
        slope = free[0].exp().clamp(*_SLOPES)
        rate = within * torch.exp(-(slope * (log_scale - middle) + middle + free[1]))
        # -log(1 - exp(-rate)) for right pixels, -log(exp(-rate)) for wrong ones.
        value = (-right * torch.log(-torch.expm1(-rate.clamp_min(1e-9))) + (1 - right) * rate).mean()
        value.backward()
        return value

    optimiser.step(loss)
    slope = free[0].exp().clamp(*_SLOPES).item()
    return Correction(slope, middle.item() * (1 - slope) + free[1].item())


@torch.no_grad()
def _errors(network: Network, stack: StackBatch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(log b, error of u), each (N,), of random pixels with ground truth in the swept range, in all frames except the
    first, after which only one focus is known."""
    stack = stack.to(device)
    frames = list(range(1, stack.images.shape[1]))
    prediction = network.sequence(stack.images.float() / 255, stack.focus, stack.blur_scale, decode=frames)[0]
    truth = stack.vergence[:, frames].float()
    error = torch.where((truth >= 0) & (truth <= 1), (prediction.vergence - truth).abs(), torch.nan)
    log_scale, error = (map_[0].flatten(1).cpu() for map_ in (prediction.log_scale, error))
    picked = torch.randperm(error.shape[1], generator=torch.Generator().manual_seed(0))[:_PIXELS]
    known = torch.isfinite(error[:, picked])
    return log_scale[:, picked][known], error[:, picked][known]


def correct(network: Network, stacks: Iterable[StackBatch], device: torch.device) -> Correction:
    """Fit the correction on stacks with ground truth, and apply it to the weights of the network."""
    network.eval()
    log_scales, errors = zip(*(_errors(network, stack, device) for stack in stacks))
    correction = fit(torch.cat(log_scales), torch.cat(errors))
    network.correct_log_scale(correction.slope, correction.offset)
    return correction


def held_out_stacks(config: TrainingConfig) -> Iterable[StackBatch]:
    """`validate_stacks` stacks like those of the training, but unseen: held-out samples, or procedural stacks."""
    if config.shards:
        indices = evenly_spaced(held_out(config), config.validate_stacks)
        return (to_stack_batch(config.samples[index]) for index in indices)
    return (render_stack(_FIRST_SEED + index, config.data) for index in range(config.validate_stacks))


def correct_file(path: Path, config: TrainingConfig, device: torch.device) -> Correction | None:
    """Correct the weights in a file, once. None if the network does not learn its scale, nothing is held out, or the
    file has been corrected."""
    with networks.opened(path) as file:
        metadata = file.metadata
    if 'confidence' in metadata or config.stacks or (config.shards and not config.held_out):
        return None
    network = networks.load(path, device, config.network)
    if not network.learns_log_scale:
        return None
    correction = correct(network, held_out_stacks(config), device)
    networks.save(path, network, {**metadata, 'confidence': json.dumps(vars(correction))})
    return correction
