"""dfd study: trains all rows on the same scenes and budget, resumes where it was stopped, and reports figures."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import dfd

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stored_stacks import read_folder
from dfd_ros.evaluation.study import study_run, study_scenes
from dfd_ros.evaluation.study.scene_figures import evaluate, milliseconds
from dfd_ros.evaluation.study.study_rows import SHIPPED as SHIPPED_WEIGHTS
from dfd_ros.evaluation.study.study_rows import Budget, choose_rows, read_rows
from dfd_ros.evaluation.study.views import Views
from dfd_ros.inference.backends import TorchBackend
from dfd_ros.networks import Prediction
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training import loop
from dfd_ros.training.losses import sequence_loss
from dfd_ros.training.sequences import TrainingData
from dfd_ros.training.validation import DataValidation, Kept

SHIPPED = Path(__file__).parents[2] / 'config' / 'study.yaml'
ROWS = """
training: {learning_rate: 5e-3, warmup: 1, validations: 2, validate_stacks: 1, likelihood: 0.0, mse: 1.0, coarse: 0.0,
           coc: 0.0, edges: 0.0, precision: fp32}
rows:
- {name: tiny, title: Tiny stack, network: tiny_stack}
- {name: sized, network: tiny_stack, config: {size: crop, channels: 4}}
- {name: stream, title: Streaming, network: stream, config: {channels: [8, 8, 8, 8], hypotheses: 6, hidden: [4, 4]},
   training: {decode: 4, likelihood: 1.0, coarse: 0.3, coc: 0.3}}
- {name: untrained, network: tiny_stack, train: false}
"""
SMALL = ['--crop', '32', '--batch', '2', '--scenes', '3', '--tests', '1', '--workers', '0', '--device', 'cpu']


def run(out: Path, config: Path, budget: int, *arguments) -> int:
    """Exit status of a small `dfd study`."""
    return dfd('study', '--out', out, '--config', config, '--budget', budget, *SMALL, *arguments)


@pytest.fixture(scope='module', autouse=True)
def small():
    """A network of the tests' own, and scenes of few objects: rendering takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks._NETWORKS, 'tiny_stack', 'tiny_stack_network:TinyStackNetwork')
        patch.setattr(study_scenes, 'OBJECTS', (2, 4))
        yield


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'study.yaml'
    path.write_text(ROWS)
    return path


@pytest.fixture(scope='module')
def real(tmp_path_factory):
    """A focal stack of five frames, without a known lens, of another size than the crops."""
    folder = tmp_path_factory.mktemp('real') / 'stack'
    draw = np.random.default_rng(0)
    FocalStack(
        [draw.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(5)],
        [LensState(1 / v) for v in (1.0, 2.0, 2.4, 3.1, 4.0)],
    ).write(folder)
    return folder


@pytest.fixture(scope='module')
def study(config, real, tmp_path_factory):
    """A whole study of four steps."""
    folder = tmp_path_factory.mktemp('study') / 'out'
    assert run(folder, config, 4, '--real', real) == 0
    return folder


def results(folder: Path) -> dict:
    return json.loads((folder / 'results.json').read_text())


def test_all_rows_are_trained_measured_and_told(study):
    rows = {row['name']: row for row in results(study)['rows']}
    assert list(rows) == ['tiny', 'sized', 'stream', 'untrained']
    for row in rows.values():
        assert set(row['sets']) == {'small', 'large', 'moving', 'seen'}  # the real stack has no true depth
        for figures in row['sets'].values():
            assert figures['known'] == 1 and 0 < figures['mse'] == pytest.approx(figures['rms'] ** 2)
            assert 0 <= figures['accuracy'] <= 100 and figures['abs_rel'] > 0
        assert row['ms'] > 0 and row['parameters'] > 0
        assert row['sets']['large']['first_map'] == (1 if row['name'] == 'stream' else 4)
    assert [row.get('steps') for row in rows.values()] == [4, 4, 4, None]
    assert rows['tiny']['hours'] > 0 and rows['tiny']['device']
    table = (study / 'table.md').read_text()
    for part in (
        'Tiny stack',
        'Streaming',
        'small and large objects: MSE',
        '4 steps',
        'ms are of one depth map of 32x32, in ',
    ):
        assert part in table
    from PIL import Image

    for name in ('curves.png', 'figures.png', 'grid.jpg', 'real/tiny_stack.jpg', 'real/stream.jpg'):
        assert min(Image.open(study / name).size) > 200


def test_a_line_of_the_log_that_a_kill_cut_short_is_left_out(tmp_path):
    whole = [{'group': 'validation', 'step': step, 'hours': 0.1, 'mse': 0.5, 'more': math.nan} for step in (1, 2)]
    cut = json.dumps(whole[0])[:30]
    lines = [json.dumps(whole[0]), cut + json.dumps(whole[1]), '{"group": "training"}', '[]', json.dumps(whole[1]), cut]
    (tmp_path / 'log.jsonl').write_text('\n'.join(lines))
    assert [line['step'] for line in study_run.validations(tmp_path)] == [1, 2]
    (tmp_path / 'log.jsonl').write_text(cut)
    with pytest.raises(InputError, match='log.jsonl: no validation'):
        study_run.validations(tmp_path)


def test_rows_begin_from_weights(study, tmp_path):
    weights, rows = study / 'rows' / 'stream' / 'best.safetensors', tmp_path / 'rows.yaml'
    rows.write_text(f"""
training: {{warmup: 1, validations: 1, validate_stacks: 1, precision: fp32}}
rows:
- {{name: as_it_is, network: stream, weights: {weights}, train: false}}
- {{name: tuned, network: stream, weights: {weights}, training: {{decode: 4, learning_rate: 1e-6}}}}
""")
    assert run(tmp_path / 'out', rows, 1) == 0
    theirs = next(row for row in results(study)['rows'] if row['name'] == 'stream')
    as_it_is, tuned = results(tmp_path / 'out')['rows']
    assert as_it_is['sets'] == theirs['sets'] and as_it_is['trained_before'] and 'steps' not in as_it_is
    assert tuned['sets']['large']['rms'] == pytest.approx(theirs['sets']['large']['rms'], rel=0.02)
    assert tuned['steps'] == 1 and 'tuned: its weights were trained before' in (tmp_path / 'out/table.md').read_text()


def test_stacks_of_as_many_frames_as_asked_for(study, config, real, tmp_path, capsys):
    """All rows read them, those with weights of their own as well as those that are trained, and all are decoded where
    a row says so."""
    rows = tmp_path / 'rows.yaml'
    rows.write_text(config.read_text().replace('decode: 4', 'decode: all'))
    out = tmp_path / 'out'
    assert run(out, rows, 1, '--networks', 'tiny,stream', '--frames', '5', '--real', real) == 0
    tiny, stream = results(out)['rows']
    assert (tiny['sets']['large']['first_map'], stream['sets']['large']['first_map']) == (5, 1)
    assert networks.load(out / 'rows' / 'tiny' / 'last.safetensors').frames == 5
    assert 'Stacks of 5 frames' in (out / 'table.md').read_text()
    shared, found = read_rows(rows)
    settings = study_run.Settings('1', 32, 2, 3, 1, frames=5)
    a_study = study_run.Study(out, settings, shared, found, 'stream', device='cpu')
    stream_row = next(row for row in a_study.rows if row.name == 'stream')
    (stage,) = a_study.config(stream_row).stages
    assert (stage.frames, stage.decode) == (5, 5)
    scene = folder_scene(real, 32, 5)
    titles = [title for title, _ in a_study.pictured([scene] * 3, scene)]
    both = ['small and large objects'] * 2
    assert titles == ['small objects', *both, 'moving scenes', 'Blender', 'Blender', 'real stack']
    assert scene.focus[0].tolist() == pytest.approx([0, 1 / 3, 1.4 / 3, 0.7, 1], abs=1e-6)
    assert scene.images.shape == (1, 5, 3, 32, 32)

    capsys.readouterr()
    rows.write_text(
        f'rows: [{{name: four, network: tiny_stack, train: false, '
        f'weights: {study / "rows" / "tiny" / "best.safetensors"}}}]'
    )
    assert run(tmp_path / 'four', rows, 1, '--frames', '5') == 2
    assert 'row four: reads stacks of 4 frames, those of this study have 5' in capsys.readouterr().err


def turned(x: torch.Tensor, view: int) -> torch.Tensor:
    x = x.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if view & bit])
    return x.transpose(-1, -2) if view & 4 else x


def test_the_mean_of_all_views_turns_with_the_image():
    """Whatever the network says, and frame after frame: what it remembers is that of each view."""
    torch.manual_seed(0)
    network = networks.create('stream', channels=[8, 8, 8, 8], hypotheses=6, kinds=[1, 2, 1], hidden=[4, 4])
    alone = TorchBackend(network, torch.device('cpu'), 'fp32')
    images, focus, blur_scale = torch.rand(2, 1, 3, 32, 32), torch.tensor([[0.2], [0.9]]), torch.tensor([20.0])

    def vergence(backend, view=0):
        first, *state = backend(turned(images[0], view), focus[0], blur_scale)
        second, *_ = backend(turned(images[1], view), focus[1], blur_scale, *state)
        return torch.stack([first.vergence, second.vergence])

    mean = vergence(Views(alone, 8))
    for view in range(8):
        torch.testing.assert_close(vergence(Views(alone, 8), view), turned(mean, view), rtol=0, atol=1e-5)
    assert (vergence(alone, 1) - turned(vergence(alone), 1)).abs().max() > 1e-4  # which alone it does not
    torch.testing.assert_close(vergence(Views(alone, 1)), vergence(alone))


def test_a_row_is_measured_by_the_mean_of_views(study, tmp_path):
    weights, rows = study / 'rows' / 'stream' / 'best.safetensors', tmp_path / 'rows.yaml'
    rows.write_text(f'rows: [{{name: mean, network: stream, weights: {weights}, train: false, views: 8}}]')
    assert run(tmp_path / 'out', rows, 1) == 0
    (mean,) = results(tmp_path / 'out')['rows']
    backend = TorchBackend(networks.load(weights), torch.device('cpu'), 'fp32')
    for views, same in ((Views(backend, 8), True), (backend, False)):
        figures = evaluate(views, study_scenes.procedural_scenes('large', 1, 32))
        assert (mean['sets']['large'] == pytest.approx(figures)) == same


@pytest.mark.slow(reason='scenes of a study are rendered')
def test_no_scenes_are_rendered_without_training(config, tmp_path):
    assert run(tmp_path, config, 4, '--networks', 'untrained') == 0
    assert [row['name'] for row in results(tmp_path)['rows']] == ['untrained']
    assert not (tmp_path / 'pool').exists()
    table = (tmp_path / 'table.md').read_text()
    assert 'Nothing was trained' in table and 'Budget' not in table


def test_what_is_finished_is_not_done_again(study, config, monkeypatch, capsys):
    def refuse(*_, **__):
        raise AssertionError('trained, measured or rendered again')

    before = {path: path.read_bytes() for path in study.glob('rows/*/*t.safetensors')}  # last and best
    assert len(before) == 6
    monkeypatch.setattr(study_run, 'train', refuse)
    monkeypatch.setattr(study_run, 'evaluate', refuse)
    monkeypatch.setattr(study_run, 'save_stack', refuse)
    (study / 'results.json').unlink()
    assert run(study, config, 4, '--networks', 'tiny') == 0
    assert [row['name'] for row in results(study)['rows']] == ['tiny', 'sized', 'stream', 'untrained']
    assert before == {path: path.read_bytes() for path in before}
    assert 'Tiny stack' in capsys.readouterr().out


def test_other_settings_want_another_folder(study, config, tmp_path, capsys):
    assert run(study, config, 5) == 2
    assert f'{study}: was made with budget 4, not 5; give the same' in capsys.readouterr().err
    settings = study / 'settings.json'
    before = settings.read_text()
    settings.write_text(json.dumps(json.loads(before) | {'budget': 'x' * 5000}))
    assert run(study, config, 4) == 2
    assert len(capsys.readouterr().err) < 1000
    settings.write_text(before)
    changed = tmp_path / 'changed.yaml'
    changed.write_text(ROWS.replace('config: {size: crop, channels: 4}', 'config: {size: crop, channels: 5}'))
    assert run(study, changed, 4, '--networks', 'tiny') == 2
    assert 'sized: was made with config.channels 4, not 5' in capsys.readouterr().err


def make(study, config, folder, **changes) -> study_run.Study:
    """A study of its own with the scenes of another."""
    shared, rows = read_rows(config)
    settings = study_run.Settings(**{**dict(budget='4', crop=32, batch=2, scenes=3, tests=1), **changes})
    folder.mkdir()
    (folder / 'pool').symlink_to(study / 'pool')
    return study_run.Study(folder, settings, shared, rows, device='cpu')


def test_the_row_in_hand_goes_on_after_a_kill(study, config, tmp_path, monkeypatch):
    killed = make(study, config, tmp_path / 'killed')
    row = killed.rows[0]

    def until_killed(*args):
        loop.train(*args, stop_after=2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(study_run, 'train', until_killed)
        killed.train(row)
    assert not (tmp_path / 'killed' / 'rows' / 'tiny' / 'finished.json').exists()
    assert killed.train(row)['steps'] == 4
    assert [line['step'] for line in study_run.validations(tmp_path / 'killed' / 'rows' / 'tiny')] == [2, 4]
    whole, resumed = (
        networks.load(folder / 'rows' / 'tiny' / 'last.safetensors').state_dict()
        for folder in (study, tmp_path / 'killed')
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.slow(reason='networks are trained')
def test_jobs_train_the_rows_together(study, config, tmp_path, capsys):
    out = tmp_path / 'shared'
    assert run(out, config, 4, '--networks', 'tiny_stack', '--shard', '2/2') == 0
    assert 'rows     1 trained; other jobs train tiny\n' in capsys.readouterr().out
    assert not (out / 'table.md').exists()
    assert run(out, config, 4, '--networks', 'tiny_stack', '--shard', '1/2') == 0
    alone = {row['name']: row['sets'] for row in results(study)['rows']}
    together = {row['name']: row['sets'] for row in results(out)['rows']}
    assert list(together) == ['tiny', 'sized', 'untrained']
    for name in ('tiny', 'sized'):  # the untrained one has random weights
        assert {key: together[name][key] for key in study_scenes.SETS} == {
            key: alone[name][key] for key in study_scenes.SETS
        }


def test_a_budget_of_time_ends_with_the_time(study, config, tmp_path, monkeypatch):
    """Each look at the clock takes a second: a step takes one. The time before a stop counts."""
    clock = iter(range(1000))
    monkeypatch.setattr(loop, 'time', SimpleNamespace(monotonic=lambda: float(next(clock))))
    rates = []
    monkeypatch.setattr(loop, 'learning_rate', lambda config, step, share: rates.append((step, share)) or 1e-3)
    timed = make(study, config, tmp_path / 'timed', budget='0.1m')
    folder = tmp_path / 'timed' / 'rows' / 'tiny'
    loop.train(timed.config(timed.rows[0]), folder, 'cpu', stop_after=2)
    assert timed.train(timed.rows[0])['steps'] == 6
    assert dict(rates) == pytest.approx({step: step / 6 for step in range(6)})
    assert [line['step'] for line in study_run.validations(folder)] == [2, 3, 6]
    assert timed.train(timed.rows[0])['hours'] == pytest.approx(6 / 3600)


def test_a_finished_time_is_not_exceeded(study, config, tmp_path, monkeypatch):
    """Killed between the last checkpoint and the note that the row is finished."""
    clock = iter(range(1000))
    monkeypatch.setattr(loop, 'time', SimpleNamespace(monotonic=lambda: float(next(clock))))
    timed = make(study, config, tmp_path / 'timed', budget='0.05m')
    loop.train(timed.config(timed.rows[0]), tmp_path / 'timed' / 'rows' / 'tiny', 'cpu')
    assert timed.train(timed.rows[0])['steps'] == 3


def test_the_rate_falls_with_the_time(config):
    settings = SimpleNamespace(steps=10**9, hours=2.0, warmup=1, decay=0.5, learning_rate=1.0)
    shares = [loop.progress(settings, 100, hours * 3600) for hours in (0, 1, 1.5, 2)]
    assert shares == pytest.approx([0, 0.5, 0.75, 1], abs=1e-6)
    assert [loop.learning_rate(settings, 100, share) for share in shares] == pytest.approx([1, 1, 0.5, 0], abs=1e-6)


def test_all_rows_see_the_same_and_the_wall_does_not_count(study, config):
    shared, rows = read_rows(config)
    a_study = study_run.Study(study, study_run.Settings('4', 32, 2, 3, 1), shared, rows, device='cpu')
    batches = []
    for row in rows[:3]:
        source = TrainingData(a_study.config(row), study, torch.device('cpu'))
        batches.append([source.batch(step) for step in range(3)])
        source.close()
    for other in batches[1:]:
        for a, b in zip(batches[0], other):
            assert all(torch.equal(x.nan_to_num(-9), vars(b)[name].nan_to_num(-9)) for name, x in vars(a).items())
    for batch in batches[0]:
        assert batch.images.shape == (2, 4, 3, 32, 32)
        assert torch.allclose(batch.focus, torch.linspace(0, 1, 4))  # rising
    masked = torch.cat([batch.vergence for batch in batches[0]]).isnan()
    assert 0.02 < masked.double().mean() < 0.98
    open_ = TrainingData(replace(a_study.config(rows[0]), mask_wall=False), study, torch.device('cpu'))
    truth = torch.cat([open_.batch(step).vergence for step in range(3)])
    assert truth.isfinite().all() and truth[masked].mean() < 0.2 < truth[~masked].mean()


def test_a_network_without_uncertainty_is_told_its_errors(study):
    """Those of training, over the pixels that count."""
    log_error = networks.load(study / 'rows' / 'tiny' / 'last.safetensors').log_error
    assert log_error.isfinite() and log_error != 0


def test_a_loss_without_a_weight_is_not_computed():
    """A network without hypotheses has no coarse loss; one without a CoC of its own tells NaN where k is unknown."""
    generator = torch.Generator().manual_seed(0)
    truth, u = torch.rand(2, 2, 1, 1, 8, 8, generator=generator)
    truth[0, ..., :4] = torch.nan
    u.requires_grad_()
    weights = SimpleNamespace(
        likelihood=0.0, mse=2.0, depth=0.0, coarse=0.3, coc=0.0, edges=0.0, edges_behind=0.0, gradient=0.0
    )
    total, parts = sequence_loss(
        Prediction(u, torch.zeros_like(u), torch.full_like(u, torch.nan)),
        [],
        None,
        truth,
        10 * truth,
        torch.tensor([5.0]),
        weights,
    )
    assert set(parts) == {'mse'}
    assert total.item() == pytest.approx(2 * (u - truth).square().nanmean().item())
    total.backward()
    assert u.grad.isfinite().all() and (u.grad[truth.isnan()] == 0).all() and (u.grad != 0).any()


def test_validation_presets_are_not_for_stacks(study, config, tmp_path):
    timed = make(study, config, tmp_path / 'presets')
    with pytest.raises(InputError, match='reads stacks of 4 frames.*set validation: data'):
        loop.train(replace(timed.config(timed.rows[0]), validation='presets'), tmp_path / 'run', 'cpu')


# Figures.

RANGE = VergenceRange(0.25, 1.25)


def scene(u: torch.Tensor, counted: torch.Tensor | None = None) -> StackBatch:
    counted = torch.ones_like(u, dtype=torch.bool) if counted is None else counted
    one, row = torch.ones(1), torch.ones(1, 4)
    return StackBatch(
        images=torch.zeros(1, 4, 3, *u.shape, dtype=torch.uint8),
        focus=torch.linspace(0, 1, 4)[None],
        blur_scale=20 * one,
        vergence=u.expand(1, 4, 1, -1, -1),
        blur=20 * row,
        foreground=counted.expand(1, 4, 1, -1, -1),
        near=RANGE.near * one,
        far=RANGE.far * one,
        focal_length=one,
        f_number=one,
        pixel_pitch=one,
        magnification=row,
    )


def folder_scene(folder, *arguments) -> StackBatch:
    return study_scenes.sample_scene(read_folder(folder), *arguments)


def last(maps: torch.Tensor) -> torch.Tensor:
    return maps[0, -1, 0]


class Fixed:
    """Says what it is given after each frame."""

    device = torch.device('cpu')

    def __init__(self, *maps):
        self.maps, self.calls = maps, 0

    def __call__(self, image, focus, blur_scale, *state):
        u = self.maps[self.calls % len(self.maps)][None, None]
        self.calls += 1
        return Prediction(u, u, u), u


def test_figures_by_hand():
    truth = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    counted = torch.tensor([[True, True], [True, False]])
    unknown, first = torch.full_like(truth, math.nan), torch.ones_like(truth)
    last = RANGE.normalise(torch.tensor([[2.0, 0.25], [0.5, 9.0]]))  # 2 m is beyond the range: its far end
    figures = evaluate(Fixed(unknown, first, first, last), [scene(truth, counted)])
    middle = RANGE.denormalise(0.5)
    assert figures['mse'] == pytest.approx(((0.5 - middle) / 1.25) ** 2 / 3, rel=1e-5)
    assert figures['rms'] == pytest.approx(figures['mse'] ** 0.5)
    assert figures['abs_rel'] == pytest.approx(abs(0.5 - middle) / middle / 3, rel=1e-5)
    assert figures['accuracy'] == pytest.approx(100) and figures['known'] == 1 and figures['first_map'] == 2
    assert figures['first_rms'] == pytest.approx(
        (((1.0 / 1.25) ** 2 + ((middle - 0.25) / 1.25) ** 2) / 3) ** 0.5, rel=1e-5
    )


def test_a_hole_is_told():
    truth, holes = torch.full((2, 2), 0.5), torch.tensor([[0.5, 0.5], [0.5, math.nan]])
    figures = evaluate(Fixed(truth, truth, truth, holes), [scene(truth)])
    assert figures['known'] == 0.75 and figures['mse'] == 0


def test_a_depth_map_of_a_stack_is_timed_with_all_its_frames():
    u = torch.zeros(4, 4)
    stream, stack = Fixed(u), Fixed(u)
    times = milliseconds({'stream': (stream, 1), 'stack': (stack, 4)}, scene(u), rounds=2)
    assert set(times) == {'stream', 'stack'} and min(times.values()) > 0
    assert stack.calls == 3 * 4 and stream.calls == 3 * 2  # of which one is the stream's past


# Input.


@pytest.mark.parametrize('text, steps, hours', [('500', 500, 0), ('10m', 0, 1 / 6), ('2h', 0, 2), ('1.5d', 0, 36)])
def test_budgets(text, steps, hours):
    budget = Budget.parse(text)
    assert budget.steps == steps and budget.hours == pytest.approx(hours)


@pytest.mark.parametrize('text', ['0', '0m', '1.5', '-3', '5s', 'm', '2 h', '1e3'])
def test_what_is_no_budget(text, tmp_path, capsys):
    assert dfd('study', '--out', tmp_path / 'out', f'--budget={text}') == 2
    assert 'give optimiser steps (500) or the time of each network' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_rows_that_ship_can_be_trained():
    _shared, rows = read_rows(SHIPPED)
    assert {row.network for row in rows} == {
        'ddffnet',
        'lstm_ddff',
        'recurrent_autoencoder',
        'poolnet',
        'best_focus',
        'variational',
        'stream',
    }
    known = [row for row in rows if row.network in networks.names()]
    assert {row.name for row in known} >= {'stream', 'stream_coc'}
    shipped = [row for row in rows if row.weights]
    assert {row.weights for row in shipped} == set(SHIPPED_WEIGHTS)
    assert {networks.load(row.weights_path()).name for row in shipped} == {'stream'}
    chosen = choose_rows(rows, 'stream,ddffnet_coc')
    assert [row.name for row in chosen] == [
        'ddffnet_coc',
        'stream',
        'stream_coc',
        'stream_tuned',
        'stream_ships',
        'stream_study',
        'stream_study_views',
        'stream_blender',
        'stream_blender_views',
    ]
    with pytest.raises(InputError, match='no row of the study "stram"'):
        choose_rows(rows, 'stram')


@pytest.mark.parametrize(
    'text, says',
    [
        ('rows: []', 'rows: []: list should have at least 1 item'),
        ('rowz: []', 'no setting "rowz"; there are rows'),
        ('rows: [{name: a}]', 'rows[0], network: is missing'),
        ('rows: [{name: A b, network: stream}]', "rows[0], name: 'A b': text should match pattern"),
        ('rows: [{name: a, network: stream}, {name: a, network: stream}]', 'two rows are called "a"'),
        ('rows: [{name: a, network: stream}, {name: b, title: a, network: stream}]', 'two rows are called "a"'),
        ('rows: [{name: a, network: best_focus}]', 'row a, network: "best_focus" has no weights to train'),
        ('rows: [{name: a, network: stream, width: 3}]', 'rows[0]: no setting "width"'),
        ('rows: [{name: a, network: stream, train: 3}]', 'rows[0], train: 3 should be true or false'),
        ('rows: [{name: a, network: stream, views: 9}]', 'rows[0], views: 9 should be at most 8'),
        ('rows: [{name: a, network: strem}]', 'no network "strem"'),
        ('rows: [{name: a, network: stream, config: {width: 3}}]', 'row a: network "stream" with '),
        ('rows: [{name: a, network: stream, config: {blocks: [1, 2]}}]', 'row a: network "stream" with '),
        ('rows: [{name: a, network: stream, training: {decode: 5}}]', 'row a, stages: decode 5 of 4 frames'),
        ('rows: [{name: a, network: stream, training: {lr: 5}}]', 'row a: no setting "lr"'),
        (
            'rows: [{name: a, network: stream, weights: /nowhere.safetensors}]',
            'weights /nowhere.safetensors: no such file',
        ),
        ('rows: [{name: a, network: ddffnet, weights: default}]', 'ddffnet'),
        ('a: [', 'not YAML'),
    ],
)
def test_wrong_rows_are_refused_in_one_line(tmp_path, capsys, text, says):
    (tmp_path / 'rows.yaml').write_text(text)
    assert run(tmp_path / 'out', tmp_path / 'rows.yaml', 2) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['--crop', '8'], 'crop 8: must be at least 32'),
        (['--tests', '0'], 'tests 0: must be at least 1'),
        (['--workers', '-1'], '--workers -1: must be at least 0'),
        (['--real', 'nowhere'], 'nowhere: no such folder'),
        (['--blender', 'nowhere'], 'nowhere: no shard (*.tar) and no focal stack'),
        (['--data', 'nowhere'], 'nowhere: no shard (*.tar) and no focal stack'),
        (['--data', 'procedural', 'nowhere'], 'give procedural, or folders, not both'),
        (['--device', 'gpu'], "device 'gpu'"),
        (['--frames', '1'], 'frames 1: must be at least 2'),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, config, capsys, arguments, says):
    assert run(tmp_path / 'out', config, 2, *arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


# Focal stacks of other makers.


def test_of_a_real_stack_the_frames_at_even_steps_are_read(real):
    read = folder_scene(real)
    assert read.focus[0].tolist() == pytest.approx([0, 1 / 3, 0.7, 1], abs=1e-6)
    assert read.images.shape == (1, 4, 3, 40, 56) and read.blur_scale.isnan().all() and not read.foreground.any()
    small = folder_scene(real, 32)
    assert small.images.shape == (1, 4, 3, 32, 32) and last(small.vergence).shape == (32, 32)
    assert small.images.float().mean() == pytest.approx(read.images[..., 8:48].float().mean(), abs=2)
    with pytest.raises(InputError, match='images of 56x40, smaller than the 64x64 of this study'):
        folder_scene(real, 64)
    stack = FocalStack.read(real)
    assert all(np.array_equal(read.images[0, t].permute(1, 2, 0), stack.images[i]) for t, i in enumerate((0, 1, 3, 4)))


def test_the_truth_of_a_sample_is_that_of_the_frame_read_last():
    def sample(v):
        depth = 1 / np.arange(1, len(v) + 1, dtype=np.float32)[:, None, None] * np.ones((1, 32, 32), np.float32)
        background = np.zeros(depth.shape, bool)
        background[:, :, :3] = (np.arange(len(v)) % 2)[:, None, None] > 0
        return Sample(np.zeros((len(v), 32, 32, 3), np.uint8), [LensState(1 / x) for x in v], depth, background)

    rising = np.linspace(0.5, 11, 5)
    for v, number in ((rising, 4), (np.tile(rising, 2), 9), (rising[::-1], 0)):
        scene = study_scenes.sample_scene(sample(v))
        u = last(scene.vergence)
        assert scene.ranges()[0].denormalise(u[5, 5].item()) == pytest.approx(1 / (number + 1), rel=1e-4)
        assert u[:, :3].isnan().all() == (number % 2 == 1)
    falling = sample(rising[::-1])
    falling.depth[:-1] = np.nan
    with pytest.raises(InputError, match='no true depth of frame 0, which the study reads last'):
        study_scenes.sample_scene(falling)


def test_a_folder_whose_last_frame_is_not_last_is_refused(tmp_path):
    with pytest.raises(InputError, match='falling: no true depth of frame 0.*a folder has that of its last frame'):
        folder_scene(write(tmp_path / 'falling', (4.0, 3.0, 2.0, 1.0)))
    assert folder_scene(write(tmp_path / 'ramps', (1.0, 2.0, 3.0, 4.0) * 2)).foreground.any()


def write(folder, v, size=(40, 48), lens=(0.05, 2.0, 5e-6), seed=1) -> Path:
    draw = np.random.default_rng(seed)
    FocalStack(
        [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in v],
        [LensState(1 / x, *lens) for x in v],
        np.full(size, 0.4, np.float32),
    ).write(folder)
    return folder


def test_what_is_reduced_is_blurred_less(tmp_path):
    folder = write(tmp_path / 'stack', (1.0, 2.0, 3.0, 4.0), size=(64, 80))
    whole, half = folder_scene(folder), folder_scene(folder, 32)
    assert half.blur_scale == pytest.approx(whole.blur_scale / 2)
    assert half.foreground.all() and half.vergence.unique().tolist() == pytest.approx([0.5], abs=1e-6)


@pytest.mark.slow(reason='a study is trained on files')
def test_folders_are_trained_on_and_measured(config, tmp_path):
    write(tmp_path / 'stacks' / 'a', (1.0, 2.0, 3.0, 4.0))
    out = tmp_path / 'out'
    stacks = tmp_path / 'stacks'
    assert run(out, config, 1, '--networks', 'tiny,sized', '--data', stacks, '--blender', stacks) == 0
    assert len(list((out / 'pool' / '0').iterdir())) == 1
    tiny, sized = results(out)['rows']
    assert tiny['sets']['blender']['rms'] > 0 and sized['sets']['blender']['rms'] > 0
    assert 'Blender: MSE' in (out / 'table.md').read_text()


@pytest.mark.slow(reason='a study is trained on files')
def test_a_study_does_not_resume_on_other_data(config, tmp_path):
    write(tmp_path / 'stacks' / 'a', (1.0, 2.0, 3.0, 4.0))
    shared, rows = read_rows(config)

    def go_on():
        settings = study_run.Settings('4', crop=32, data=(str(tmp_path / 'stacks'),))
        study_run.Study(tmp_path / 'out', settings, shared, rows, device='cpu')

    go_on()
    go_on()
    write(tmp_path / 'stacks' / 'b', (1.0, 2.0, 3.0, 4.0))
    with pytest.raises(InputError, match=r'out: was made with samples 1 \(\w+\), not 2 \(\w+\); give the same'):
        go_on()
    path = tmp_path / 'out' / 'settings.json'
    settings = json.loads(path.read_text())
    del settings['samples']  # of an earlier version
    path.write_text(json.dumps(settings))
    go_on()


@pytest.mark.slow(reason='a study is trained on files')
def test_held_out_stacks_are_not_trained_on(config, tmp_path):
    for i in range(10):
        write(tmp_path / 'stacks' / f'{i}', (1.0, 2.0, 3.0, 4.0), seed=i)
    shared, rows = read_rows(config)
    settings = study_run.Settings('4', crop=32, data=(str(tmp_path / 'stacks'),))
    one = study_run.Study(tmp_path / 'out', settings, shared, rows, device='cpu')
    one.render(0)
    settings = one.config(one.rows[0])
    assert (settings.pool.start, settings.pool.held_out) == (9, 1)
    [(images, _, _, truth)] = DataValidation(settings, torch.device('cpu'), Kept(tmp_path)).batches
    held_out = folder_scene(tmp_path / 'stacks' / '9')
    assert torch.equal(images, held_out.images[..., 4:36, 8:40]) and truth.isfinite().all()


def test_large_stacks_are_reduced_for_training(tmp_path):
    sample = read_folder(write(tmp_path / 'stack', (1.0, 2.0, 3.0, 4.0), size=(80, 96)))
    scene, stack = study_scenes.sample_scene(sample), study_scenes.training_stack(sample, 32)
    assert stack.images.shape[-2:] == stack.vergence.shape[-2:] == stack.foreground.shape[-2:] == (40, 40)
    assert stack.blur_scale == pytest.approx(scene.blur_scale / 2)


@pytest.mark.parametrize(
    'v, changes, says',
    [
        ((1.0, 2.0, 4.0), {}, 'has 3 frames, the study reads 4'),
        ((1.0, 1.1, 1.2, 4.0), {}, 'too uneven'),
        ((1.0, 2.0, 3.0, 4.0), {'size': (24, 48)}, 'images of 48x24, smaller than the crops of 32x32'),
        ((1.0, 2.0, 3.0, 4.0), {'lens': ()}, 'training needs the focal length'),
    ],
)
def test_stacks_that_cannot_be_trained_on(tmp_path, v, changes, says):
    with pytest.raises(InputError, match=says):
        study_scenes.training_stack(read_folder(write(tmp_path / 'stack', v, **changes)), 32)
