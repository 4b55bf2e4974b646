"""The pool of stacks: rendered once, by processes of their own, the same whoever renders them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from dfd_ros.core.errors import InputError
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


def test_stacks_do_not_depend_on_the_rendering_process(make):
    one, two = make('one', workers=0), make('two', first_seed=5, workers=2)
    for index in (0, 1, 2):
        truth = save(one, index, seed=5 + index)
        a, b = one.get(index), two.get(index)
        for name in truth.__dataclass_fields__:
            x, y, z = (getattr(stack, name) for stack in (a, b, truth))
            assert torch.equal(
                x.nan_to_num(-1) if x.is_floating_point() else x, y.nan_to_num(-1) if y.is_floating_point() else y
            ), name
            # Half precision is enough for the truth: a thousandth of the range.
            torch.testing.assert_close(x.to(z.dtype), z, rtol=1e-3, atol=1e-3, equal_nan=True)
        assert torch.equal(a.images, truth.images)


def test_what_is_there_is_not_rendered_again(make):
    pool = make()
    save(pool, 0)
    files = {path: path.stat().st_mtime_ns for path in pool.folder.iterdir()}
    pool.get(1)  # after 0
    assert {path: path.stat().st_mtime_ns for path in files} == files


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


def test_it_renders_ahead_as_far_as_it_is_told(make):
    pool = make()
    pool.want(3)
    end = time.monotonic() + 60
    while len(list(pool.folder.glob('*.safetensors'))) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)
    assert sorted(path.name for path in pool.folder.glob('*.safetensors')) == [f'{i:07d}.safetensors' for i in range(3)]
    pool.want(1)  # less than before: nothing is taken back
    load_file(pool.folder / '0000002.safetensors')


def test_the_death_of_a_worker_is_noticed(make):
    pool = make()
    pool.get(0)
    (worker,) = pool._workers
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    pool.get(0)  # what it has rendered is still there
    with pytest.raises(RuntimeError, match='0000004.safetensors: the process that renders it ended with status -9;'):
        pool.get(4)


def test_an_error_of_a_worker_names_the_stack_and_the_reason(tmp_path):
    """A broken view is bad input; any other error is one of the program and keeps its traceback."""
    view = tmp_path / 'views' / 'broken.npz'
    view.parent.mkdir()
    view.write_bytes(b'nothing')
    bad_view = replace(SETTINGS, views=str(view.parent), views_share=1.0)
    impossible = replace(SETTINGS, ramp=(2, 2), orders=())
    with contextlib.ExitStack() as pools:
        cases = [
            (pools.enter_context(contextlib.closing(StackPool(tmp_path / kind.__name__, settings))), kind, why)
            for settings, kind, why in ((bad_view, InputError, f'{view}: '), (impossible, RuntimeError, 'IndexError: '))
        ]
        for pool, _, _ in cases:
            pool.want(1)  # both at once
        for pool, kind, why in cases:
            with pytest.raises(kind) as caught:
                pool.get(3)
            line = str(caught.value)
            assert line.startswith(f'{pool.folder / "0000000.safetensors"}: cannot be rendered: {why}'), line
            assert '\n' not in line
            assert ('focus_positions' in ''.join(getattr(caught.value, '__notes__', []))) == (kind is RuntimeError)
