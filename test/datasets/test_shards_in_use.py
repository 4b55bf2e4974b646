"""Samples in shards are what is evaluated, studied and trained on: three stacks that Blender rendered.

test/data/blender: dfd render --engine blender --preset machine_vision --motion both --split test --scenes 3 --height 64
--width 64 --samples 24
"""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import dfd
from rendered_pool import render_pool
from tiny_training import BLENDER, on_samples

from dfd_ros.core.errors import InputError
from dfd_ros.datasets.shards import Samples, count
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.evaluation.evaluation_stacks import counted, folder_stacks
from dfd_ros.evaluation.study import study_scenes as study
from dfd_ros.networks import Network, Prediction
from dfd_ros.training.config import Stage, make_config
from dfd_ros.training.loop import train
from dfd_ros.training.observer import Observer
from dfd_ros.training.sample_sequences import SampleSequences
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.validation import SampleValidation

pytestmark = pytest.mark.slow(reason='networks are trained on files')

CONFIG = on_samples(batch=3, steps=2, warmup=1, half_size=0.0, validate_every=100, held_out=0.0, validation='presets')


def test_the_tiny_sample_is_whole():
    assert count(BLENDER) == 3
    for seed, sample in enumerate(Samples(BLENDER)):
        assert sample.images.shape == (5, 64, 64, 3) and sample.source == 'blender' and sample.seed == seed
        for t, state in enumerate(sample.lens_states):
            np.testing.assert_allclose(
                sample.coc[t], state.lens.coc_px(sample.depth[t], state.focus_distance), rtol=1e-5
            )
        # Blurred where it is out of focus, sharp where not.
        difference = np.abs(sample.images.astype(float) - sample.all_in_focus).mean(-1)
        assert difference[sample.coc < 1].mean() < difference[sample.coc > 3].mean()
    assert sum(path.stat().st_size for path in BLENDER.iterdir()) < 1e6


def test_evaluation_counts_the_objects_of_every_frame():
    sample, stack = Samples(BLENDER)[0], next(folder_stacks(stored_stacks(BLENDER)))
    for t in range(5):
        np.testing.assert_array_equal(stack.depth[t], sample.depth[t])
        inside = (sample.depth[t] >= 0.25) & (sample.depth[t] <= 1.25)
        np.testing.assert_array_equal(counted(stack, t), inside & ~sample.background[t])


def test_dfd_evaluate(random_weights, tmp_path):
    path = tmp_path / 'figures.json'
    options = '--weights', random_weights, '--device', 'cpu', '--json', path
    assert dfd('evaluate', '--data', BLENDER, *options) == 0
    figures = json.loads(path.read_text())
    assert [f['frame'] for f in figures] == [1, 2, 3, 4, 5]
    # With one focus seen the circle of confusion is unknown.
    assert all(0 < f['mae_u'] < 1 and (f['coc_px'] > 0 or f['frame'] == 1) for f in figures)


def test_the_study_reads_shards_as_it_reads_folders(tmp_path):
    samples = Samples(BLENDER)
    scenes = [study.sample_scene(sample, 48) for sample in samples]
    assert len(scenes) == 3 and scenes[0].images.shape == (1, 4, 3, 48, 48)
    samples[0].to_focal_stack().write(tmp_path / 'stacks' / 'a')
    folder, shard = (study.sample_scene(stored_stacks(where)[0].read()) for where in (tmp_path / 'stacks', BLENDER))
    np.testing.assert_array_equal(folder.images, shard.images)
    np.testing.assert_allclose(folder.blur_scale, shard.blur_scale, rtol=1e-6)
    background = torch.from_numpy(samples[0].background[-1])
    assert (shard.foreground == folder.foreground & ~background).all() and shard.foreground.any()
    stack = study.training_stack(samples[0], 56)  # images of 64 px: none too large for such crops
    assert torch.equal(stack.foreground, shard.foreground)
    with pytest.raises(InputError, match=f'{BLENDER}.*images of 64x64, smaller than the crops of 96x96'):
        study.training_stack(samples[0], 96)


def test_training_on_shards(tmp_path):
    best = train(CONFIG, tmp_path / 'run', 'cpu').best
    assert best.exists() and not (tmp_path / 'run' / 'pool').exists()


def test_a_run_without_its_shards_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match='no_such_folder'):
        train(replace(CONFIG, shards=str(tmp_path / 'no_such_folder')), tmp_path / 'run', 'cpu')
    assert not (tmp_path / 'run').exists()


def test_batches_are_functions_of_the_step():
    data, again = (TrainingData(CONFIG, Path('unused'), torch.device('cpu')) for _ in range(2))
    for step in (0, 1):
        for one, other in zip(vars(data.batch(step)).values(), vars(again.batch(step)).values()):
            torch.testing.assert_close(one, other, equal_nan=True)
    batch = data.batch(0)
    assert batch.images.shape == (3, 4, 3, 32, 32) and not torch.equal(batch.images, data.batch(1).images)
    known = batch.blur_scale.isfinite()
    assert batch.coc[known].isfinite().all() and batch.vergence.isfinite().all()


def test_images_get_sensor_noise_and_the_wall_can_be_masked():
    noisy = replace(CONFIG, data=replace(CONFIG.data, shot=(1e-3, 1e-3), read=(1e-2, 1e-2)))
    clean = replace(CONFIG, data=replace(CONFIG.data, shot=(1e-9, 1e-9), read=(1e-9, 1e-9)))
    one, other = (TrainingData(c, Path('unused'), torch.device('cpu')).batch(0) for c in (noisy, clean))
    assert torch.equal(one.vergence, other.vergence)
    assert 0.01 < (one.images - other.images).std() < 0.1
    masked = TrainingData(replace(clean, mask_wall=True), Path('unused'), torch.device('cpu')).batch(0)
    assert 0 < masked.vergence.isnan().float().mean() < 1


def test_unknown_apertures_and_mixing(tmp_path):
    unknown = replace(CONFIG, data=replace(CONFIG.data, unknown_aperture=1.0))
    assert TrainingData(unknown, Path('unused'), torch.device('cpu')).batch(0).blur_scale.isnan().all()
    mixed = replace(
        CONFIG,
        shards_share=0.5,
        stages=(Stage(crop=32, batch=8, frames=4, decode=2),),
        data=replace(CONFIG.data, height=40, width=40, frames=4),
        pool=replace(CONFIG.pool, start=2, size=2, workers=0),
    )
    render_pool(tmp_path / 'pool', mixed.data, 2)
    with contextlib.closing(TrainingData(mixed, tmp_path, torch.device('cpu'))) as data:
        assert data.batch(0).images.shape == (8, 4, 3, 32, 32)
        drawn = [len(data.samples.of_step(step)[0]) for step in range(5)]
    assert 10 < sum(drawn) < 30 and len(set(drawn)) > 1


@pytest.mark.parametrize(
    'network, stage, says',
    [
        (
            'ddffnet',
            Stage(crop=32, batch=1, frames=9, decode=1),
            r'5 frames, but training needs 9 \(stages, frames\), and ddffnet reads as many different ones',
        ),
        ('stream', Stage(crop=96, batch=1, frames=4, decode=1), 'images of 64x64, smaller than the crops of 96'),
    ],
)
def test_samples_that_do_not_fit_are_refused(network, stage, says):
    with pytest.raises(InputError, match=says):
        TrainingData(replace(CONFIG, network=network, stages=(stage,)), Path('unused'), torch.device('cpu')).batch(0)


def test_longer_sequences_go_to_and_fro_in_a_sample():
    config = replace(CONFIG, stages=(Stage(crop=32, batch=1, frames=9, decode=1),))
    batch = TrainingData(config, Path('unused'), torch.device('cpu')).batch(0)
    assert batch.images.shape[1] == 9
    focus = batch.focus[0]
    assert len(focus.unique()) == 5 and torch.equal(focus[:-8], focus[8:])  # a period is eight frames: there and back


def test_configuration():
    config = make_config({'shards': 'data/x', 'stages': [{'frames': 12, 'crop': 300}]}, 'here')
    assert config.shards == 'data/x' and config.shards_share == 1.0
    with pytest.raises(InputError, match='shards_share: 0.0'):
        make_config({'shards': 'x', 'shards_share': 0.0}, 'here')
    with pytest.raises(InputError, match='crop 300, but stacks are only 256x256'):
        make_config({'shards': 'x', 'shards_share': 0.5, 'stages': [{'crop': 300}]}, 'here')
    with pytest.raises(InputError, match='no such folder or shard'):
        TrainingData(replace(CONFIG, shards='absent'), Path('unused'), torch.device('cpu'))


def test_what_is_held_out_is_validated_on_and_not_trained_on(tmp_path):
    config = replace(CONFIG, held_out=0.3, validation='samples', validate_every=2)

    def truth(vergence):
        return round(vergence.double().nansum().item(), 2)

    assert list(SampleSequences(config).held_out) == [2]
    whole = replace(config, stages=(Stage(crop=64, batch=2, frames=5, decode=1),))
    drawn = [truth(sequence) for step in range(3) for sequence in SampleSequences(whole).of_step(step)[1].vergence]
    there = [truth(to_stack_batch(Samples(BLENDER)[i]).vergence) for i in (0, 1)]
    assert [sorted(drawn[i : i + 2]) for i in (0, 2, 4)] == [sorted(there)] * 3  # each once before any again
    assert [sample.seed for sample in SampleValidation(config, torch.device('cpu')).samples] == [2]
    train(config, tmp_path, 'cpu')
    assert (tmp_path / 'samples.png').stat().st_size > 1000
    card = (tmp_path / 'README.md').read_text()
    assert f'samples in `{BLENDER}`; the last 30% held out' in card and '2 of 2 (' in card and 'validation: mae' in card


@pytest.mark.parametrize(
    'network, network_config, says',
    [
        ('ddffnet', {}, r'sequences of 5 frames, but it reads stacks of 4: give a multiple of that'),
        ('lstm_ddff', {'size': [32, 32]}, r'takes images of 32x32 only, these have 64x64'),
    ],
)
def test_unreadable_samples_are_refused_before_training(tmp_path, network, network_config, says):
    config = replace(
        CONFIG,
        network=network,
        network_config={'width': 0.05, **network_config},
        likelihood=0,
        coc=0,
        coarse=0,
        held_out=0.3,
        validation='samples',
    )
    with pytest.raises(InputError, match=f'blender-000000.tar: 00000002: network {network}: {says}'):
        train(config, tmp_path, 'cpu')
    assert not (tmp_path / 'log.jsonl').exists()


def test_pixels_ignored_in_training_are_ignored_in_validation():
    """A network that is right about the objects and wrong about the wall."""

    class KnowsObjects(Network):
        def sequence(self, images, focus, blur_scale, decode):
            stack = to_stack_batch(Samples(BLENDER)[2])
            u = torch.where(stack.foreground, stack.vergence, 0.5)[:, -1:]
            return Prediction(u, torch.zeros_like(u), torch.zeros_like(u)), [], []

    config = replace(CONFIG, held_out=0.3, validation='samples')
    counted, all_ = (
        SampleValidation(replace(config, mask_wall=mask), torch.device('cpu')).figures(KnowsObjects())
        for mask in (True, False)
    )
    assert counted['mae'] == 0 and all_['mae'] > 0.05


def test_samples_without_a_truth_are_no_validation(monkeypatch):
    read = Samples.__getitem__
    monkeypatch.setattr(
        Samples,
        '__getitem__',
        lambda self, index: replace(read(self, index), depth=np.full((5, 64, 64), np.nan, np.float32)),
    )
    with pytest.raises(InputError, match='blender: none of the 1 samples for validation .* has a true depth'):
        SampleValidation(replace(CONFIG, held_out=0.3, validation='samples'), torch.device('cpu'))


def test_an_observer_sees_every_step_and_can_stop(tmp_path):
    class Stops(Observer):
        steps, validated = [], []

        def on_step(self, progress):
            self.steps.append(progress.step)
            return progress.step < 3

        def on_validation(self, step, figures, weights, picture):
            self.validated.append((step, weights, picture))

    config = replace(CONFIG, steps=10, held_out=0.3, validation='samples', validate_every=2)
    observer = Stops()
    train(config, tmp_path, 'cpu', observer=observer)
    assert observer.steps == [1, 2, 3]
    assert observer.validated == [(2, tmp_path / 'best.safetensors', tmp_path / 'samples.png')]
    assert torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['step'] == 3


@pytest.mark.parametrize(
    'changes, line',
    [
        (dict(validation='samples'), 'validation: samples needs shards and held_out'),
        (dict(held_out=1.0), 'held_out: 1.0 should be below 1'),
    ],
)
def test_what_cannot_be_held_out(changes, line):
    with pytest.raises(InputError, match=line):
        make_config({'shards': str(BLENDER), **changes}, 'config')


def test_too_few_samples_to_hold_any_out(tmp_path):
    with pytest.raises(InputError, match='3 samples are too few to hold 90% of them out'):
        TrainingData(replace(CONFIG, held_out=0.9), tmp_path, torch.device('cpu'))
