"""A tiny network, and a training configuration of it on samples, which runs until it is stopped."""

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
