"""dfd benchmark, and the measure of agreement on a stack whose best focus is known."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfd_ros.cli import _parser, main
from dfd_ros.core.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a benchmark as its own folder would."""
    import importlib

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in [
        name
        for name, module in sys.modules.items()
        if str(getattr(module, '__file__', None) or '').startswith(str(BENCHMARKS))
    ]:
        del sys.modules[name]


@pytest.mark.parametrize(
    'arguments, says',
    [
        (('warp',), 'no benchmark "warp": choose from '),
        (('real_stack',), 'give the folder of a real focal stack with --stack'),
        (('speed', '--weights', 'none.safetensors'), 'weights none.safetensors: no such file'),
        (('speed', 'throughput', '--weights', 'none.safetensors'), 'benchmark throughput: takes no --weights'),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(capsys, arguments, says):
    assert main(['benchmark', *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count('\n') == 1


def test_alone_it_lists_the_benchmarks(capsys):
    assert main(['benchmark']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len([*BENCHMARKS.glob('[!_]*.py')]) and all(len(line.split()) > 4 for line in lines)


def test_the_commands_of_the_results_are_understood(benchmark, capsys):
    results = benchmark('results')
    assert results.main(['--list']) == 0
    listed = capsys.readouterr().out
    assert 'dfd benchmark speed' in listed and 'real_stack.py STACK: left out, it needs data' in listed
    assert len(results.commands()) > 20
    for command in results.commands():
        program, *arguments = command.split()
        if program == 'dfd':
            assert _parser(arguments).parse_args(arguments).command == arguments[0]
        elif program == 'python':
            assert (BENCHMARKS.parent / arguments[0]).is_file()
    with pytest.raises(InputError, match=r'warp: in no command of docs/results.md'):
        results.main(['warp'])


@pytest.mark.parametrize(
    'name, arguments, says',
    [
        ('blender_speed', ['--workers', '0'], '--workers 0: must be at least 1'),
        ('blender_speed', ['--scenes', '0', '--noise-scenes', '0'], '--scenes 0: must be at least 1'),
        ('throughput', ['--processes', '0'], '--processes 0: must be at least 1'),
        ('_fit_classical', ['--network', 'stream'], '--network stream: give one of those of'),
    ],
)
def test_bad_options_of_a_benchmark_are_refused(benchmark, name, arguments, says):
    with pytest.raises(InputError, match=says):
        benchmark(name).main(arguments)


def stack(breathing: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Three frames of a wall in three depths, each sharp in one of them, which zoom; and which, by column."""
    noise = np.random.default_rng(0).normal(size=(200, 300, 3))
    wall = np.clip(128 + 50 * cv2.GaussianBlur(noise, (0, 0), 1) / 0.28, 0, 255).astype(np.uint8)
    frames = []
    for i in range(3):
        blurred = np.concatenate(
            [cv2.GaussianBlur(wall[:, 100 * j : 100 * (j + 1)], (0, 0), 0.3 + 2 * abs(i - j)) for j in range(3)], 1
        )
        zoom = cv2.getRotationMatrix2D((149.5, 99.5), 0, 1 + breathing * i)
        frames.append(cv2.warpAffine(blurred, zoom, (300, 200), borderMode=cv2.BORDER_REFLECT))
    return frames, np.repeat([0, 1, 2], 100)


@pytest.mark.parametrize('breathing', [0.0, 0.03])
def test_best_focus_is_found_through_the_breathing(benchmark, breathing):
    frames, _ = stack(breathing)
    sharpest, textured = benchmark('real_stack').best_focus(frames, window=4.0, contrast=4.0)
    centre, zoom = 149.5, 1 + 2 * breathing
    where = np.clip((np.arange(300) - centre) / zoom + centre, 0, 299)  # in the view of the last frame
    inside = (where % 100 > 15) & (where % 100 < 85)
    right = (sharpest == (where // 100).astype(int)) & textured
    assert (right[:, inside] | ~textured[:, inside]).mean() > 0.98
    assert textured[:, inside].mean() > 0.5


def test_what_has_no_texture_does_not_count(benchmark):
    plain = [np.full((100, 120, 3), 100, np.uint8)] * 3
    _, textured = benchmark('real_stack').best_focus(plain, window=4.0, contrast=4.0)
    assert not textured.any()


def test_the_reference_of_the_speed_takes_its_turns(benchmark):
    speed = benchmark('speed')
    program = f'{sys.executable} -uc "import sys; print(1); [print(2) for line in sys.stdin]"'
    with speed.Reference(program) as reference:
        reference.compute()
        reference.compute()
    with pytest.raises(InputError, match='cannot be started'), speed.Reference('/no/such/program'):
        pass
    with pytest.raises(InputError, match='ended without an answer'), speed.Reference(f'{sys.executable} -c ""'):
        pass


def test_the_benchmark_stream_sweeps_the_focus(benchmark):
    stream = benchmark('_common').frames(64, 96)
    images, states = zip(*(next(stream) for _ in range(17)))
    assert all(image.shape == (64, 96, 3) and image.dtype == np.uint8 for image in images)
    assert len({state.focus_distance for state in states}) == 9
    contrast = [float(cv2.Laplacian(image, cv2.CV_32F).std()) for image in images]
    assert max(contrast) > 3 * min(contrast)
