"""The network that a training starts from, its average over steps, and its optimiser."""

from __future__ import annotations

import torch

from dfd_ros import networks
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.networks import Network
from dfd_ros.training.config import TrainingConfig


def starting_network(config: TrainingConfig, device: torch.device) -> Network:
    """The network of a configuration, new or from its initial weights, on a device and in training mode.

    Raises:
        InputError: the network does not exist, or does not fit the rest of the configuration.
    """
    torch.manual_seed(config.seed)
    if config.initial_weights:
        weights = networks.default_weights() if config.initial_weights == 'default' else config.initial_weights
        network = networks.load(weights, network=config.network, changes=config.network_config)
    else:
        network = networks.create(config.network, **config.network_config)
    network = network.to(device).train()
    if config.validation == 'presets' and network.reads_stacks:
        raise InputError(
            f'network {config.network}: reads stacks of {network.frames} frames, the validation presets '
            'have ten; set validation: data'
        )
    if config.coc and not network.decodes_coc:
        raise InputError(
            f'coc: {config.coc}, but the network {config.network} has no decoder for the circle of '
            'confusion as it is configured: set coc: 0'
            + (', or network_config: {coc: true}' if 'coc' in network.config else '')
        )
    _try(network, config, device)
    return network


def average_of(network: Network, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """The running mean of a network's weights over about 1 / (1 - decay) steps, over fewer at first."""
    return torch.optim.swa_utils.AveragedModel(
        network,
        use_buffers=True,
        avg_fn=lambda mean, new, n: _running_mean(mean, new, min(decay, (1 + int(n)) / (10 + int(n)))),
    )


def optimiser_of(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW. Biases have no weight decay."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [{'params': matrices, 'weight_decay': config.weight_decay}, {'params': biases, 'weight_decay': 0.0}],
        config.learning_rate,
        (0.9, 0.99),
    )


def _try(network: Network, config: TrainingConfig, device: torch.device) -> None:
    """Refuse an impossible configuration before stacks are rendered, by running the network on one sequence. Does not
    affect training."""
    for stage in config.stages:
        images = torch.zeros(1, stage.frames, 3, stage.crop, stage.crop, device=device)
        focus = torch.linspace(0, 1, stage.frames, device=device)[None]
        try:
            with torch.no_grad():
                network.eval().sequence(images, focus, focus.new_full((1,), 10.0), decode=[stage.frames - 1])
        except InputError:
            raise
        except Exception as error:  # layers raise many types
            raise InputError(
                f'network "{config.network}" with {quoted(network.config)}: cannot read {stage.frames} frames of '
                f'{stage.crop}x{stage.crop} ({reason(error)})'
            ) from error
        finally:
            network.train()


def _running_mean(mean: torch.Tensor, new: torch.Tensor, decay: float) -> torch.Tensor:
    return mean + (new - mean) * (1 - decay) if mean.is_floating_point() else new
