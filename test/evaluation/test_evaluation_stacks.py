"""The procedural test sets: what they show, and the figures that the command prints of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import dfd

from dfd_ros.core.errors import InputError
from dfd_ros.evaluation.evaluation_stacks import _visible_blur, counted, find_procedural_set, procedural_stacks
from dfd_ros.synthesis.procedural import StackSettings
from dfd_ros.synthesis.scene import SceneSettings
from dfd_ros.synthesis.worlds.view import View


@pytest.mark.parametrize('untextured, visible', [(0.0, True), (1.0, False)])
def test_counted_pixels_of_walls_show_no_blur(untextured, visible):
    scene = SceneSettings(untextured=untextured, objects=(0, 0), wall=True, split='test')
    settings = replace(StackSettings.study(height=64, width=64), scene=scene)
    assert (_visible_blur(3, settings) == visible).all()


def test_only_what_is_plain_counts_on_walls():
    stacks = procedural_stacks('walls', 2, frames=3, size=64, sweep=2)
    assert all(0.1 < counted(stack, 0).mean() < 0.9 for stack in stacks)


@pytest.mark.parametrize('name, moves', [('real', True), ('still', False), ('walls', False)])
def test_what_moves_from_one_sweep_to_the_next(name, moves):
    stack = next(procedural_stacks(name, 1, frames=3, size=64, sweep=2))
    assert stack.lens_states[0].focus_distance == stack.lens_states[2].focus_distance
    assert (stack.depth[0] != stack.depth[2]).any() == moves


def test_sets_with_photographs_of_a_folder(tmp_path, capsys):
    assert find_procedural_set('real:photographs') == ('real', 'photographs')
    assert find_procedural_set('still') == ('still', '')
    assert [find_procedural_set(text) for text in ('field:photographs', 'real:', 'nowhere')] == [None] * 3
    assert dfd('evaluate', '--data', f'real:{tmp_path / "none"}', '--network', 'best_focus', '--stacks', '1') == 2
    assert f'{tmp_path / "none"}: no such folder of photographs' in capsys.readouterr().err


def test_rooms_are_photographs_of_a_folder_of_views(tmp_path):
    rng = np.random.default_rng(0)
    depth = np.linspace(1, 3, 160, dtype=np.float32)[:, None].repeat(160, 1)
    View(rng.random((160, 160, 3), np.float32), depth, 100.0).write(tmp_path / 'slope.npz')
    name, folder = find_procedural_set(f'rooms:{tmp_path}')
    one, two = procedural_stacks(name, 2, frames=3, size=64, sweep=2, folder=folder)
    assert (one.depth[0] == one.depth[2]).all() and counted(one, 0).mean() > 0.5
    assert (np.diff(np.nanmean(one.depth[0], 1)) > 0).all() and one.depth.shape == two.depth.shape
    with pytest.raises(InputError, match='rooms: give the folder of its views, rooms:DIR'):
        find_procedural_set('rooms')


def test_the_command_prints_what_is_wrong_and_what_flickers(tmp_path, capsys):
    path = tmp_path / 'figures.json'
    command = ('evaluate', '--data', 'walls', '--stacks', '1', '--size', '64', '--sweep', '2')
    assert dfd(*command, '--network', 'best_focus', '--device', 'cpu', '--json', path) == 0
    out = capsys.readouterr().out
    assert 'confident and wrong, of all' in out and 'still: true u changed by less than 0.01' in out
    figures = json.loads(path.read_text())
    assert [f['frame'] for f in figures] == [1, 2, 4, 6]
    assert figures[-1]['still'] == 1 and 0 <= figures[-1]['flicker_median'] < 1
