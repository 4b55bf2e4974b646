"""dfd render: focal-stack folders that read back, with truth that fits the lens."""

import filecmp
import math

import numpy as np
import pytest
import torch
from PIL import Image

from dfd_ros.cli import main
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.shared_lock import SharedLock
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.evaluation.study.study_scenes import sample_scene
from dfd_ros.synthesis import procedural
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.training.config import Stage, TrainingConfig
from dfd_ros.training.sequences import TrainingData

pytestmark = pytest.mark.slow(reason='whole commands render stacks')

SIZE = ('--height', '48', '--width', '64', '--frames', '3')


def render(out, *arguments) -> int:
    return main(['render', '--engine', 'procedural', '--out', str(out), *SIZE, *arguments])


def test_stacks_read_back(tmp_path, capsys):
    out = tmp_path / 'deep' / 'data'
    assert render(out, '--stacks', '2', '--seed', '4', '--preset', 'study') == 0
    assert str(out / 'contact_sheet.png') in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        '0000',
        '0001',
        'README.md',
        'contact_sheet.png',
        'settings.json',
        'stacks.jsonl',
    ]
    for i in range(2):
        stack = FocalStack.read(out / f'{i:04d}')
        truth = render_stack(4 + i, StackSettings.study(height=48, width=64, frames=3, breathing_residual=None))
        range_ = truth.ranges()[0]
        assert len(stack) == 3
        for t, (image, state) in enumerate(stack):
            np.testing.assert_array_equal(image, truth.images[0, t].permute(1, 2, 0).numpy())
            assert range_.normalise(state.focus_distance) == pytest.approx(truth.focus[0, t].item(), abs=1e-5)
            assert state.range.near == pytest.approx(range_.near) and state.range.far == pytest.approx(range_.far)
        u = truth.vergence[0, -1, 0].numpy()
        np.testing.assert_allclose(range_.normalise(stack.depth.astype(float)), u, atol=1e-4)
        # The lens of the folder gives the blur that was rendered.
        coc = state.lens.coc_px(stack.depth.astype(float), state.focus_distance)
        np.testing.assert_allclose(coc, truth.coc[0, -1, 0].abs().numpy(), rtol=1e-3, atol=1e-2)


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name in ('a', 'b'):
        assert render(tmp_path / name, '--stacks', '1', '--preset', 'field') == 0
    comparison = filecmp.dircmp(tmp_path / 'a' / '0000', tmp_path / 'b' / '0000')
    assert comparison.same_files and not comparison.diff_files
    assert filecmp.cmp(tmp_path / 'a' / 'contact_sheet.png', tmp_path / 'b' / 'contact_sheet.png', shallow=False)


def test_test_and_training_scenes_differ(tmp_path):
    for split in ('train', 'test'):
        assert render(tmp_path / split, '--stacks', '1', '--split', split) == 0
    a, b = (FocalStack.read(tmp_path / split / '0000') for split in ('train', 'test'))
    assert not np.array_equal(a.images[0], b.images[0])


def test_unknown_aperture_is_written_as_unknown(tmp_path):
    assert render(tmp_path / 'data', '--stacks', '6', '--preset', 'field') == 0
    f_numbers = [FocalStack.read(tmp_path / 'data' / f'{i:04d}').lens_states[0].f_number for i in range(6)]
    assert {math.isnan(n) for n in f_numbers} == {True, False}


def test_the_contact_sheet_has_a_row_for_each_stack(tmp_path):
    heights = []
    for stacks in ('1', '3'):
        assert render(tmp_path / stacks, '--stacks', stacks) == 0
        with Image.open(tmp_path / stacks / 'contact_sheet.png') as picture:
            assert picture.width == 1600
            heights.append(picture.height)
    assert heights[1] > 2 * heights[0]


def test_shards_hold_the_truth_of_every_frame(tmp_path, random_weights, capsys):
    out = tmp_path / 'set'
    assert render(out, '--format', 'shards', '--stacks', '2', '--seed', '4', '--preset', 'study', '--frames', '5') == 0
    assert [path.name for path in out.glob('*.tar')] == ['procedural-00000004.tar']
    truth = render_stack(5, StackSettings.study(height=48, width=64, frames=5, breathing_residual=None))
    first, sample = Samples(out)
    assert (first.seed, sample.seed, sample.source) == (4, 5, 'procedural')
    assert (sample.about['preset'], sample.about['split']) == ('study', 'train')
    assert sample.about['settings']['frames'] == len(sample) and sample.about['made_by']['python']
    np.testing.assert_array_equal(sample.images, truth.images[0].permute(0, 2, 3, 1))
    np.testing.assert_array_equal(sample.background, ~truth.foreground[0, :, 0])
    batch = to_stack_batch(sample)
    for name in ('vergence', 'coc', 'focus', 'blur_scale'):
        np.testing.assert_allclose(getattr(batch, name), getattr(truth, name), rtol=1e-3, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(sample.coc, truth.coc[0, :, 0].abs(), rtol=1e-5)

    assert main(['evaluate', '--data', str(out), '--weights', str(random_weights), '--device', 'cpu']) == 0
    assert [sample_scene(sample, 40).images.shape for sample in Samples(out)] == [(1, 4, 3, 40, 40)] * 2
    config = TrainingConfig(shards=str(out), stages=(Stage(crop=32, batch=2, frames=4, decode=2),), half_size=0.0)
    assert TrainingData(config, tmp_path, torch.device('cpu')).batch(0).images.shape == (2, 4, 3, 32, 32)
    assert render(out, '--format', 'shards') == 2
    assert 'holds stacks with other settings (preset: study, not default)' in capsys.readouterr().err


def test_frames_of_shards_are_trained_on_in_one_scale(tmp_path):
    assert render(tmp_path / 'set', '--format', 'shards', '--stacks', '3', '--preset', 'field') == 0
    for sample in Samples(tmp_path / 'set'):  # where the aperture is not known too
        assert all(state.magnification >= 1 for state in sample.lens_states)
        assert len(set(to_stack_batch(sample).magnification[0].tolist())) == 1


@pytest.mark.parametrize(
    'arguments, says',
    [
        (('--motion', 'both'), '--motion: needs --engine blender'),
        (('--objects', 'small', '--samples', '64'), '--objects: needs --engine blender'),
        (('--meshes', '/nowhere'), '--meshes: needs --engine blender'),
        (('--breathing',), '--breathing: needs --engine blender'),
        (('--blender-python', 'x'), '--blender-python: needs --engine blender'),
        (('--bare', '0.3'), '--bare: only with --world or --rooms'),
        (('--rooms', '--bare', '1.5'), '--bare 1.5: must be at most 1'),
        (('--stacks', '0'), '--stacks 0: must be at least 1'),
        (('--frames', '1'), '--frames 1: must be at least 2'),
        (('--width', '8'), '--width 8: must be at least 32'),
        (('--seed', '-3'), '--seed -3: must be at least 0'),
        (('--device', 'gpu'), "device 'gpu'"),
        (('--shard', '3/2'), '--shard 3/2: must be I/N'),
    ],
)
def test_bad_arguments_are_refused_in_one_line(tmp_path, capsys, arguments, says):
    assert render(tmp_path / 'data', *arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.startswith('dfd: error: ') and error.count('\n') == 1
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    'arguments', [('--engine', 'povray'), ('--preset', 'moon'), ('--split', 'all'), ('--stacks', 'many')]
)
def test_unknown_choices_are_refused_in_one_line(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        render(tmp_path / 'data', *arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / 'mine.txt').write_text('keep')
    assert render(tmp_path) == 2
    assert 'already exists' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


def test_surfaces_like_real_ones(tmp_path, capsys):
    photographs = tmp_path / 'photographs'
    photographs.mkdir()
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(photographs / 'a.png')
    assert render(tmp_path / 'a', '--stacks', '2', '--preset', 'real', '--photographs', str(photographs)) == 0
    assert len(FocalStack.read(tmp_path / 'a' / '0001')) == 3
    assert render(tmp_path / 'b', '--photographs', str(photographs)) == 2
    assert 'only with --preset real' in capsys.readouterr().err
    assert render(tmp_path / 'c', '--preset', 'real', '--photographs', str(tmp_path / 'none')) == 2
    assert 'no such folder' in capsys.readouterr().err


@pytest.mark.parametrize('format_', ['folders', 'shards'])
def test_an_interrupted_run_is_resumed_by_the_same_command(tmp_path, capsys, monkeypatch, format_):
    out, whole = tmp_path / 'set', tmp_path / 'whole'
    options = ('--stacks', '3', '--format', format_)
    real = procedural.render_stack

    def interrupted(seed, *rest):
        if seed == 1:
            raise KeyboardInterrupt
        return real(seed, *rest)

    monkeypatch.setattr(procedural, 'render_stack', interrupted)
    assert render(out, *options) == 130
    monkeypatch.setattr(procedural, 'render_stack', real)
    assert render(out, *options, '--width', '96') == 2
    assert 'holds stacks with other settings (settings.' in capsys.readouterr().err
    assert render(out, *options) == 0 and render(whole, *options) == 0
    assert not [path.name for path in out.iterdir() if path.name.startswith('.')]
    for mine, theirs in zip(stored_stacks(out), stored_stacks(whole), strict=True):
        np.testing.assert_array_equal(mine.read().images, theirs.read().images)
    assert render(out, *options) == 0 and 'stacks   3 of' in capsys.readouterr().out


@pytest.mark.parametrize('format_', ['folders', 'shards'])
def test_jobs_render_together_what_one_renders(tmp_path, capsys, format_):
    options = ('--stacks', '5', '--preset', 'field', '--format', format_)
    assert render(tmp_path / 'one', *options) == 0
    out = tmp_path / 'three'
    assert render(out, *options, '--shard', '3/3') == 0 and render(out, *options, '--shard', '1/3') == 0
    assert 'stacks   3 of 5 of 3 frames' in capsys.readouterr().out
    assert not (out / 'README.md').exists()
    assert render(out, *options, '--shard', '2/3', '--width', '96') == 2
    for _ in range(2):  # the second has nothing left to do
        assert render(out, *options, '--shard', '2/3') == 0
    files = sorted(
        path.relative_to(out)
        for path in out.rglob('*')
        if path.is_file() and path.suffix in ('.tar', '.png', '.npy', '.yaml')
    )
    assert len(files) == (2 if format_ == 'shards' else 1 + 5 * 5)
    assert all((out / path).read_bytes() == (tmp_path / 'one' / path).read_bytes() for path in files)
    card = (out / 'README.md').read_text()
    assert '| seeds | 0 to 4 |' in card and '1/3: 2 stacks in' in card and '; 3/3: 1 stacks in' in card
    assert not [path for path in out.iterdir() if path.name.startswith('.')]


@pytest.mark.parametrize('format_', ['folders', 'shards'])
def test_what_another_job_is_just_writing_is_not_foreign(tmp_path, format_):
    (tmp_path / '.settings.1-0.part.json').touch()
    assert render(tmp_path, '--stacks', '1', '--format', format_, '--shard', '1/2') == 0


def test_a_job_alone_is_refused_beside_others(tmp_path, capsys):
    out = tmp_path / 'set'
    assert render(out, '--stacks', '2', '--format', 'shards', '--shard', '1/2') == 0
    lock = SharedLock(out)
    lock.share()
    assert render(out, '--stacks', '2', '--format', 'shards') == 2
    assert f'{out}: another process writes here' in capsys.readouterr().err
    assert render(out, '--stacks', '3', '--format', 'shards', '--shard', '1/2') == 2
    assert 'other processes write a set with count 2, not 3' in capsys.readouterr().err
    assert render(out, '--stacks', '2', '--format', 'shards', '--shard', '2/2') == 0
    assert (out / '.procedural.parts').exists()
    lock.close()
    assert render(out, '--stacks', '2', '--format', 'shards') == 0
    assert not (out / '.procedural.parts').exists()
