"""Processes read the samples ahead: the data stay the same, errors stay one line, and no process stays behind."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import BLENDER, ENDLESS, on_samples

from dfd_ros.core.errors import InputError
from dfd_ros.training.config import Stage
from dfd_ros.training.loop import train
from dfd_ros.training.sample_sequences import SampleSequences
from dfd_ros.training.sequences import TrainingData

STAGES = Stage(until=0.5, crop=32, batch=2, frames=4, decode=2), Stage(crop=24, batch=3, frames=4, decode=2)
CONFIG = on_samples(steps=4, warmup=1, stages=STAGES, validate_every=100, readers=2)


def same(one, other) -> bool:
    return all(
        torch.equal(x.nan_to_num(-9), y.nan_to_num(-9)) for x, y in zip(vars(one).values(), vars(other).values())
    )


@pytest.mark.slow(reason='processes that load torch')
def test_what_is_read_ahead_is_what_would_be_read(tmp_path):
    with contextlib.closing(TrainingData(CONFIG, tmp_path, torch.device('cpu'))) as ahead:
        batches = {step: ahead.batch(step) for step in (1, 2, 0, 3)}  # 0 is out of turn
        assert len(readers := multiprocessing.active_children()) == 2
    assert not any(reader.is_alive() for reader in readers)
    with contextlib.closing(TrainingData(replace(CONFIG, readers=0), tmp_path, torch.device('cpu'))) as data:
        for step, batch in batches.items():
            assert same(batch, data.batch(step)), step
    assert len(batches[1].images) == 2 and len(batches[2].images) == 3


def test_every_sample_is_shown_before_any_is_shown_again(monkeypatch):
    """Over stages and processes together."""
    config = replace(CONFIG, steps=10**9, held_out=0.0)
    drawn = []
    monkeypatch.setattr(SampleSequences, '_sequence', lambda self, index, stage, rng: drawn.append(index))
    monkeypatch.setattr('dfd_ros.training.sample_sequences.StackBatch.stack', lambda sequences: sequences)
    for step in range(6):
        for rank in range(2):
            SampleSequences(config, rank, 2).of_step(step)
    assert len(drawn) == 24 and all(sorted(drawn[i : i + 3]) == [0, 1, 2] for i in range(0, 24, 3))
    assert len({tuple(drawn[i : i + 3]) for i in range(0, 24, 3)}) > 2


def test_processes_that_train_together_see_other_sequences():
    one, two = (SampleSequences(CONFIG, rank, 2).of_step(0)[1] for rank in range(2))
    assert not any(torch.equal(a, b) for a in one.images for b in two.images)


def broken(folder: Path) -> Path:
    """The shard, with images that end in the middle."""
    content = (BLENDER / 'blender-000000.tar').read_bytes()
    (folder / 'broken.tar').write_bytes(content.replace(b'IDAT', b'IDAX'))
    return folder / 'broken.tar'


@pytest.mark.slow(reason='a process that loads torch')
def test_a_broken_sample_is_one_line_with_shard_and_key(tmp_path):
    config = replace(CONFIG, shards=str(broken(tmp_path)), readers=1)
    says = rf'^{tmp_path}/broken\.tar: 0000000\d\.image\.\d+\.png: cannot be read as an image'
    with contextlib.closing(TrainingData(config, tmp_path, torch.device('cpu'))) as data:
        with pytest.raises(InputError, match=says) as caught:
            data.batch(0)
    assert '\n' not in str(caught.value) and 'Traceback' not in str(caught.value)


@pytest.mark.slow(reason='a network is trained twice')
def test_a_resumed_run_reads_what_an_undisturbed_one_reads(tmp_path):
    train(replace(CONFIG, readers=0), tmp_path / 'undisturbed', 'cpu')
    train(replace(CONFIG, readers=1), tmp_path / 'stopped', 'cpu', stop_after=1)
    train(replace(CONFIG, readers=1), tmp_path / 'stopped', 'cpu')
    one, two = (
        torch.load(tmp_path / run / 'checkpoint.pt', weights_only=True)['network'] for run in ('undisturbed', 'stopped')
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def in_session(session: int) -> list[str]:
    """The processes of a session that still run."""
    listed = subprocess.run(['ps', '-ww', '-s', str(session), '-o', 'stat=,args='], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if not line.startswith('Z')]


@pytest.mark.slow(reason='the command trains until it is ended')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_reader_outlives_the_training(tmp_path, number):
    """Signals to all its processes, as of a terminal or a batch system; SIGKILL to the training alone."""
    (tmp_path / 'run.yaml').write_text(ENDLESS)
    command = [sys.executable, '-m', 'dfd_ros.cli', 'train', 'run.yaml', 'save_every=1', '--data', str(BLENDER)]
    command += ['--device', 'cpu']
    run = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    checkpoint = tmp_path / 'runs' / 'tiny' / 'checkpoint.pt'
    try:
        while not checkpoint.exists() and run.poll() is None:
            time.sleep(0.1)
        assert sum('forkserver' in process for process in in_session(run.pid)) == 3  # and two readers
        run.kill() if number == signal.SIGKILL else os.killpg(run.pid, number)
        said, errors = run.communicate(timeout=100)  # which readers would hold open
        assert not in_session(run.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    if number != signal.SIGKILL:
        assert 'run the same command again to resume' in said and 'Traceback' not in errors
        assert 'leaked' not in errors
    assert run.returncode == -number or run.returncode == 128 + number
    assert torch.load(checkpoint, weights_only=True)['step'] > 0
