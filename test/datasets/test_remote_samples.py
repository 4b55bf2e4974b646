"""Samples are read from a server as from a folder, whatever it does; nothing that is wrong is ever read."""

import contextlib
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import dfd
from faulty_server import FAULTS, serving
from tiny_training import BLENDER, on_samples

from dfd_ros.core import remote_files
from dfd_ros.core.errors import InputError
from dfd_ros.datasets import sample_index
from dfd_ros.datasets.shards import Samples, require_samples, shards
from dfd_ros.training.checkpoint import settings_of
from dfd_ros.training.loop import train
from dfd_ros.training.sample_sequences import SampleSequences
from dfd_ros.training.sequences import TrainingData

pytest.importorskip('aiohttp')
SHARD = 'some room/blender-000000.tar'
CONFIG = on_samples(steps=100)


@pytest.fixture
def folder(tmp_path):
    """A set with its index."""
    (tmp_path / 'set' / SHARD).parent.mkdir(parents=True)
    shutil.copy(BLENDER / 'blender-000000.tar', tmp_path / 'set' / SHARD)
    sample_index.write_index(tmp_path / 'set', shards(tmp_path / 'set'))
    return tmp_path / 'set'


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setattr(remote_files, '_WAITS', (0.0, 0.0))
    monkeypatch.setattr(remote_files, '_SLOWEST', 1e12)
    with serving(folder) as server:
        yield server


@pytest.fixture
def fault(request, monkeypatch):
    """Of the server; only for a slow one is there little patience, as a busy machine is slow too."""
    if request.param == 'slow':
        monkeypatch.setattr(remote_files, '_PATIENCE', 1.0)
    return request.param


def assert_same(one, other, *steps: int) -> None:
    for step in steps or range(3):
        (places, sequences), (other_places, other_sequences) = one.of_step(step), other.of_step(step)
        assert places == other_places
        for value, other_value in zip(vars(sequences).values(), vars(other_sequences).values()):
            torch.testing.assert_close(value, other_value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize('rank', [0, 1])
def test_training_reads_the_same_as_from_a_folder(server, rank):
    remote = SampleSequences(replace(CONFIG, shards=f'{server.url}/'), rank, 2)
    assert remote.config.samples.names == Samples(BLENDER).names
    assert_same(remote, SampleSequences(CONFIG, rank, 2))
    assert all(asked for path, asked in server.requests if path.endswith('.tar'))  # never a whole shard


@pytest.mark.parametrize('fault', FAULTS, indirect=True)
def test_a_fault_that_passes_changes_nothing(server, fault):
    server.fault = lambda path, number: fault if number % 3 == 1 or (number == 0 and fault != 'slow') else None
    assert_same(SampleSequences(replace(CONFIG, shards=server.url)), SampleSequences(CONFIG))
    assert any(number > 1 for number in server.requests.values())


@pytest.mark.parametrize(
    'fault, says',
    [
        ('error', '503'),
        ('slow', 'no answer in 1 s'),
        ('short', r'\d+ bytes instead of \d+'),
        ('cut', 'payload|Content'),
        ('wrong', '00000000 is not as in index.jsonl; if the set has changed, run dfd index again'),
        ('whole', r'\d+ bytes instead of \d+; does the server answer requests of ranges\?'),
    ],
    indirect=['fault'],
)
def test_a_fault_that_stays_is_one_line_with_the_url(server, fault, says):
    samples = Samples(server.url)
    server.fault = lambda path, number: fault
    with pytest.raises(InputError, match=rf'^{server.url}/some%20room|^{server.url}/some room') as caught:
        samples[0]
    assert caught.match(rf'blender-000000\.tar \(bytes 0 to \d+\): cannot be read, after 3 attempts: .*({says})')
    assert '\n' not in str(caught.value)
    assert list(server.requests.values())[1:] == [3]


@pytest.mark.parametrize('fault', ['error', 'slow', 'short', 'cut', 'wrong'], indirect=True)
def test_an_index_that_cannot_be_read_is_one_line_with_the_url(server, fault):
    server.fault = lambda path, number: fault
    with pytest.raises(InputError, match=rf'^{server.url}/index\.jsonl: cannot be read, after 3 attempts: .'):
        require_samples(server.url)


@pytest.mark.parametrize(
    'content, says',
    [
        (None, 'no such file, run dfd index on the folder of the set'),
        (b'', 'cannot be read, after 3 attempts: '),
        (b'<html>', 'cannot be read, after 3 attempts: '),
        (b'{"format": "x"}\n', 'damaged, or not an index of dfd index'),
    ],
)
def test_what_is_no_index_is_refused(server, folder, content, says):
    (folder / 'index.jsonl').unlink()
    if content is not None:
        (folder / 'index.jsonl').write_bytes(content)
    with pytest.raises(InputError, match=f'^{server.url}/index.jsonl: {says}'.replace('jsonl: damaged', '.*damaged')):
        Samples(server.url)


def test_an_index_that_is_too_large_is_not_fetched(server, folder, monkeypatch):
    monkeypatch.setattr(remote_files, 'MAX_FILE', 2**20)
    (folder / 'index.jsonl').write_bytes(bytes(3 * 2**20))
    with pytest.raises(InputError, match=rf'^{server.url}/index\.jsonl: has 3 MB, must have at most 1$'):
        Samples(server.url)
    assert not server.requests


def test_an_index_of_a_newer_version_or_of_nothing_is_refused(server, folder, monkeypatch):
    monkeypatch.setattr(sample_index, 'FORMAT', 'dfd_ros-index-2')
    sample_index.write_index(folder, shards(folder))
    monkeypatch.undo()
    with pytest.raises(InputError, match='its format is \'dfd_ros-index-2\', must be "dfd_ros-index-1"'):
        Samples(server.url)
    sample_index.write_index(folder, [])
    with pytest.raises(InputError, match=r'index\.jsonl: no samples in it'):
        Samples(server.url)


@pytest.mark.parametrize('url', ['http://me:secret@host/set', 'https://host/set?token=secret'])
def test_secrets_do_not_get_into_files_and_messages(url):
    with pytest.raises(InputError, match='give the URL of a folder without password and query') as caught:
        Samples(url)
    assert 'secret' not in str(caught.value)


def test_an_unknown_protocol_is_one_line():
    with pytest.raises(InputError, match='^nothing://host/set/index.jsonl: cannot be read: Protocol not known'):
        Samples('nothing://host/set')


def test_any_store_of_fsspec_will_do(folder):
    np.testing.assert_array_equal(Samples(f'file://{folder}')[1].images, Samples(BLENDER)[1].images)


def test_a_fifo_is_no_shard(folder):
    os.mkfifo(folder / 'x.tar')
    with pytest.raises(InputError, match='x.tar: is a FIFO'):
        sample_index.write_index(folder, shards(folder))


def test_the_command_writes_the_index(folder, capsys):
    before = (folder / 'index.jsonl').read_bytes()
    (folder / 'index.jsonl').unlink()
    assert dfd('index', folder) == 0
    assert capsys.readouterr().out == f'index    {folder}/index.jsonl, of 1 shards\n'
    assert (folder / 'index.jsonl').read_bytes() == before
    assert dfd('inspect', folder / 'index.jsonl') == 0
    assert 'kind     index of samples\nshards   1\nsamples  3\nmade by  ' in capsys.readouterr().out
    assert dfd('index', folder / SHARD) == 2
    assert dfd('index', 's3://bucket/set') == 2
    assert 's3://bucket/set: is a URL, give the folder of the set on this machine' in capsys.readouterr().err
    (folder / SHARD).rename(folder / 'half%20.tar')
    assert dfd('index', folder) == 2
    assert 'half%20.tar: a URL cannot have this name; rename it, without ?, # and %' in capsys.readouterr().err


@pytest.mark.slow(reason='evaluates a network')
def test_the_commands_take_a_url(server, tmp_path, capsys):
    figures = tmp_path / 'remote.json', tmp_path / 'local.json'
    for data, path in zip((server.url, BLENDER), figures):
        options = '--network', 'best_focus', '--device', 'cpu', '--stacks', 1, '--json', path
        assert dfd('evaluate', '--data', data, *options) == 0
    assert figures[0].read_text() == figures[1].read_text()
    assert dfd('train', 'fine_tune', '--data', f'{server.url}/other', '--out', tmp_path / 'runs') == 2
    assert f'dfd: error: {server.url}/other/index.jsonl: no such file, run dfd index' in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()


@pytest.mark.slow(reason='a process that loads torch')
def test_processes_read_ahead_from_a_server(server, tmp_path):
    server.fault = lambda path, number: 'wrong' if number == 0 else None
    remote = replace(CONFIG, shards=server.url, readers=1)
    with contextlib.closing(TrainingData(remote, tmp_path, torch.device('cpu'))) as ahead:
        assert_same(ahead.samples, SampleSequences(CONFIG), 1, 2)  # as a run that resumes at step 1


@pytest.mark.slow(reason='trains, validates and corrects the confidence')
def test_a_training_fetches_the_index_once(server, tmp_path):
    config = replace(CONFIG, shards=server.url, steps=1, validate_stacks=1)
    assert train(config, tmp_path / 'run', 'cpu').finished
    assert sum(number for (path, _), number in server.requests.items() if path == 'index.jsonl') == 1


def test_a_run_does_not_resume_with_other_samples(server, folder):
    remote = replace(CONFIG, shards=server.url)
    before = settings_of(remote)
    assert settings_of(remote) == before
    (folder / SHARD).rename(folder / 'other.tar')
    sample_index.write_index(folder, shards(folder))
    assert settings_of(replace(remote)) != before
