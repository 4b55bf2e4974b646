"""The card of trained weights: network, data, training and validation figures."""

from __future__ import annotations

from pathlib import Path

import torch

from dfd_ros.core.files import write_text
from dfd_ros.core.machine import device_name
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.backends import uses_bf16
from dfd_ros.networks import Network
from dfd_ros.training.config import TrainingConfig


def write_card(
    path: Path,
    network: Network,
    config: TrainingConfig,
    device: torch.device,
    step: int,
    hours: float,
    figures: dict[str, float],
) -> None:
    """Write the card, as Markdown.

    Args:
        step: optimiser steps of these weights; hours: time spent in them.
        figures: of their validation.
    """
    parameters = sum(p.numel() for p in network.parameters())
    data = []
    if config.stacks:
        data.append(
            f'focal stacks without truth in `{config.stacks}`; the last {config.held_out:.0%} held out for validation'
        )
    elif not config.shards or config.shards_share < 1:
        data.append('procedural focal stacks (`dfd_ros/synthesis`)')
    if config.shards:
        share = '' if config.shards_share == 1 else f', {config.shards_share:.0%} of the sequences'
        held_out = f'; the last {config.held_out:.0%} held out for validation' if config.held_out else ''
        data.append(f'samples in `{config.shards}`{share}{held_out}')
    precision = 'bf16' if uses_bf16(config.precision, device) else 'fp32'
    stages = '; '.join(
        f'up to {stage.until:.0%}: {stage.batch} sequences of {stage.frames} frames of {stage.crop}x{stage.crop}'
        for stage in config.stages
    )
    rows = [
        ('network', f'{config.network}, {parameters:,} parameters'),
        ('data', ' and '.join(data)),
        ('started from', f'`{config.initial_weights}`' if config.initial_weights else 'random weights'),
        ('steps', f'{step:,} of {config.steps:,} ({stages})'),
        ('time in steps', f'{hours:.2f} h on {device_name(device)}, {precision}'),
        *((f'validation: {name}', f'{value:.4f}') for name, value in figures.items()),
    ]
    write_text(path, f'# {config.name}\n\n' + table(('', ''), rows) + '\n')
