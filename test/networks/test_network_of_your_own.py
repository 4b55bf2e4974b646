"""Following docs/networks.md alone: its network trains, comes back, estimates and is exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import dfd
from documents import example

from dfd_ros import DepthEstimator, FocalStack, networks
from dfd_ros.core.errors import InputError
from dfd_ros.datasets.shards import Samples
from dfd_ros.training.config import load_config
from dfd_ros.training.loop import train

BLENDER = Path(__file__).parents[1] / 'data' / 'blender'
NAME = 'mynet:TinyNet'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The files that the document shows, and the weights of a few steps."""
    folder = tmp_path_factory.mktemp('newcomer')
    for name, language in (('mynet.py', 'python'), ('tiny.yaml', 'yaml')):
        (folder / name).write_text(example('networks.md', 'A network of your own', language))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        config = load_config(
            folder / 'tiny.yaml',
            steps=3,
            shards=str(BLENDER),
            held_out=0.3,
            validation='samples',
            validate_every=2,
            stages=[{'crop': 32, 'batch': 2, 'frames': 4, 'decode': 2}],
        )
        assert config.network == NAME
        train(config, folder / 'run', 'cpu')
        yield folder


def test_it_is_short():
    assert len(example('networks.md', 'A network of your own', 'python').strip().splitlines()) <= 20


@pytest.mark.slow(reason='a network is trained and validated')
def test_it_has_learned_and_is_validated(folder):
    weights = folder / 'run' / 'last.safetensors'
    network = networks.load(weights, network=NAME)
    assert (network.name, network.config) == (NAME, {'channels': 8})
    torch.manual_seed(0)
    assert not torch.equal(network.decode.weight, networks.create(NAME, channels=8).decode.weight)
    assert 'validation' in (folder / 'run' / 'log.jsonl').read_text()
    with pytest.raises(InputError, match='of the network "mynet:TinyNet", not of "stream"'):
        networks.load(weights, network='stream')


@pytest.mark.slow(reason='a network is exported')
def test_it_estimates_and_is_exported(folder):
    pytest.importorskip('onnxruntime')
    sample = Samples(BLENDER)[0]
    stack = FocalStack(list(sample.images), sample.lens_states)
    stack.write(folder / 'stack')
    options = ('--weights', folder / 'run' / 'best.safetensors', '--network', NAME)
    assert dfd('estimate', folder / 'stack', *options, '--device', 'cpu', '--out', folder / 'out') == 0
    assert dfd('export', *options, '--out', folder / 'tiny.onnx') == 0
    by_onnx = DepthEstimator(folder / 'tiny.onnx', backend='onnx', network=NAME).estimate_stack(stack)
    assert np.isfinite(by_onnx.vergence).all()
    by_torch = DepthEstimator(options[1], network=NAME, device='cpu', precision='fp32').estimate_stack(stack)
    np.testing.assert_allclose(by_onnx.vergence, by_torch.vergence, rtol=1e-3, atol=1e-3)
