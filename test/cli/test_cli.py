"""The command dfd: what it writes, what it says, and how it fails."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from command_line import dfd
from PIL import Image
from sharpest_focus import SharpestFocus

import dfd_ros
from dfd_ros import cli, networks
from dfd_ros.cli._estimate_files import FILES
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.inference.onnx_export import export_onnx

pytestmark = pytest.mark.slow(reason='whole commands, one after the other')

SIZE = 48, 64


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = networks.create('stream', channels=(8, 8, 8, 8), hypotheses=4, hidden=(8, 8))
    path = tmp_path_factory.mktemp('weights') / 'small.safetensors'
    networks.save(path, network)
    return path


@pytest.fixture(scope='module')
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stacks') / 'three'
    draw = np.random.default_rng(0)
    FocalStack(
        [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(3)],
        [LensState(focus, 0.05, 2.0, 5e-6) for focus in (math.inf, 2.0, 0.5)],
    ).write(folder)
    return folder


def test_estimate_writes_what_it_says(stack, weights, tmp_path, capsys):
    out = tmp_path / 'results' / 'three'
    assert dfd('estimate', stack, '--out', out, '--weights', weights) == 0
    assert {path.name for path in out.iterdir()} == set(FILES) - {'relative_depth.npy'}
    depth, coc, confidence = (np.load(out / f'{name}.npy') for name in ('depth', 'coc', 'confidence'))
    assert depth.shape == confidence.shape == SIZE and coc.shape == (3, *SIZE)
    assert depth.dtype == coc.dtype == confidence.dtype == np.float32
    assert not (coc < 0).any() and (coc[-1] >= 0).all() and (depth > 0).all()
    assert (confidence >= 0).all() and (confidence <= 1).all()
    assert Image.open(out / 'depth.png').size == Image.open(out / 'all_in_focus.png').size == SIZE[::-1]
    said = capsys.readouterr()
    for part in ('3 of 64x48', '0.5 m to inf m', str(out), 'median'):
        assert part in said.out
    assert '3/3' in said.err


def test_estimate_masks_what_is_not_confident(stack, weights, tmp_path):
    assert dfd('estimate', stack, '--out', tmp_path / 'all', '--weights', weights) == 0
    confidence = np.load(tmp_path / 'all' / 'confidence.npy')
    level = float(np.median(confidence))
    assert dfd('estimate', stack, '--out', tmp_path / 'some', '--weights', weights, '--confidence', level) == 0
    depth = np.load(tmp_path / 'some' / 'depth.npy')
    np.testing.assert_array_equal(np.isnan(depth), confidence < np.float32(level))
    assert 0 < np.isnan(depth).mean() < 1


def test_estimate_with_all_options(stack, weights, tmp_path, capsys):
    options = '--network stream --near 0.25 --far 10 --sweeps 2 --resolution 32 --device cpu --backend torch'
    assert dfd('estimate', stack, '--out', tmp_path, '--weights', weights, *options.split(), '--no-registration') == 0
    assert np.load(tmp_path / 'coc.npy').shape == (3, *SIZE)
    said = capsys.readouterr()
    assert '0.25 m to 10 m' in said.out and 'read 2 times' in said.out and '6/6' in said.err


def test_a_second_sweep_continues_the_first_by_frame_times(stack, weights, tmp_path):
    timed = FocalStack.read(stack)
    timed.lens_states = [replace(state, stamp=5.0 * i) for i, state in enumerate(timed.lens_states)]
    timed.write(tmp_path / 'timed')
    depth = []
    for folder, sweeps in ((tmp_path / 'timed', 1), (tmp_path / 'timed', 2), (stack, 2)):
        assert dfd('estimate', folder, '--out', tmp_path / 'out', '--weights', weights, '--sweeps', sweeps) == 0
        depth.append(np.load(tmp_path / 'out' / 'depth.npy'))
    assert not np.array_equal(depth[0], depth[1]) and np.array_equal(depth[1], depth[2])


def test_estimate_with_onnx(stack, tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    file = tmp_path / 'sharpest.onnx'
    export_onnx(SharpestFocus(), file, SIZE)
    options = ['--backend', 'onnx', '--weights', file]
    assert dfd('estimate', stack, '--out', tmp_path / 'out', *options) == 0
    assert set(np.unique(np.load(tmp_path / 'out' / 'depth.npy'))) == {0.5, 2.0, math.inf}
    capsys.readouterr()
    assert dfd('estimate', stack, '--out', tmp_path / 'out', *options, '--resolution', 32) == 2
    assert 'exported for images of 64x48' in capsys.readouterr().err


@pytest.mark.parametrize(
    'args, says',
    [
        (['estimate', 'nowhere', '--out', 'o'], 'nowhere: no such file or folder'),
        (['estimate', '{stack}'], 'the following arguments are required: --out'),
        (['estimate', '{stack}', '--out', 'o', '--weights', 'nowhere.safetensors'], 'nowhere.safetensors'),
        (
            ['estimate', '{stack}', '--out', 'o', '--weights', '{weights}', '--network', 'other'],
            'small.safetensors: of the network "stream", not of "other"',
        ),
        (['estimate', '{stack}', '--out', 'o', '--confidence', '2'], '--confidence 2.0: must be at most 1'),
        (['estimate', '{stack}', '--out', 'o', '--sweeps', '0'], '--sweeps 0'),
        (
            ['estimate', '{stack}', '--out', 'o', '--near', '3', '--far', '2'],
            '--near, --far: vergence range: near 3.0 m',
        ),
        (['estimate', '{stack}', '--out', 'o', '--near', '1e-30'], '--near 1e-30: must be at least 0.001'),
        (['estimate', '{stack}', '--out', 'o', '--near', 'x'], "argument --near: invalid float value: 'x'"),
        (['estimate', '{stack}', '--out', 'o', '--weights', '{weights}', '--device', 'gpu'], "device 'gpu'"),
        (['estimate', '{stack}', '--out', '{weights}', '--weights', '{weights}'], 'small.safetensors: is not a folder'),
        (['export', '--out', 'o', '--size', '48'], "'48' is not WIDTHxHEIGHT"),
        (['export', '--out', 'o.onnx', '--weights', 'nowhere.safetensors'], 'nowhere.safetensors'),
        (['export', '--out', 'o.txt'], '--out o.txt: must end in .onnx'),
        (['nonsense'], "invalid choice: 'nonsense'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(args, says, stack, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dfd(*(arg.format(stack=stack, weights=weights) for arg in args)) == 2
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.startswith('dfd: error: ') and said.err.count('\n') == 1
    assert says in said.err


def test_every_command_has_help_and_an_example(capsys):
    assert dfd('--help') == 0
    overview = capsys.readouterr().out
    assert {'estimate', 'export'} <= set(cli._names())
    for name in cli._names():
        assert name in overview
        assert dfd(name, '--help') == 0
        text = capsys.readouterr().out
        assert 'example:\n  dfd ' in text
        assert '(default: [' not in text and '(default: (' not in text  # Python's notation
        assert not re.search(r'\(default: [^)]*\)\s+\(default: ', text)


def test_alone_it_prints_an_example_of_each_command_in_order(capsys):
    assert dfd() == 0
    said = capsys.readouterr().out
    examples = [line.split() for line in said.splitlines() if line.startswith('  dfd ')]
    assert [words[1] for words in examples] == cli._names()
    assert max(map(len, said.splitlines())) <= 120


def test_every_command_has_its_place():
    assert sorted(name for names in cli.GROUPS.values() for name in names) == sorted(cli._names())


@pytest.mark.parametrize('place', [0, 1, 4])
def test_verbose_tells_versions_and_where_an_error_is_from(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DFD_TRACEBACK', '')  # restored after the test
    arguments = ['estimate', tmp_path / 'nowhere', '--out', tmp_path]
    arguments.insert(place, '--verbose')
    with pytest.raises(InputError):
        dfd(*arguments)
    said = capsys.readouterr().err
    assert said.startswith(f'dfd {dfd_ros.__version__}, Python 3.') and 'torch' in said and 'processors' in said


def completions(line, tmp_path):
    """What the shell would offer behind this line."""
    answer = tmp_path / 'answer'
    subprocess.run(
        [sys.executable, '-m', 'dfd_ros.cli'],
        check=True,
        env={
            **os.environ,
            '_ARGCOMPLETE': '1',
            '_ARGCOMPLETE_IFS': '|',
            '_ARGCOMPLETE_STDOUT_FILENAME': str(answer),
            'COMP_LINE': line,
            'COMP_POINT': str(len(line)),
        },
    )
    return answer.read_text().replace(' ', '').split('|')


def test_the_shell_completes_commands_and_options(tmp_path, capsys):
    pytest.importorskip('argcomplete')
    assert completions('dfd est', tmp_path) == ['estimate']
    assert '--field-of-view' in completions('dfd estimate --f', tmp_path)
    assert set(completions('dfd estimate STACK --order ', tmp_path)) == {'far_to_near', 'near_to_far'}
    for shell in ('bash', 'zsh', 'fish'):
        assert dfd('completion', shell) == 0
        assert 'dfd' in capsys.readouterr().out


def test_completion_without_its_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'argcomplete', None)
    assert dfd('completion', 'bash') == 2
    assert capsys.readouterr().err == 'dfd: error: completion needs the package argcomplete: pip install argcomplete\n'


@pytest.mark.parametrize('command', [['demo'], ['export', '--out', 'o.onnx']])
@pytest.mark.parametrize('size', ['480', '480x', 'x480', '640x480x3', '-640x480', '640x0', '640x1e2', '99999x99999'])
def test_sizes_are_width_by_height(command, size, capsys):
    assert dfd(*command, f'--size={size}') == 2
    assert 'is not WIDTHxHEIGHT' in capsys.readouterr().err


def test_export_takes_the_width_first(tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    weights = tmp_path / 'newcomer.safetensors'
    networks.save(weights, networks.create('newcomer:Newcomer', channels=4))  # exported in a fifth of the time
    options = ['--weights', weights, '--network', 'newcomer:Newcomer', '--size', '128x96']
    assert dfd('export', '--out', tmp_path / 'o.onnx', *options) == 0
    assert 'images of 128x96' in capsys.readouterr().out
    shape = onnx.load(tmp_path / 'o.onnx').graph.input[0].type.tensor_type.shape
    assert [side.dim_value for side in shape.dim] == [1, 3, 96, 128]


def test_version(capsys):
    assert dfd('--version') == 0
    assert capsys.readouterr().out == f'dfd {dfd_ros.__version__}\n'


def test_help_and_public_names_import_nothing_heavy():
    code = (
        'import sys, dfd_ros; from dfd_ros import cli\n'
        "try: cli.main(['estimate', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'cv2', 'numpy', 'rclpy') if m in sys.modules], file=sys.stderr)\n"
        "dfd_ros.__version__, dfd_ros.LensState; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == '[]'


@pytest.mark.parametrize(
    'error, status, says',
    [
        (TypeError('a mistake'), 1, 'TypeError: a mistake (DFD_TRACEBACK=1'),
        (OverflowError('too large\nby far'), 2, 'OverflowError: too large by far (DFD'),
        (cv2.error('(-215)'), 2, 'error: (-215)'),
        (MemoryError(), 2, 'out of memory'),
        (OSError(28, 'No space left', 'x' * 5000), 2, 'xxx...'),
        (KeyboardInterrupt(), 130, 'dfd: interrupted'),
        (BrokenPipeError(), 141, ''),
    ],
)
def test_whatever_comes_out_is_one_line(error, status, says, monkeypatch, stack, tmp_path, capsys):
    def fail(path, order):
        raise error

    monkeypatch.setattr('dfd_ros.photographs.read_focal_stack', fail)
    assert dfd('estimate', stack, '--out', tmp_path) == status
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == bool(says) and len(said) < 1100
    monkeypatch.setenv('DFD_TRACEBACK', '1')
    if status < 3:
        with pytest.raises(type(error)):
            dfd('estimate', stack, '--out', tmp_path)


@pytest.mark.parametrize(
    'arguments', [['estimate', '.', '--sweeps=--'], ['render', '--out=--'], ['estimate', '--near', 'x' * 5000]]
)
def test_options_without_a_value(arguments, capsys):
    assert dfd(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith('dfd: error: argument ') and said.count('\n') == 1 and len(said) < 500


@pytest.mark.parametrize('arguments', [['--out', ''], ['--out='], ['--out', 'o', '--calibration', '']])
def test_empty_arguments(tmp_path, arguments, capsys):
    assert dfd('estimate', tmp_path, *arguments) == 2
    name = next(word for word in reversed(arguments) if word).removesuffix('=')
    assert capsys.readouterr().err.startswith(f'dfd: error: argument {name}: is empty; leave it out')


def test_closed_output():
    command = ['bash', '-c', 'exec "$0" -m dfd_ros.cli >&-', sys.executable]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, '')


SLEEPER = """
import sys, time, pathlib
from dfd_ros import cli, photographs
from dfd_ros.core.files import written_atomically
def read(folder, order):
    with written_atomically(folder / 'a.txt') as file:
        file.write_text('half')
        print('writing', flush=True)
        for _ in range(6000):  # a signal between Python's check and a long sleep would wait for its end
            time.sleep(0.01)
photographs.read_focal_stack = read
sys.exit(cli.main(['estimate', sys.argv[1], '--out', sys.argv[1]]))
"""


def signalled(number, ready, program, *arguments):
    """Status and stderr of a Python program that gets a signal once it has printed `ready`."""
    process = subprocess.Popen(
        [sys.executable, '-c', program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == f'{ready}\n'
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


@pytest.mark.parametrize(
    'number, status, says', [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, 'terminated')]
)
def test_signals_end_it_with_one_line_and_no_partial_file(number, status, says, tmp_path):
    assert signalled(number, 'writing', SLEEPER, tmp_path) == (status, f'dfd: {says}\n')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'command, number, status, says',
    [
        ('demo', signal.SIGINT, 130, 'dfd: interrupted\n'),
        ('demo', signal.SIGTERM, 143, 'dfd: terminated\n'),
        ('run', signal.SIGINT, 0, ''),
        ('run', signal.SIGTERM, 0, ''),
    ],
)
def test_early_signals_end_the_start_with_one_line(command, number, status, says):
    process = subprocess.Popen(
        [sys.executable, '-m', 'dfd_ros.cli', command, '--help'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM)),
    )
    time.sleep(0.03)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (status, says)


STILL_IMPORTING = """
import importlib.abc, sys, time
from dfd_ros import cli
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == 'dfd_ros.ros.launch_arguments':
            print('importing', flush=True)
            for _ in range(6000):
                time.sleep(0.01)
sys.meta_path.insert(0, Slow())
sys.exit(cli.main(['run']))
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_run_well_while_it_is_still_importing(number):
    assert signalled(number, 'importing', STILL_IMPORTING) == (0, '')


def test_names_that_the_output_cannot_encode_are_escaped(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'dfd_ros.cli', 'estimate', tmp_path / 'st\u00e4ck', '--out', tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONIOENCODING': 'ascii:strict'},
    )
    assert done.returncode == 2 and 'st\\xe4ck: no such file or folder' in done.stderr
