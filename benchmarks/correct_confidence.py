"""Correct the confidence of weights that no single training has made, such as a mean of two.

    python benchmarks/correct_confidence.py IN.safetensors OUT.safetensors config/training/real.yaml --stacks 40

The stacks are drawn from the `data` of each configuration, with seeds of their own; see
`dfd_ros.training.confidence`, which `dfd train` applies at its end.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from _common import check, exit_with
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import require_writable
from dfd_ros.training.confidence import correct, held_out_stacks
from dfd_ros.training.config import load_config


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--stacks', type=int, default=40, help='of each configuration')
    options = parser.parse_args(arguments)
    check(options, stacks=1)
    require_writable(options.out)
    configs = [replace(load_config(path), validate_stacks=options.stacks) for path in options.configs]
    with networks.opened(options.weights) as file:
        metadata = file.metadata
    network = networks.load(options.weights)
    if not network.learns_log_scale:
        raise InputError(f'weights {options.weights}: the confidence of {network.name} cannot be corrected')
    stacks = chain(*(held_out_stacks(config) for config in configs))
    total = options.stacks * len(configs)
    correction = correct(network, tqdm(stacks, total=total, unit='stack'), torch.device('cpu'))
    networks.save(options.out, network, {**metadata, 'confidence': json.dumps(vars(correction))})
    print(f'log b becomes {correction.slope:.3f} log b {correction.offset:+.3f}')


if __name__ == '__main__':
    exit_with(main)
