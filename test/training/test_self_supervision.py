"""Training without truth: the frames themselves say where the depth is."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.cli import main
from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.synthesis.defocus import defocus
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.training.config import make_config
from dfd_ros.training.reblurring import HYPOTHESES, misfits
from dfd_ros.training.self_supervision import expected_misfit, roughness
from dfd_ros.training.unlabelled_stacks import UnlabelledStacks, aligned

FOCUS, BLUR = torch.linspace(0, 1, 5), torch.full((5,), 14.0)


def photographs(vergence: torch.Tensor) -> torch.Tensor:
    """(5, 3, H, W) of a textured surface of u (H, W), at `FOCUS`."""
    texture = torch.rand(1, 3, *vergence.shape, generator=torch.Generator().manual_seed(0))
    scene = torch.cat([texture, torch.ones_like(texture[:, :1])], 1).expand(5, -1, -1, -1)
    coc = BLUR[:, None, None, None] * (vergence - FOCUS[:, None, None, None])
    seen = defocus(scene, coc, torch.full((5,), 8.0))
    return srgb_encode((seen[:, :3] / seen[:, 3:]).clamp(0, 1))


@pytest.mark.parametrize('u', [0.0, 0.13, 0.5, 0.92])
def test_the_vergence_that_explains_a_surface_is_its_own(u):
    misfit, _ = misfits(photographs(torch.full((64, 64), u)), FOCUS, BLUR)
    best = HYPOTHESES[misfit.argmin(0)][12:-12, 12:-12]
    assert (best - u).abs().median() <= 0.04
    assert ((best - u).abs() < 0.1).float().mean() > 0.95


def test_exposure_is_no_blur():
    images = photographs(torch.full((64, 64), 0.5))
    images = images * torch.tensor([1.0, 0.9, 1.0, 0.85, 0.95])[:, None, None, None]
    best = HYPOTHESES[misfits(images, FOCUS, BLUR)[0].argmin(0)][12:-12, 12:-12]
    assert (best - 0.5).abs().median() <= 0.04


def test_the_sharp_image_is_that_of_the_frame_in_focus():
    images = photographs(torch.full((64, 64), 0.75))
    _, sharp = misfits(images, FOCUS, BLUR)
    errors = [(sharp - image.mean(0)).abs()[12:-12, 12:-12].mean().item() for image in images]
    assert errors.index(min(errors)) == 3


@pytest.mark.parametrize('start', [0.15, 0.35, 0.65, 0.85])
def test_the_gradient_points_to_the_true_depth(start):
    truth = torch.full((64, 64), 0.5)
    misfit, _ = misfits(photographs(truth), FOCUS, BLUR)
    vergence = torch.full((1, 1, 1, 64, 64), start, requires_grad=True)
    expected_misfit(misfit[None], vergence, torch.full_like(vergence, math.log(0.1))).sum().backward()
    towards = vergence.grad[0, 0, 0, 12:-12, 12:-12].sign() == math.copysign(1, start - 0.5)
    assert towards.float().mean() > 0.95


def test_smoothness_gives_way_at_the_edges_of_the_image():
    step = (torch.arange(32) >= 16).float().expand(32, 32)
    vergence = step[None, None, None]
    plain, edge = (roughness(vergence, sharp[None]).item() for sharp in (torch.zeros(32, 32), step))
    assert 0 < edge < 0.01 * plain
    assert roughness(torch.full_like(vergence, 0.3), step[None]) == 0


def stack_of(seed: int, frames: int = 4, **changes) -> FocalStack:
    settings = StackSettings(
        height=48, width=48, frames=frames, ramp=(frames, frames), static=1.0, unknown_aperture=0.0, breathing=0.0,
        breathing_residual=None, **changes,
    )  # fmt: skip
    stack = to_sample(render_stack(seed, settings), f'stack {seed}').to_focal_stack()
    # The same blur by a lens as there may be: those drawn at random have any f-number.
    stack.lens_states = [
        replace(state, focal_length=4 * state.focal_length, f_number=16 * state.f_number) for state in stack.lens_states
    ]
    return stack


@pytest.fixture(scope='module')
def stacks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('stacks')
    for seed in range(3):
        stack_of(seed).write(folder / str(seed))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    """Its configuration, of a tiny network."""
    torch.manual_seed(0)
    networks.save(tmp_path / 'tiny.safetensors', networks.create('stream', **TINY), {})
    values = {
        'name': 'tiny',
        'initial_weights': str(tmp_path / 'tiny.safetensors'),
        'validation': 'stacks',
        'held_out': 0.3,
        'steps': 3,
        'learning_rate': 1e-3,
        'precision': 'fp32',
        'save_every': 100,
        'stages': [{'crop': 32, 'batch': 1, 'frames': 4, 'decode': 2}],
    }
    (tmp_path / 'run.yaml').write_text(yaml.safe_dump(values))
    return tmp_path / 'run.yaml'


@pytest.mark.slow(reason='a network is trained by the command')
def test_the_command_trains_without_truth(run, stacks, tmp_path, capsys):
    assert main(['train', str(run), '--stacks', str(stacks), '--out', str(tmp_path / 'runs'), '--device', 'cpu']) == 0
    folder = tmp_path / 'runs' / 'tiny'
    before, line = map(json.loads, (folder / 'log.jsonl').read_text().splitlines())
    assert (before['step'], line['step']) == (0, 3) and before['loss'] > 0
    assert 0 < line['frames'] < 1.5 and line['smoothness'] > 0
    assert line['loss'] == pytest.approx(line['frames'] + 0.5 * line['smoothness'])
    before, after = (networks.load(path) for path in (tmp_path / 'tiny.safetensors', folder / 'last.safetensors'))
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters()))
    assert 'focal stacks without truth' in (folder / 'README.md').read_text()
    assert (folder / 'samples.png').exists()


def test_the_truth_of_a_stack_is_not_read():
    stack = stack_of(0)
    assert np.isfinite(stack.depth).all() and aligned(stack).vergence.isnan().all()


def test_frames_are_brought_into_the_view_of_the_last():
    image = stack_of(1, softness=(2.0, 2.0)).images[0]
    large = np.kron(image, np.ones((4, 4, 1), np.uint8))
    states = [LensState(distance, 0.004, 2.0, 2e-6) for distance in (1.0, 0.5, 0.4)]
    images = [np.ascontiguousarray(large[8 : 8 + 160, s : s + 160]) for s in (20, 14, 10)]
    batch = aligned(FocalStack(images, states))
    area = (..., slice(20, -20), slice(20, -20))
    shifted = np.abs(images[0][20:-20, 20:-20].astype(float) - images[2][20:-20, 20:-20]).mean()
    left = (batch.images[0, 0][area].float() - batch.images[0, 2][area].float()).abs().mean()
    assert left < 0.25 * shifted


def without_lens(folder: Path) -> None:
    stack = stack_of(0)
    stack.lens_states = [replace(state, f_number=math.nan) for state in stack.lens_states]
    stack.write(folder / 'a')


def of_one_frame(folder: Path) -> None:
    stack = stack_of(0)
    FocalStack(stack.images[:1], stack.lens_states[:1]).write(folder / 'a')


def of_small_images(folder: Path) -> None:
    stack = stack_of(0)
    stack.images = [image[:20] for image in stack.images]
    stack.depth = None
    stack.write(folder / 'a')


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda folder: None, 'stacks: no focal stack .a folder with a stack.yaml. in it'),
        (without_lens, 'a: focal_length_mm, f_number and sensor_width_mm of the lens must be known'),
        (of_one_frame, 'a: one focus distance, needs two or more'),
        (of_small_images, r'a: 48x20 px .* smaller than the crops of 32 \(stages, crop\)'),
        (lambda folder: stack_of(0).write(folder / 'a'), '1 focal stacks, of which 1 are held out'),
    ],
    ids=['empty', 'no lens', 'one frame', 'small', 'nothing left'],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(run, tmp_path, capsys, make, message):
    (tmp_path / 'stacks').mkdir()
    make(tmp_path / 'stacks')
    assert main(['train', str(run), '--stacks', str(tmp_path / 'stacks'), '--out', str(tmp_path / 'runs')]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.slow(reason='a network is trained')
def test_stacks_of_unknown_lens_are_left_out_with_a_warning(run, stacks, tmp_path, capsys):
    folder = tmp_path / 'stacks'
    for seed in range(2):
        stack_of(seed).write(folder / str(seed))
    without_lens(folder)
    config = make_config({**yaml.safe_load(run.read_text()), 'stacks': str(folder)}, 'run.yaml')
    data = UnlabelledStacks(config)
    assert (len(data.trained), len(data.held_out)) == (1, 1)
    assert '1 of 3 focal stacks cannot be trained on' in capsys.readouterr().err


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {'validation': 'presets'},
            'validation: presets; training on focal stacks without truth .*self_supervised.yaml',
        ),
        ({'stacks': ''}, 'validation: stacks; training on focal stacks'),
        ({'shards': 'data'}, 'stacks and shards are both given'),
        ({'initial_weights': ''}, 'initial_weights: not given; training without truth'),
        ({'network': 'poolnet'}, 'network: poolnet reads stacks'),
    ],
)
def test_settings_that_do_not_go_together(changes, message):
    values = {'stacks': 'data', 'validation': 'stacks', 'held_out': 0.1, 'initial_weights': 'default', **changes}
    with pytest.raises(InputError, match=f'^run.yaml.*{message}'):
        make_config(values, 'run.yaml')
