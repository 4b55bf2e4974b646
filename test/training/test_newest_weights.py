"""What another run starts from: the checkpoint of a run, unless a validation has written newer weights."""

import pytest
import torch
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.training import checkpoint
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.newest_weights import write_newest_weights
from dfd_ros.training.starting_network import average_of, optimiser_of, starting_network

CONFIG = TrainingConfig(name='tiny', network_config=TINY, stages=(Stage(crop=32, batch=1, frames=3, decode=1),))


def save(run, step, value, config=CONFIG):
    """A checkpoint whose averaged weights are all `value`."""
    network = starting_network(config, torch.device('cpu'))
    average, optimiser = average_of(network, config.ema), optimiser_of(network, config)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.fill_(value)
    run.mkdir(exist_ok=True)
    checkpoint.save(run / 'checkpoint.pt', network, average, optimiser, checkpoint.Position(step), {})


@pytest.mark.parametrize(('validated', 'expected'), [(None, 0.25), (5, 0.25), (6, 0.5), (7, 0.5)])
def test_the_later_of_checkpoint_and_validation(tmp_path, validated, expected):
    run, out = tmp_path / 'tiny', tmp_path / 'other' / 'initial.safetensors'
    save(run, 6, 0.25)
    if validated is not None:
        network = networks.create('stream', **TINY)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(0.5)
        networks.save(run / 'last.safetensors', network, {'steps': str(validated)})
    write_newest_weights(run, CONFIG, out)
    assert all((parameter == expected).all() for parameter in networks.load(out).parameters())
    with networks.opened(out) as file:
        assert file.metadata['steps'] == str(max(validated or 0, 6))


def test_a_run_without_weights_and_one_of_another_network(tmp_path):
    run, out = tmp_path / 'tiny', tmp_path / 'initial.safetensors'
    with pytest.raises(InputError, match='has no weights yet; run tiny first'):
        write_newest_weights(run, CONFIG, out)
    larger = TrainingConfig(name='tiny', network_config={**TINY, 'hypotheses': 8}, stages=CONFIG.stages)
    save(run, 6, 0.25, larger)
    with pytest.raises(InputError, match='checkpoint.pt: not of the network of tiny'):
        write_newest_weights(run, CONFIG, out)
    torch.save({'average': {}}, run / 'checkpoint.pt')
    with pytest.raises(InputError, match='not a complete checkpoint'):
        write_newest_weights(run, CONFIG, out)
    (run / 'checkpoint.pt').write_bytes(b'no checkpoint')
    with pytest.raises(InputError, match='not a complete checkpoint'):
        write_newest_weights(run, CONFIG, out)
    assert not out.exists()
