"""The Blender data set's processes, shards, contact sheet and card, with a worker that paints instead of Blender."""

import json
import re
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from dfd_ros.cli import main
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.machine import cores
from dfd_ros.datasets.rendering.dataset_card import _runs
from dfd_ros.datasets.shards import Samples, ShardWriter, count
from dfd_ros.synthesis.blender.blender_process import query

# The protocol is that of dfd_ros/datasets/rendering/worker.py. What it does at a seed stands in a file beside it:
# "crash" always, "crash once", "refuse" or "slow".
PAINTER = """#!{python}
import json, os, sys, time
from pathlib import Path
import numpy as np
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.shards import write_sample
from dfd_ros.synthesis.blender.render_settings import RenderSettings

here = Path(sys.argv[0]).parent
assert sys.argv[1:] == ['-m', 'dfd_ros.datasets.rendering.worker']
first = json.loads(sys.stdin.readline())
settings = RenderSettings.from_json(first['settings'])
print(json.dumps({{'blender': '0.0', 'gpu': False}}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    seed = job['seed']
    todo = json.loads((here / 'todo.json').read_text()).get(str(seed))
    marker = here / f'tried-{{seed}}'
    if todo == 'refuse':
        print(json.dumps({{'input_error': '/textures/x.png: Blender cannot read it'}}), flush=True)
        sys.exit(2)
    if todo == 'crash' or todo == 'crash once' and not marker.exists():
        marker.touch()
        print('Segmentation fault of some kind', file=sys.stderr, flush=True)
        os._exit(11)
    if todo == 'slow':
        marker.touch()
        time.sleep(60)
    shape = (settings.frames, settings.height, settings.width)
    depth = np.full(shape, 1.0, np.float32)
    about = {{'cores': sorted(os.sched_getaffinity(0)),
             'objects': 20, 'meshes': ['box'], 'textures': ['noise'], 'light': 'sun', 'blender': '0.0',
             'seconds': dict.fromkeys(('scene', 'truth', 'all in focus', 'frames'), 0.5)}}
    images = np.random.default_rng(seed).integers(0, 255, (*shape, 3), dtype=np.uint8)
    states = [LensState(f, *vars(settings.lens).values(), near=0.1, far=1.5) for f in settings.focus_distances()]
    write_sample(Path(job['path']), job['key'], Sample(
        images, states, depth, background=depth > 2, coc=depth, all_in_focus=images, seed=seed, source='blender',
        about=about))
    print(json.dumps({{'key': job['key'], 'about': about}}), flush=True)
"""


@pytest.fixture
def painter(tmp_path):
    """Path of the worker, and what it is to do, by seed."""
    folder = tmp_path / 'painter'
    folder.mkdir()
    path = folder / 'python'
    path.write_text(PAINTER.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def todo(**by_seed) -> str:
        (folder / 'todo.json').write_text(json.dumps({key.lstrip('s'): value for key, value in by_seed.items()}))
        return str(path)

    return todo


def arguments(out, python: str, *more: str) -> list[str]:
    options = ['--height', '32', '--width', '48', '--device', 'cpu']
    return ['render', '--engine', 'blender', '--out', str(out), *options, '--blender-python', python, *more]


def test_shards_contact_sheet_and_card(tmp_path, painter, capsys):
    out = tmp_path / 'deep' / 'set'
    assert main(arguments(out, painter(), '--scenes', '3', '--seed', '5', '--workers', '2')) == 0
    said = capsys.readouterr().out
    assert f'stacks   3 of 5 frames, 48x32, in {out}/' in said
    assert sorted(path.name for path in out.iterdir()) == [
        'README.md',
        'blender-00000005.tar',
        'contact_sheet.png',
        'scenes.jsonl',
        'settings.json',
    ]
    assert [sample.seed for sample in Samples(out)] == [5, 6, 7]
    card = (out / 'README.md').read_text()
    assert _runs([0, 1, 7, 1000, 1001]) == '0 to 1, 7, 1000 to 1001'
    assert '| stacks | 3 of 5 frames, 48x32 px' in card and '| seeds | 5 to 7 |' in card
    assert '2.9 mm, f/1' in card and '| meshes | box |' in card and '2.0 s a stack' in card
    with Image.open(out / 'contact_sheet.png') as picture:
        assert picture.width == 1600
    sample = next(iter(Samples(out)))
    sample.to_focal_stack().write(tmp_path / 'stack')
    np.testing.assert_array_equal(FocalStack.read(tmp_path / 'stack').images[2], sample.images[2])


def test_it_goes_on_where_it_was_stopped(tmp_path, painter, capsys):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(), '--scenes', '2')) == 0
    before = {path.name: path.read_bytes() for path in out.glob('*.tar')}
    assert main(arguments(out, painter(s0='crash', s1='crash'), '--scenes', '3')) == 0  # 0 and 1 are there
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sorted(sample.seed for sample in Samples(out)) == [0, 1, 2]
    assert '| stacks | 3' in (out / 'README.md').read_text()
    assert main(arguments(out, painter(), '--scenes', '3', '--motion', 'both')) == 2
    assert 'holds stacks with other settings (motion: static, not both)' in capsys.readouterr().err


def test_a_run_that_rendered_nothing_claims_nothing(tmp_path, painter, capsys):
    out = tmp_path / 'set'
    assert main(arguments(out, '/nowhere/python', '--scenes', '1', '--preset', 'phone')) == 2
    assert main(arguments(out, painter(), '--scenes', '1', '--preset', 'machine_vision')) == 0
    assert '25 mm, f/2' in (out / 'README.md').read_text()


def test_two_at_once_into_one_folder_are_refused(tmp_path, painter, capsys):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(), '--scenes', '1')) == 0
    with ShardWriter(out, 'blender'):
        assert main(arguments(out, painter(), '--scenes', '2')) == 2
    assert f'{out}: another process writes here' in capsys.readouterr().err
    assert count(out) == 1


def test_jobs_render_together_what_one_renders(tmp_path, painter, capsys):
    one, out = tmp_path / 'one', tmp_path / 'two'
    assert main(arguments(one, painter(), '--scenes', '5', '--workers', '1')) == 0
    for job in ('2/2', '1/2'):
        assert not (out / 'README.md').exists()
        assert main(arguments(out, painter(), '--scenes', '5', '--workers', '1', '--shard', job)) == 0
    assert 'stacks   2 of 5 of 5 frames' in capsys.readouterr().out
    name = 'blender-00000000.tar'
    assert (out / name).read_bytes() == (one / name).read_bytes()
    card = (out / 'README.md').read_text()
    assert '| stacks | 5 of' in card and '| jobs | 1/2: 3 stacks in 6.0 s; 2/2: 2 stacks in 4.0 s |' in card


def test_a_kill_loses_at_most_the_scene_in_hand(tmp_path, painter):
    out = tmp_path / 'set'
    python = painter(s2='slow')
    process = subprocess.Popen(
        [sys.executable, '-m', 'dfd_ros.cli', *arguments(out, python, '--scenes', '4', '--workers', '1')],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    marker, began = tmp_path / 'painter' / 'tried-2', time.monotonic()
    while not marker.exists() and time.monotonic() - began < 60:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(arguments(out, painter(s0='crash', s1='crash'), '--scenes', '4')) == 0
    assert count(out) == 4
    assert [path.name for path in out.iterdir() if path.name.startswith('.')] == []


def test_the_card_counts_scenes_missing_from_the_log(tmp_path, painter):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(), '--scenes', '2')) == 0
    card = (out / 'README.md').read_text()
    for left in ('', '{"seed": 0, "me'):
        (out / 'scenes.jsonl').write_text(left)
        assert main(arguments(out, painter(), '--scenes', '2')) == 0
        again = (out / 'README.md').read_text()
        assert '| seeds | 0 to 1 |' in again and '2.0 s a stack' in again
        assert again.split('| time')[0] == card.split('| time')[0]


def test_a_crash_costs_one_try(tmp_path, painter):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(s1='crash once'), '--scenes', '3', '--workers', '2')) == 0
    assert count(out) == 3


@pytest.mark.skipif(cores() < 2, reason='one core cannot be shared out')
def test_each_process_has_cores_of_its_own(tmp_path, painter):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(s0='crash once'), '--scenes', '6', '--workers', '2')) == 0
    used = {tuple(sample.about['cores']) for sample in Samples(out)}
    assert {len(share) for share in used} == {cores() // 2}
    assert len(used) == 1 or not set.intersection(*map(set, used))


def test_a_scene_that_always_crashes_is_named(tmp_path, painter, capsys):
    out = tmp_path / 'set'
    assert main(arguments(out, painter(s1='crash'), '--scenes', '3', '--workers', '1')) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        'dfd: error: Blender ended with status 11 on the scene of seed 1: '
        'Segmentation fault of some kind; rerun the same command to resume'
    )
    assert count(out) == 1  # what was done is packed


def test_bad_input_of_the_worker_is_said_in_one_line(tmp_path, painter, capsys):
    assert main(arguments(tmp_path / 'set', painter(s0='refuse'), '--scenes', '1')) == 2
    assert capsys.readouterr().err.splitlines()[-1] == 'dfd: error: /textures/x.png: Blender cannot read it'


def test_where_blender_is_missing_one_line_says_so(tmp_path, capsys):
    python = tmp_path / 'python'
    python.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.modules['bpy'] = None; "
        'from dfd_ros.datasets.rendering.worker import main; sys.exit(main())"\n'
    )
    python.chmod(0o755)
    assert main(arguments(tmp_path / 'set', str(python), '--scenes', '1')) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r'dfd: error: Blender is missing .*pip install bpy==4\.5', error)
    assert main(arguments(tmp_path / 'other', '/absent/python', '--scenes', '1')) == 2
    assert '--blender-python /absent/python: No such file' in capsys.readouterr().err


@pytest.mark.parametrize(
    'more, says',
    [
        (
            ('--preset', 'field'),
            '--preset field: with --engine blender choose one of defocusnet, phone, machine_vision',
        ),
        (('--ramp', '4'), 'ramp 4: preset defocusnet has 5 focus distances'),
        (('--device', 'cuda'), '--device cuda: with --engine blender choose auto, cpu or gpu'),
        (('--workers', '0'), '--workers 0: must be at least 1'),
        (('--scenes', '0'), '--scenes 0: must be at least 1'),
        (('--format', 'folders'), '--format folders: with --engine blender choose one of shards'),
        (('--textures', '/absent'), 'textures /absent: no such folder'),
    ],
)
def test_bad_arguments_are_refused_in_one_line(tmp_path, capsys, more, says):
    assert main(arguments(tmp_path / 'set', 'python', *more)) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1
    assert not (tmp_path / 'set').exists()


def test_foreign_folders_are_left_alone(tmp_path, painter, capsys):
    (tmp_path / 'mine.txt').write_text('keep')
    assert main(arguments(tmp_path, painter(), '--scenes', '1')) == 2
    assert 'is not a data set of this command' in capsys.readouterr().err
    assert (tmp_path / 'mine.txt').read_text() == 'keep'


def test_a_python_that_cannot_answer_is_named(tmp_path):
    with pytest.raises(InputError, match=r'^--blender-python /nowhere/python: No such file or directory$'):
        query('noise_check', {}, '/nowhere/python')
    without = tmp_path / 'python'
    without.write_text('#!/bin/sh\ncat > /dev/null\necho "No module named bpy" >&2\nexit 1\n')
    without.chmod(0o755)
    with pytest.raises(InputError, match='/python, noise_check: No module named bpy; give a Python that has bpy$'):
        query('noise_check', {}, str(without))
