"""The pool of stacks: rendered once, by processes of their own, the same whoever renders them."""

import contextlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

from dfd_ros.core.errors import InputError
from dfd_ros.datasets import stack_cache
from dfd_ros.datasets.stack_cache import StackPool, save_stack, stack_path
from dfd_ros.synthesis.procedural import StackSettings, render_stack

SETTINGS = StackSettings(height=32, width=32, frames=2)


@pytest.fixture
def make(tmp_path):
    pools = []

    def make(name='pool', **changes) -> StackPool:
        pools.append(StackPool(tmp_path / name, SETTINGS, **changes))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def save(pool, index, seed=0):
    """Renders a stack in this process: another takes seconds to start."""
    stack = render_stack(seed, SETTINGS)
    save_stack(stack_path(pool.folder, index), stack)
    return stack


@dataclass
class Rendered:
    """A pool after its workers have rendered what was wanted, and when its file of stack 0, which was there before, was
    written."""

    pool: StackPool
    written: int


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    with contextlib.closing(StackPool(tmp_path_factory.mktemp('pool'), SETTINGS, workers=2, first_seed=5)) as pool:
        save(pool, 0, seed=5)
        written = stack_path(pool.folder, 0).stat().st_mtime_ns
        pool.want(3)
        pool.want(1)  # fewer than before: nothing is taken back
        for index in (2, 1):
            pool.get(index)
        yield Rendered(pool, written)


@pytest.mark.slow(reason='processes load torch and render')
def test_stacks_do_not_depend_on_the_rendering_process(rendered, make):
    one = make('one', workers=0)
    for index in (0, 1, 2):
        truth = save(one, index, seed=5 + index)
        a, b = one.get(index), rendered.pool.get(index)
        for name in truth.__dataclass_fields__:
            x, y, z = (getattr(stack, name) for stack in (a, b, truth))
            assert torch.equal(
                x.nan_to_num(-1) if x.is_floating_point() else x, y.nan_to_num(-1) if y.is_floating_point() else y
            ), name
            # Half precision is enough for the truth: a thousandth of the range.
            torch.testing.assert_close(x.to(z.dtype), z, rtol=1e-3, atol=1e-3, equal_nan=True)
        assert torch.equal(a.images, truth.images)


@pytest.mark.slow(reason='processes load torch and render')
def test_what_is_there_is_not_rendered_again(rendered):
    assert stack_path(rendered.pool.folder, 0).stat().st_mtime_ns == rendered.written


@pytest.mark.slow(reason='processes load torch and render')
def test_it_renders_ahead_as_far_as_wanted(rendered):
    time.sleep(0.5)
    names = sorted(path.name for path in rendered.pool.folder.glob('*.safetensors'))
    assert names == [f'{index:07d}.safetensors' for index in range(3)]


def test_a_torn_stack_is_named(make):
    pool = make(workers=0)
    save(pool, 0)
    path = pool.folder / '0000000.safetensors'
    for left in (b'', path.read_bytes()[:1000], path.read_bytes()[:-1]):
        path.write_bytes(left)
        with pytest.raises(InputError, match=r'0000000\.safetensors: cannot be read as a stack .*; remove it'):
            pool.get(0)


def test_a_pool_of_other_settings_is_refused(make, tmp_path):
    save(make(workers=0), 0)
    with pytest.raises(InputError, match=r'pool: holds stacks with other settings \(frames: 2, not 3\)'):
        StackPool(tmp_path / 'pool', replace(SETTINGS, frames=3), workers=0)
    (tmp_path / 'pool' / 'settings.json').unlink()  # as pools of before
    assert StackPool(tmp_path / 'pool', replace(SETTINGS, frames=3), workers=0).get(0).images.shape[1] == 2


@pytest.mark.slow(reason='a process loads torch')
def test_the_death_of_a_worker_is_noticed(make):
    pool = make()
    save(pool, 0)
    (worker,) = pool._workers
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    pool.get(0)  # what has been rendered is still there
    with pytest.raises(RuntimeError, match='0000004.safetensors: the process that renders it ended with status -9;'):
        pool.get(4)


IMPOSSIBLE = replace(SETTINGS, ramp=(2, 2), orders=())


@pytest.mark.slow(reason='a process loads torch')
def test_an_error_of_a_worker_is_raised_here_with_its_traceback(tmp_path):
    with contextlib.closing(StackPool(tmp_path, IMPOSSIBLE)) as pool:
        with pytest.raises(RuntimeError, match='cannot be rendered: IndexError: ') as caught:
            pool.get(3)
    assert str(caught.value).startswith(f'{stack_path(tmp_path, 0)}: ')
    assert 'focus_positions' in ''.join(caught.value.__notes__)


@pytest.mark.parametrize('kind', [InputError, RuntimeError])
def test_an_error_of_a_worker_names_the_stack_and_the_reason(tmp_path, kind):
    """A broken view is bad input; any other error is one of the program and keeps its traceback."""
    view = tmp_path / 'views' / 'broken.npz'
    view.parent.mkdir()
    view.write_bytes(b'nothing')
    settings, why = {
        InputError: (replace(SETTINGS, views=str(view.parent), views_share=1.0), f'{view}: '),
        RuntimeError: (IMPOSSIBLE, 'IndexError: '),
    }[kind]
    receiver, sender = multiprocessing.Pipe(duplex=False)
    stack_cache._work(tmp_path, settings, 0, 0, 1, SimpleNamespace(value=1), sender)
    error = receiver.recv()
    line = str(error)
    assert type(error) is kind and '\n' not in line
    assert line.startswith(f'{tmp_path / "0000000.safetensors"}: cannot be rendered: {why}'), line
    assert ('focus_positions' in ''.join(getattr(error, '__notes__', []))) == (kind is RuntimeError)
