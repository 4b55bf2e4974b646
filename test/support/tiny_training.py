"""A tiny network, and training configurations of it on samples; one runs until it is stopped."""

from pathlib import Path

BLENDER = Path(__file__).parents[1] / 'data' / 'blender'
TINY = {'channels': [8, 8, 8, 8], 'hypotheses': 6, 'kinds': [1, 2, 1], 'hidden': [4, 4]}

ENDLESS = f"""\
name: tiny
network_config: {TINY}
steps: 1000000
precision: fp32
stages: [{{crop: 32, batch: 1, frames: 4, decode: 2}}]
half_size: 0.0
held_out: 0.3
validation: samples
validate_every: 10
save_every: 5
"""


def on_samples(batch=2, frames=4, **changes):
    """A configuration on the three samples of `BLENDER`."""
    from dfd_ros.training.config import Stage, TrainingConfig  # here, as conftest.py imports this module

    settings = {'stages': (Stage(crop=32, batch=batch, frames=frames, decode=2),), 'network_config': TINY}
    settings |= {'name': 'tiny', 'precision': 'fp32', 'shards': str(BLENDER), 'readers': 0}
    settings |= {'held_out': 0.3, 'validation': 'samples', 'validate_stacks': 1}
    return TrainingConfig(**settings | changes)
