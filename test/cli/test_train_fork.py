"""`dfd train --fork`: another run from the weights of one."""

import pytest
from command_line import dfd
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.training import loop
from dfd_ros.training.loop import Trained


@pytest.fixture
def trained(monkeypatch):
    """The runs that would have been trained: folder and configuration."""
    runs = []

    def train(config, folder, *_):
        runs.append((folder, config))
        return Trained(folder / 'best.safetensors', 1, True, 0)

    monkeypatch.setattr(loop, 'train', train)
    return runs


def test_a_fork_keeps_the_weights_that_it_started_from(trained, tmp_path, capsys):
    first, copy = tmp_path / 'stream' / 'last.safetensors', tmp_path / 'mine' / 'initial.safetensors'
    command = 'train', 'stream', 'steps=7', 'mse=5', '--out', tmp_path, '--fork', 'mine'
    assert dfd(*command) == 2
    assert f'{first.parent}: has no weights yet' in capsys.readouterr().err and not copy.exists()
    first.parent.mkdir()
    networks.save(first, networks.create('stream', **TINY))
    content = first.read_bytes()
    for _ in range(2):  # the second resumes it, whatever has become of the first run
        assert dfd(*command) == 0
        assert copy.read_bytes() == content
        first.write_bytes(b'')
    for folder, config in trained:
        assert folder == tmp_path / 'mine' and config.name == 'mine' and config.initial_weights == str(copy)
        assert config.steps == 7 and config.mse == 5


@pytest.mark.parametrize(
    'options, says',
    [
        (['--fork', 'stream'], '--fork stream: is the name of the run itself, give another'),
        (['--fork', '../evil'], "name: '../evil' is not the name of a folder"),
        (['--fork', 'a', '--weights', 'w'], '--fork a: starts from the weights of stream, leave out those given'),
    ],
)
def test_forks_that_cannot_be_are_one_line(trained, tmp_path, capsys, options, says):
    assert dfd('train', 'stream', *options, '--out', tmp_path / 'runs') == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1 and not trained and not (tmp_path / 'runs').exists()
