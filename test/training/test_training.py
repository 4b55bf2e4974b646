"""Training: it learns, and resumes after a kill as if nothing had happened, on one process and on two."""

import contextlib
import copy
import io
import itertools
import json
import math
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import dfd
from rendered_pool import render_pool
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.cli import main
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import locked
from dfd_ros.datasets.stack_cache import StackPool
from dfd_ros.inference import backends
from dfd_ros.synthesis.procedural import StackSettings
from dfd_ros.training import loop, validation
from dfd_ros.training.checkpoint import resume, settings_of
from dfd_ros.training.config import PoolConfig, Stage, TrainingConfig, load_config, make_config
from dfd_ros.training.loop import decoded_frames, learning_rate, train
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.starting_network import average_of, optimiser_of, starting_network

CONFIG = TrainingConfig(
    name='tiny',
    network_config=TINY,
    steps=4,
    warmup=1,
    precision='fp32',
    validate_every=100,
    save_every=100,
    validation='data',  # of the size of the training's; the presets are of 192 px
    validate_stacks=1,
    stages=(Stage(crop=32, batch=2, frames=3, decode=2),),
    pool=PoolConfig(start=3, size=10, reuse=4, workers=0),
    data=StackSettings(height=48, width=48, frames=4, ramp=(3, 4), static=1.0),
)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """With the stacks that its steps draw from: a process that renders them takes longer to start than to train."""
    folder = tmp_path_factory.mktemp('pool')
    render_pool(folder, CONFIG.data, 5)
    return replace(CONFIG, pool=replace(CONFIG.pool, folder=str(folder)))


def log(folder: Path, group: str) -> list[dict]:
    lines = map(json.loads, (folder / 'log.jsonl').read_text().splitlines())
    return [line for line in lines if line['group'] == group]


@pytest.mark.slow(reason='a network is trained until it has learned something')
def test_it_learns(config, tmp_path):
    """More steps on few stacks: the loss falls, and what is written is what has been learned."""
    config = replace(config, steps=60, learning_rate=5e-3, ema=0.9, validation='presets')
    best = train(replace(config, pool=replace(config.pool, workers=1)), tmp_path, 'cpu').best
    losses = [line['loss'] for line in log(tmp_path, 'training')]
    assert len(losses) == 3 and losses[-1] < losses[0] - 0.3
    (validation,) = log(tmp_path, 'validation')
    assert validation['step'] == 60 and 0 < validation['field_mae'] < 1
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith('events')) == [
        'README.md',
        'best.safetensors',
        'checkpoint.pt',
        'last.safetensors',
        'log.jsonl',
        'samples.png',
    ]
    assert networks.load(best, network='stream').config['channels'] == TINY['channels']


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / 'checkpoint.pt', weights_only=True)
    assert set(checkpoint) >= {'network', 'average', 'optimiser', 'step', 'best'}
    return {f'{part}.{name}': value for part in ('network', 'average') for name, value in checkpoint[part].items()}


@pytest.fixture(scope='module')
def finished(config, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp('finished')
    assert train(config, folder, 'cpu').finished
    return folder


def assert_same_weights(folder: Path, other: Path):
    one, two = weights(folder), weights(other)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.slow(reason='a network is trained twice')
def test_killed_and_resumed_is_as_never_killed(config, finished, tmp_path):
    train(config, tmp_path, 'cpu', stop_after=2)
    assert torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['step'] == 2
    train(config, tmp_path, 'cpu')
    assert_same_weights(tmp_path, finished)


@pytest.mark.slow(reason='a network is trained in each arithmetic')
@pytest.mark.parametrize('fast, precision', [(True, 'bf16'), (False, 'fp32')])
def test_the_arithmetic_is_what_the_device_does_well(config, tmp_path, monkeypatch, fast, precision):
    monkeypatch.setattr(backends, 'is_bf16_fast', lambda device: fast)
    config = replace(config, steps=1)
    for name in ('auto', 'bf16', 'fp32'):
        train(replace(config, precision=name), tmp_path / name, 'cpu')
    of = {name: weights(tmp_path / name) for name in ('auto', 'bf16', 'fp32')}
    for name, value in of['auto'].items():
        assert torch.equal(value, of[precision][name]), name
    assert any(not torch.equal(value, of['bf16'][name]) for name, value in of['fp32'].items())
    assert re.search(rf', {precision} +\|', (tmp_path / 'auto' / 'README.md').read_text())


@pytest.mark.slow(reason='a network is trained')
def test_a_finished_run_is_left_as_it_is(config, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / 'run')
    train(config, run, 'cpu')
    assert (run / 'last.safetensors').read_bytes() == (finished / 'last.safetensors').read_bytes()


@pytest.mark.slow(reason='a network is trained twice')
def test_training_goes_on_from_given_weights(config, finished, tmp_path):
    first = finished / 'best.safetensors'
    tuned = replace(config, initial_weights=str(first), steps=1, learning_rate=0.0)
    train(tuned, tmp_path, 'cpu')
    a = networks.load(first).state_dict()
    b = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['network']
    for name, value in a.items():
        if 'running' not in name and 'num_batches' not in name:
            assert torch.equal(value, b[name]), name


def interrupt(monkeypatch, owner, name, call, number):
    """Send a signal to this process within the call'th call of a function."""
    function, calls = getattr(owner, name), itertools.count(1)

    def interrupting(*args):
        if next(calls) == call:
            signal.raise_signal(number)
        return function(*args)

    monkeypatch.setattr(owner, name, interrupting)


@pytest.mark.slow(reason='a network is trained twice')
@pytest.mark.parametrize(
    'owner, name, call, step',
    [(loop, 'sequence_loss', 3, 3), (TrainingData, '_stack', 3, 1), (validation.DataValidation, 'figures', 1, 4)],
    ids=['step', 'data', 'validation'],
)
def test_ctrl_c_at_any_time_costs_nothing(config, finished, tmp_path, monkeypatch, capsys, owner, name, call, step):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt(patch, owner, name, call, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, 'cpu')
    assert signal.getsignal(signal.SIGINT) is before
    saying = f'stopped after step {step}; run the same command again to resume from {tmp_path}/checkpoint.pt'
    assert saying in capsys.readouterr().out
    assert torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['step'] == step
    assert train(config, tmp_path, 'cpu').finished
    assert_same_weights(tmp_path, finished)
    assert [line['step'] for line in log(tmp_path, 'validation')] == [4]


@pytest.mark.slow(reason='a network is trained by the command')
def test_stopping_after_a_step_says_how_to_resume(tmp_path, capsys):
    (tmp_path / 'run.yaml').write_text(
        YAML.replace('pool: {', f'pool: {{folder: {tmp_path / "pool"}, workers: 0, ') + 'validation: data\n'
    )
    render_pool(tmp_path / 'pool', load_config(tmp_path / 'run.yaml').data, 3)
    command = ['train', str(tmp_path / 'run.yaml'), '--out', str(tmp_path), '--device', 'cpu']
    assert main([*command, '--stop-after', '1']) == 0
    assert re.search('stopped after step 1 of .*; to resume, run .* without --stop-after', capsys.readouterr().out)
    assert main([*command, '--stop-after', '1']) == 0  # not one step more
    assert 'stopped after step 1 of' in capsys.readouterr().out
    assert main([*command, '--stop-after', '0']) == 2


@pytest.fixture(scope='module')
def stopped(config, tmp_path_factory):
    """A run that was stopped after its first step."""
    folder = tmp_path_factory.mktemp('stopped')
    train(config, folder, 'cpu', stop_after=1)
    return folder


@pytest.fixture
def checkpoint(stopped, tmp_path):
    return Path(shutil.copy(stopped / 'checkpoint.pt', tmp_path))


def refused(config, checkpoint, says):
    with refusal(checkpoint, says):
        train(config, checkpoint.parent, 'cpu')


@contextlib.contextmanager
def refusal(checkpoint, says):
    with pytest.raises(InputError, match=says) as caught:
        yield
    assert str(checkpoint) in str(caught.value) and '\n' not in str(caught.value) and len(str(caught.value)) < 1000


NONE = 'missing'
DAMAGES = [
    *(((name,), value) for name in ('step', 'best', 'seconds') for value in ('x', -math.nan)),
    *(((name,), NONE) for name in ('step', 'best', 'network', 'average', 'optimiser')),
    *(
        ((name,), value)
        for name in ('step', 'best', 'seconds', 'network', 'average', 'optimiser')
        for value in (None, [], {})
    ),
    *((('step',), value) for value in (-1, 2.5, 10**9, True)),
    (('best',), math.nan),
    (('seconds',), -1.0),
    (('settings',), []),
    (('network', 'fine.bias'), torch.full((8,), math.nan)),
    (('average', 'module.fine.bias'), torch.full((8,), math.inf)),
    (('average', 'n_averaged'), torch.tensor(7)),
    (('network', 'fine.bias'), torch.zeros(9)),
    (('optimiser', 'state'), {99: {}}),
    (('optimiser', 'state', 0), {}),
    (('optimiser', 'state', 0, 'exp_avg'), torch.zeros(1)),
    (('optimiser', 'state', 0, 'step'), torch.tensor(math.nan)),
]


@pytest.fixture(scope='module')
def saved_parts(stopped):
    return torch.load(stopped / 'checkpoint.pt', weights_only=True)


@pytest.fixture(scope='module')
def resumed_parts(config):
    """What a checkpoint is loaded into. A refused one may leave any values there."""
    network = starting_network(config, torch.device('cpu'))
    return network, average_of(network, config.ema), optimiser_of(network, config), settings_of(config)


@pytest.mark.slow(reason='a checkpoint is written for each damage')
@pytest.mark.parametrize('place, value', DAMAGES, ids=str)
def test_a_damaged_checkpoint_is_refused_in_one_line(resumed_parts, saved_parts, tmp_path, place, value):
    saved = part = copy.deepcopy(saved_parts)
    for name in place[:-1]:
        part = part[name]
    if isinstance(value, str) and value == NONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    torch.save(saved, checkpoint := tmp_path / 'checkpoint.pt')
    with refusal(checkpoint, 'checkpoint.pt: not a complete checkpoint of this network'):
        resume(checkpoint, *resumed_parts, torch.device('cpu'))


@pytest.mark.slow(reason='a dozen trainings are started')
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(config, checkpoint):
    content = checkpoint.read_bytes()
    for other in (b'', content[:5000], content[:-100], b'hello', pickle.dumps({'step': 1})):
        checkpoint.write_bytes(other)
        refused(config, checkpoint, 'checkpoint.pt: not a complete checkpoint')
    with zipfile.ZipFile(checkpoint, 'w', zipfile.ZIP_DEFLATED) as archive:  # unpacked, it may be of any size
        archive.writestr('checkpoint/data.pkl', bytes(10**6))
    refused(config, checkpoint, 'not a complete checkpoint .compressed')
    for value in ([], torch.zeros(3), 'text', None):
        torch.save(value, checkpoint)
        refused(config, checkpoint, 'not a complete checkpoint')
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    refused(config, checkpoint, 'is a FIFO')


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'learning_rate': 0.5, 'seed': 3}, "learning_rate: '0.002', now '0.5', seed: '0', now '3'"),
        ({'network_config': {**TINY, 'hypotheses': 7}}, 'network_config: .*"hypotheses": 6.*"hypotheses": 7'),
        ({'data': replace(CONFIG.data, static=0.5)}, "data.static: '1.0', now '0.5'"),
    ],
)
def test_a_checkpoint_with_other_settings_is_refused_by_name(config, checkpoint, changes, says):
    refused(replace(config, **changes), checkpoint, f'written with other settings or data .*{says}')


def test_a_run_may_go_on_for_longer_and_with_more_workers(config):
    longer = replace(config, steps=9, save_every=3, pool=replace(config.pool, workers=2, folder='elsewhere'))
    assert settings_of(longer) == settings_of(config)


def test_other_samples_under_the_same_name_are_other_data(config, tmp_path):
    shard, weights_file = tmp_path / 'a.tar', tmp_path / 'weights'

    def write(content: bytes):
        with tarfile.open(shard, 'w') as file:
            for name in ('0.json', '0.truth.npz'):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
        weights_file.write_bytes(content)

    write(b'1')
    config = replace(config, shards=str(tmp_path), initial_weights=str(weights_file))
    before = settings_of(config)
    write(b'2')
    after = settings_of(replace(config))
    assert {name for name in before if before[name] != after[name]} == {
        'content of shards',
        'content of initial_weights',
    }
    (moved := tmp_path / 'moved').mkdir()
    shard.rename(moved / 'a.tar')
    assert settings_of(replace(config, shards=str(moved))) == after  # the same elsewhere


@pytest.mark.slow(reason='a network is trained twice')
def test_an_older_checkpoint_resumes_with_a_warning(config, checkpoint, capsys):
    saved = torch.load(checkpoint, weights_only=True)
    for name in ('settings', 'validates', 'seconds'):
        del saved[name]
    torch.save(saved, checkpoint)
    assert train(replace(config, steps=2), checkpoint.parent, 'cpu').step == 2
    assert 'checkpoint.pt: an older version wrote it without its settings' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['log.jsonl', 'best.safetensors', 'checkpoint.pt'])
def test_a_link_is_not_written_through(config, tmp_path, name):
    (tmp_path / 'elsewhere').write_text('mine')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / name).symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match=f'{name}: is a link'):
        train(config, tmp_path / 'run', 'cpu')
    assert (tmp_path / 'elsewhere').read_text() == 'mine'


@pytest.mark.slow(reason='a second process loads torch')
def test_two_processes_do_not_train_in_one_folder(config, tmp_path):
    lock = locked(tmp_path)
    with pytest.raises(InputError, match='another process writes here'):
        train(config, tmp_path, 'cpu')
    assert list(tmp_path.iterdir()) == []
    os.close(lock)
    train(config, tmp_path, 'cpu', stop_after=1)
    os.close(locked(tmp_path))  # it is free again


def test_no_coc_loss_without_a_coc_decoder(config, tmp_path):
    stacks = replace(config, network='poolnet', network_config={'width': 0.1})
    with pytest.raises(InputError, match='^coc: 0.3, but the network poolnet has no decoder .*: set coc: 0'):
        train(stacks, tmp_path, 'cpu')


def test_a_training_that_trains_nothing_ends(config, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, '_MAX_SKIPPED', 2)
    monkeypatch.setattr(loop, 'sequence_loss', lambda prediction, *_: (prediction.vergence.mean() * math.nan, {}))
    with pytest.raises(InputError, match='^tiny: the loss .* was not finite in 2 steps in a row, up to step 2; give'):
        train(config, tmp_path, 'cpu')


def test_a_device_that_is_not_there_is_refused(config, tmp_path):
    with pytest.raises(InputError, match="device 'gpu'"):
        train(config, tmp_path / 'run', 'gpu')
    assert not (tmp_path / 'run').exists()


TORCHRUN = """
import hashlib, os, pathlib, sys
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from dfd_ros.training.config import load_config
from dfd_ros.training.loop import train

def say(optimiser, *_):
    if not isinstance(optimiser, torch.optim.AdamW):   # that of the confidence, at the end
        return
    digest = hashlib.sha256()
    for group in optimiser.param_groups:
        for parameter in group['params']:
            digest.update(parameter.detach().numpy().tobytes())
    # One write: torchrun runs both processes unbuffered, and their lines must not run into each other.
    sys.stdout.write(f'rank {os.environ["RANK"]} {digest.hexdigest()}\\n')

if __name__ == '__main__':   # the processes that render import this file too
    register_optimizer_step_post_hook(say)
    train(load_config(sys.argv[1]), pathlib.Path(sys.argv[2]), 'cpu')
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason='this torch has no torch.distributed')
@pytest.mark.slow(reason='two processes load torch and train together')
@pytest.mark.parametrize(
    'stage, more',
    [('crop: 32, batch: 1', ''), ('crop: 40, batch: 2', 'coc: 0\nparts: 2\n')],
    ids=['all losses', 'no loss of the CoC, in parts'],
)
def test_two_processes_train_one_network(tmp_path, stage, more):
    (tmp_path / 'script.py').write_text(TORCHRUN)
    (tmp_path / 'run.yaml').write_text(YAML.replace('crop: 32, batch: 1', stage) + more)
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    command += [tmp_path / 'script.py', tmp_path / 'run.yaml', tmp_path / 'run']
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr[-3000:]
    digests = {
        rank: [line.split()[2] for line in result.stdout.splitlines() if line.startswith(f'rank {rank}')]
        for rank in '01'
    }
    assert len(digests['0']) == 2 and digests['0'] == digests['1'] and len(set(digests['0'])) == 2
    # Each has scenes of its own, and one of them wrote the run down.
    pools = [
        {path.name: path.read_bytes() for path in (tmp_path / 'run' / 'pool' / rank).glob('0*.safetensors')}
        for rank in '01'
    ]
    assert pools[0] and pools[1] and not set(pools[0].values()) & set(pools[1].values())
    assert len(log(tmp_path / 'run', 'validation')) == 1


# Data: a function of the step alone.


def same(a, b) -> bool:
    return all(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)) for x, y in zip(vars(a).values(), vars(b).values()))


def first_batch(config, folder):
    with contextlib.closing(TrainingData(config, folder, torch.device('cpu'))) as data:
        return data.batch(0)


def test_what_a_step_sees_depends_on_the_step_alone(config, tmp_path):
    with contextlib.closing(TrainingData(config, tmp_path, torch.device('cpu'))) as data:
        first, second = data.batch(0), data.batch(1)
        assert same(first, data.batch(0)) and not same(first, second)
        assert first.images.shape == (2, 3, 3, 32, 32) and first.vergence.shape == first.coc.shape == (2, 3, 1, 32, 32)
        assert first.images.min() >= 0 and first.images.max() <= 1
        assert first.focus.shape == (2, 3) and first.blur_scale.shape == (2,)


def test_long_sequences_go_to_and_fro(config, tmp_path):
    frames = 2 * config.data.frames + 1
    stages = (Stage(crop=24, batch=4, frames=frames, decode=2),)
    batch = first_batch(replace(config, half_size=0.0, stages=stages), tmp_path)
    period = 2 * config.data.frames - 2
    assert batch.images.shape[1] == frames
    torch.testing.assert_close(batch.images[:, period:], batch.images[:, : frames - period])
    for focus in batch.focus:  # somewhere it turns: the frames before and after are the same
        turns = [t for t in range(1, period) if focus[t - 1] == focus[t + 1]]
        assert turns and (batch.focus[:, 1:] != batch.focus[:, :-1]).any()
    assert (batch.images[:, 1:] != batch.images[:, :-1]).flatten(2).any(2).all()  # and none is shown twice in a row


def test_truth_turns_with_the_image(config, tmp_path):
    """Flips, crops, halving and time reversal keep CoC, vergence and focus together: coc = blur (u - v)."""
    stages = (Stage(crop=24, batch=8, frames=3, decode=2),)
    batch = first_batch(replace(config, half_size=0.5, stages=stages), tmp_path)
    offset = batch.vergence - batch.focus[..., None, None, None]
    blur = (batch.coc * offset).sum((2, 3, 4)) / (offset * offset).sum((2, 3, 4))
    torch.testing.assert_close(blur[..., None, None, None] * offset, batch.coc, rtol=1e-3, atol=1e-3)
    known = torch.isfinite(batch.blur_scale)
    # To first order, the blur of a frame is the blur scale that the network gets, at its own resolution.
    ratio = blur[known] / batch.blur_scale[known, None]
    assert known.any() and (ratio > 0.98).all() and (ratio < 1.1).all()


def test_no_sequence_is_counted_twice_when_the_batch_changes():
    stages = (Stage(until=0.35, batch=6), Stage(until=0.8, batch=3), Stage(until=1.0, batch=2))
    config = replace(CONFIG, steps=10, stages=stages)
    before = [config.sequences(step) for step in range(11)]
    assert before[0] == 0
    assert [b - a for a, b in itertools.pairwise(before)] == [6] * 4 + [3] * 4 + [2] * 2


# Schedules.


def test_the_learning_rate_rises_stays_and_falls():
    config = replace(CONFIG, steps=100, warmup=10, decay=0.4, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9:60] == [1.0] * 51
    assert all(b < a for a, b in itertools.pairwise(rates[60:])) and rates[99] == pytest.approx(1 / 40)


def test_stages_take_turns():
    stages = (Stage(until=0.5, crop=32), Stage(until=1.0, crop=64))
    config = replace(CONFIG, steps=10, stages=stages)
    assert [config.stage(step).crop for step in range(10)] == [32] * 5 + [64] * 5


def test_the_last_frame_is_always_decoded():
    config = replace(CONFIG, stages=(Stage(frames=8, decode=4),))
    drawn = [decoded_frames(config, step) for step in range(50)]
    assert all(
        len(frames) == len(set(frames)) == 4 and frames == sorted(frames) and frames[-1] == 7 for frames in drawn
    )
    assert set(range(8)) == {frame for frames in drawn for frame in frames}


# Configurations.

YAML = """
name: tiny
network_config: {channels: [8, 8, 8, 8], hypotheses: 6, kinds: [1, 2, 1], hidden: [4, 4]}
steps: 2
warmup: 1
learning_rate: 1e-3
precision: fp32
validate_stacks: 1
stages: [{crop: 32, batch: 1, frames: 2, decode: 2}]
pool: {start: 2, size: 10, reuse: 4}
data: {height: 48, width: 48, frames: 3, ramp: [3, 3], scene: {objects: [1, 2]}}
"""


def test_a_configuration_is_plain_values(tmp_path):
    (tmp_path / 'run.yaml').write_text(YAML)
    config = load_config(tmp_path / 'run.yaml', steps=7)
    assert config.steps == 7 and config.learning_rate == 1e-3 and config.stages[0].crop == 32
    assert config.data.scene.objects == (1, 2) and config.pool.start == 2 and config.clip == TrainingConfig().clip


@pytest.mark.parametrize(
    'path', sorted((Path(__file__).parents[2] / 'config' / 'training').glob('*.yaml')), ids=lambda path: path.stem
)
def test_the_configurations_that_ship_are_whole(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data' / 'assets' / 'photographs').mkdir(parents=True)  # which real.yaml says to make first
    config = load_config(path)
    assert config.stages[-1].until == 1.0
    networks.create(config.network, **config.network_config)


def test_configurations_that_ship_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config('stream').name == 'stream'
    (tmp_path / 'stream').mkdir()  # a folder is no configuration
    assert load_config('stream', steps=7).steps == 7
    (tmp_path / 'study').write_text('steps: 3')
    assert load_config('study').steps == 3
    with pytest.raises(InputError, match='^streem: no such file; included are blender, .*, stream, '):
        load_config('streem')


def test_missing_views_are_refused_before_rendering(tmp_path):
    with pytest.raises(InputError, match='no such folder of views'):
        StackPool(tmp_path / 'pool', StackSettings(views=str(tmp_path / 'none')))
    assert not (tmp_path / 'pool').exists()


def test_the_configurations_of_the_documentation_are_right(tmp_path):
    blocks = re.findall(r'```yaml\n(.*?)```', (Path(__file__).parents[2] / 'docs' / 'training.md').read_text(), re.S)
    assert len(blocks) >= 2
    for i, block in enumerate(blocks):
        (tmp_path / f'{i}.yaml').write_text(block)
        assert load_config(tmp_path / f'{i}.yaml').steps > 0


@pytest.mark.parametrize(
    'text, says',
    [
        ('stepz: 3', 'no setting "stepz"'),
        ('steps: many', "steps: 'many' should be a whole number"),
        ('learning_rate: fast', "learning_rate: 'fast' should be a number"),
        ('pool: {sise: 3}', 'pool: no setting "sise"'),
        ('data: {scene: {objects: 3}}', 'objects: 3 should be a list'),
        ('data: [1, 2]', 'data: [1, 2] should be a mapping'),
        ('stages: [{crop: big}]', "stages[0], crop: 'big' should be a whole number"),
        ('a: [1, ', 'not YAML'),
        ('- 1\n- 2', ': [1, 2] should be a mapping'),
        ('just text', ": 'just text' should be a mapping"),
        ('stages: 3', 'stages: 3 should be a list'),
        ('stages: []', 'stages: []: list should have at least 1 item'),
        ('steps: 0', 'steps: 0 should be above 0'),
        ('hours: -1', 'hours: -1 should be at least 0'),
        ('learning_rate: 0', 'learning_rate: 0 should be above 0'),
        ('learning_rate: .nan', 'learning_rate: nan should be at most 1'),
        ('ema: 1.5', 'ema: 1.5 should be at most 1'),
        ('pool: {held_out: -1}', 'pool, held_out: -1 should be at least 0'),
        ('pool: {size: 0}', 'pool, size: 0 should be above 0'),
        ('pool: {reuse: 0}', 'pool, reuse: 0 should be above 0'),
        (
            '{validation: data, data: {frames: 4}, stages: [{frames: 9}]}',
            'stages: frames 9, but the stacks that validation: data is of have 4 (data, frames)',
        ),
        ('validate_every: 0', 'validate_every: 0 should be above 0'),
        ('learning_rate: .inf', 'learning_rate: inf should be at most 1'),
        ('weight_decay: 1e30', 'weight_decay: 1e+30 should be at most 1000'),
        ('stages: [{crop: -1}]', 'stages[0], crop: -1 should be at least 16'),
        ('stages: [{frames: 100000}]', 'stages[0], frames: 100000 should be at most 1000'),
        ('stages: [{batch: 100000000}]', 'stages[0], batch: 100000000 should be at most 4096'),
        ('stages: [{batch: 4000, frames: 900}]', 'stages: batch x frames x crop x crop should be at most'),
        ('network_config: {hypotheses: 10000000}', 'network_config: 10000000 should be at most'),
        ('data: {height: 4000, width: 4000, frames: 900}', 'data: height x width x frames should be at most'),
        ('data: {frames: 100000}', 'data, frames: 100000 should be at most 1000'),
        ('data: {breathing_residual: .nan}', 'data, breathing_residual: nan should be a finite number'),
        ('seed: 100000000000000000000', 'a number of 21 characters, line 1, column 7'),
        ('precision: fp8', "precision: 'fp8' should be 'auto', 'fp32' or 'bf16'"),
        ('stages: [{frames: 0}]', 'stages[0], frames: 0 should be at least 1'),
        ('stages: [{crop: 300}]', 'stages: crop 300, but stacks are only 256x256'),
        ('stages: [{decode: 9, frames: 4}]', 'stages: decode 9 of 4 frames'),
        ('data: {orders: [upwards]}', "orders[0]: 'upwards' should be 'rising', 'falling', 'shuffled' or 'ping_pong'"),
        ('data: {blur_scale: [1, 2, 3]}', 'blur_scale: [1, 2, 3]: list should have at most 2 items, not 3'),
        ('data: {ramp: [3, x]}', "data, ramp[1]: 'x' should be a whole number"),
        ('data: {orders: [1]}', "data, orders[0]: 1 should be 'rising', "),
        ('data: {near: [0.3, .nan]}', 'data, near[1]: nan should be at most 10000'),
        ('data: {near: [0.3, 0.2]}', 'data, near: (0.3, 0.2) is not a pair of minimum and maximum'),
        ('data: {frames: 0}', 'data, frames: 0 should be at least 1'),
        ('data: {ramp: [0, 3]}', 'data, ramp[0]: 0 should be at least 1'),
        ('data: {static: 7}', 'data, static: 7 should be at most 1'),
        ('data: {blur_scale: [-3, 4]}', 'data, blur_scale[0]: -3 should be above 0'),
        ('data: {scene: {split: foo}}', "data, scene, split: 'foo' should be 'train' or 'test'"),
        ('data: {scene: {radius: [0, 1]}}', 'data, scene, radius[0]: 0 should be above 0'),
        ('data: {views_share: 2}', 'data, views_share: 2 should be at most 1'),
        ('data: {surfaces: {grain: -1}}', 'data, surfaces, grain: -1 should be at least 0'),
        ('data: {surfaces: {prints: 0.9}}', 'data, surfaces: prints, photos, plain and materials are together 1.48'),
        ('data: {surfaces: {share: 1, photographs: nowhere}}', 'data, surfaces, photographs: nowhere: no such folder'),
        ('data: {camera: {tone: 3}}', 'data, camera, tone: 3 should be at most 1'),
        ('data: {camera: {quality: [50, 101]}}', 'data, camera, quality[1]: 101 should be at most 100'),
        ('gradient: -1', 'gradient: -1 should be at least 0'),
        ('beta: .nan', 'beta: nan should be at most 10'),
        ('network_config:', 'network_config: None should be a mapping'),
        ('network_config: [1]', 'network_config: [1] should be a mapping'),
        ('network: classical', 'network: "classical" has no weights to train'),
        ('network: strem', 'network: no network "strem"'),
        ('{likelihood: 0, mse: 0, coarse: 0, coc: 0}', 'likelihood, mse, depth, coarse and coc are all 0'),
        (
            '{validation: data, data: {frames: 8}, pool: {held_out: 3}}',
            'pool, held_out: 3 stacks of pool, folder, which',
        ),
        (
            '{validation: data, data: {frames: 8}, shards: somewhere, stages: [{crop: 320}]}',
            'stages: crop 320, but stacks are only 256x256',
        ),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path, capsys, text, says):
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert says in str(caught.value) and str(path) in str(caught.value) and '\n' not in str(caught.value)
    assert main(['train', str(path), '--out', str(tmp_path / 'runs')]) == 2
    assert capsys.readouterr().err.count('\n') == 1
    assert not (tmp_path / 'runs').exists()


def test_settings_of_the_command_line_replace_those_of_the_file():
    config = load_config('stream', **{'steps': 7, 'data.frames': 4, 'self_supervision.smoothness': 2e-3})
    assert (config.steps, config.data.frames, config.self_supervision.smoothness) == (7, 4, 2e-3)
    assert config.learning_rate == load_config('stream').learning_rate


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['steps'], "'steps': is not SETTING=VALUE, such as steps=1000"),
        (['=3'], "'=3': is not SETTING=VALUE"),
        (['steps=3', 'steps=4'], "'steps=4': steps is given twice"),
        (['--steps', '3', 'steps=4'], "'steps=4': steps is given twice"),
        (['--device', 'cpu', 'a=1', 'b'], 'unrecognized arguments: a=1 b'),
        (['--device', 'cpu', ''], 'argument after cpu: is empty'),
        (['--device', 'cpu', '--nosuch=1'], 'unrecognized arguments: --nosuch=1'),
        (['steps=[1'], "'[1' is not a value in YAML"),
        (['name=../evil'], "stream.yaml with name, name: '../evil' is not the name of a folder"),
        (['name=..'], 'is not the name of a folder'),
        (['name=""'], 'is not the name of a folder'),
        (['steps=many'], "stream.yaml with steps, steps: 'many' should be a whole number"),
        (['data.nosuch=1'], 'nosuch'),
        (['stages.crop=3'], 'setting stages.crop: stages is '),
    ],
)
def test_settings_that_cannot_be_are_one_line(arguments, says, capsys, tmp_path):
    assert dfd('train', 'stream', *arguments, '--out', tmp_path) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1


def test_the_configurations_that_ship_are_listed(capsys):
    assert dfd('train', '--list') == 0
    listed = capsys.readouterr().out
    assert 'stream           The streaming network from scratch\n' in listed and listed.count('\n') == 7
    assert dfd('train') == 2
    assert 'dfd train --list prints those' in capsys.readouterr().err


def test_yaml_texts_and_optional_values(tmp_path):
    (tmp_path / 'run.yaml').write_text('data: {shot: [1e-5, 6e-4], near: [1, 2], breathing_residual: null}')
    settings = load_config(tmp_path / 'run.yaml').data
    assert settings.shot == (1e-5, 6e-4) and settings.breathing_residual is None
    assert [type(v) for v in settings.near] == [float, float]


def test_absent_configuration_and_weights(tmp_path, capsys):
    assert main(['train', str(tmp_path / 'none.yaml')]) == 2
    assert 'none.yaml: no such file' in capsys.readouterr().err
    (tmp_path / 'run.yaml').write_text(YAML + 'initial_weights: nowhere.safetensors\n')
    assert main(['train', str(tmp_path / 'run.yaml'), '--out', str(tmp_path / 'runs'), '--device', 'cpu']) == 2
    assert 'nowhere.safetensors: no such file' in capsys.readouterr().err


@pytest.mark.parametrize(
    'settings',
    [
        {'block': 3},
        {'blocks': [1, 2]},
        {'hypotheses': 1},
        {'kinds': [0, 1, 1]},
        {'channels': [10**5] * 4},
        {'hidden': [0, 0]},
    ],
)
def test_a_network_that_cannot_be_is_refused(tmp_path, settings):
    config = make_config({'network_config': settings}, 'run')
    with pytest.raises(InputError, match='^network "stream"(:| with) '):
        train(config, tmp_path / 'run', 'cpu')
