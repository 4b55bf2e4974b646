"""What `dfd view` shows of a training run: its log, its pictures, its best weights and stacks for them."""

import json
import math
import os

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_training import TINY

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.datasets.stack_files import write_stacks
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.viewing.recorded_scenes import FocalScene, ResultScene, recorded
from dfd_ros.viewing.training_run import TrainingRun

FRAMES, SIZE = 3, 32


def line(group, step, **figures):
    return json.dumps({'group': group, 'step': step, **figures}) + '\n'


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / 'runs' / 'tiny'
    folder.mkdir(parents=True)
    text = line('training', 20, loss=2.0) + line('training', 40, loss=1.0) + line('validation', 40, mae=0.1, hours=0.5)
    (folder / 'log.jsonl').write_text(text)
    Image.new('RGB', (40, 30)).save(folder / 'samples.png')
    return folder


def write_weights(folder, **settings):
    about = {'steps': '40', 'run': json.dumps({'stacks': '', 'shards': '', **settings})}
    networks.save(folder / 'best.safetensors', networks.create('stream', **TINY), about)


def write_validation_stacks(folder, count=2):
    folder.mkdir()
    maps = (count, FRAMES, 1, SIZE, SIZE)
    of_stack = {
        name: torch.full((count,), value)
        for name, value in {
            'blur_scale': 10.0, 'near': 0.5, 'far': 2.0, 'focal_length': 4e-3, 'f_number': 2.0, 'pixel_pitch': 4e-6
        }.items()
    }  # fmt: skip
    stacks = StackBatch(
        images=torch.arange(count).to(torch.uint8)[:, None, None, None, None].expand(count, FRAMES, 3, SIZE, SIZE),
        focus=torch.linspace(0, 1, FRAMES).repeat(count, 1),
        vergence=torch.zeros(maps),
        blur=torch.ones(count, FRAMES),
        foreground=torch.ones(maps, dtype=torch.bool),
        magnification=torch.ones(count, FRAMES),
        **of_stack,
    )
    write_stacks(folder / 'field-1.safetensors', stacks)


def test_odd_lines_of_the_log_are_passed_over(run):
    write_weights(run)
    text = (run / 'log.jsonl').read_text()
    odd = ['"text"', '3', 'null', '[' * 10**5, '{}', '{"group": 1, "step": {}}', '{"group": 1, "step": 60, "a": []}']
    (run / 'log.jsonl').write_text('\n'.join([*odd, '{"group": "training", "step": 1' + 400 * '0' + '}', text]))
    assert TrainingRun(run).read_log()
    (run / 'log.jsonl').unlink()
    os.mkfifo(run / 'log.jsonl')
    with pytest.raises(InputError, match='log.jsonl: is a FIFO'):
        TrainingRun(run).read_log()


@pytest.mark.parametrize('stacks', [3, [1], {'a': 1}])
def test_odd_settings_of_the_weights_name_no_data(run, stacks):
    write_weights(run, stacks=stacks)
    assert TrainingRun(run).data is None


def test_a_run_shows_its_validation_stacks(run):
    with pytest.raises(InputError, match='best.safetensors: no such file; the first validation of the training writes'):
        recorded(run)
    write_weights(run)
    write_validation_stacks(run.parent / 'validation')
    found = recorded(run)
    assert found.title == 'tiny' and found.scenes == ['field-1 0', 'field-1 1']
    assert found.run.weights == run / 'best.safetensors' and found.run.weights_step == '40'
    scene = found.open(1)
    assert isinstance(scene, FocalScene) and scene.is_metric
    assert scene.range.near == pytest.approx(0.5) and scene.range.far == pytest.approx(2.0)
    assert scene.shots[0].image.shape == (SIZE, SIZE, 3) and scene.shots[0].image.max() == 1


def test_a_run_on_given_stacks_shows_those(run, tmp_path):
    states = [LensState(focus) for focus in (2.0, 0.5)]
    FocalStack([np.zeros((SIZE, SIZE, 3), np.uint8)] * 2, states).write(tmp_path / 'desks' / 'a')
    write_weights(run, stacks=str(tmp_path / 'desks'))
    found = recorded(run)
    assert found.title == 'tiny' and found.scenes == ['a']
    assert found.open(0).range == VergenceRange(0.5, 2.0)


def test_a_run_from_another_machine_shows_its_curves(run):
    write_weights(run, shards='/data/elsewhere')
    scene = recorded(run).open(0)
    assert isinstance(scene, ResultScene) and 'no stack of this run is on this machine' in scene.frame.note


def test_the_log_is_read_on_from_where_it_was(run):
    write_weights(run)
    view = recorded(run).run
    assert view.read_log() and not view.read_log()
    assert view.curves['training loss'] == [(20, 2.0), (40, 1.0)]
    with (run / 'log.jsonl').open('a') as log:
        log.write('{"group": "training", "st\n' + '[1]\n' + line('training', 40, loss=math.nan))
        log.write(line('training', 60, loss=0.5)[:-5])
    assert view.read_log()
    (first, loss), (again, none) = view.curves['training loss']
    assert (first, loss, again) == (20, 2.0, 40) and math.isnan(none), 'a killed run resumes at an earlier step'
    (run / 'log.jsonl').write_text(line('training', 20, loss=3.0))
    assert view.read_log() and view.curves == {'training loss': [(20, 3.0)]}


def test_the_column_of_a_run(run):
    pytest.importorskip('viser', reason='viser is not installed: pip install viser')
    from dfd_ros.viewing import page_server
    from dfd_ros.viewing.page_run import PERIOD, RunPanel

    write_weights(run)
    server = page_server.open_server('127.0.0.1', 0)
    try:
        panel = RunPanel(server.gui, recorded(run).run)
        training, validation = panel._curves
        assert training._name.value == 'loss' and validation._name.value == 'mae'
        assert [list(part) for part in training._plot.data] == [[20, 40], [2, 1]]
        assert panel._picture.visible and panel._picture.image.shape == (30, 40, 3)
        with (run / 'log.jsonl').open('a') as log:
            log.writelines(line('training', 20 * i, loss=1 / i) for i in range(3, 2000))
        panel._looked -= PERIOD
        panel.refresh()
        steps, losses = training._plot.data
        assert len(steps) <= 500 and steps[-1] == 20 * 1999 and losses[-1] == 1 / 1999
        (run / 'log.jsonl').unlink()
        panel._looked -= PERIOD
        panel.refresh()
    finally:
        page_server.close_server(server)
