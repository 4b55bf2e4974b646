"""A pool of procedural focal stacks on disk, rendered by separate processes during training.

Rendering costs more than a training step, so each stack is used several times with new crops and flips. A stack is
identified by its seed. The seeds that a training step draws from depend only on the step, so a resumed run sees the
same data as an uninterrupted one.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing

from dfd_ros.core.errors import InputError, describe, shortened
from dfd_ros.core.files import changed_value, write_json
from dfd_ros.datasets.stack_files import read_stacks, write_stacks
from dfd_ros.synthesis.procedural import StackBatch, StackSettings, render_stack
from dfd_ros.synthesis.rgbd_sets.view_sources import open_views


class StackPool:
    """Stacks of seeds 0, 1, 2, ... in a folder, each rendered once by one of `workers` processes.

    Args:
        folder: of INDEX.safetensors and their settings.json; existing stacks are used as they are.
        settings: of the stacks.
        workers: number of rendering processes; with 0 only existing stacks are available.
        first_seed: added to every seed, so that pools do not share scenes.

    Raises:
        InputError: the folder holds stacks with other settings, or the views in the settings do not exist.
    """

    def __init__(self, folder: Path, settings: StackSettings, workers: int = 1, first_seed: int = 0):
        if settings.views:
            open_views(settings.views)  # fails here, not in a worker
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        _claim(self.folder, settings)
        self.first_seed = first_seed
        context = multiprocessing.get_context('spawn')
        # Number of stacks to render; grows during training.
        self._wanted = context.Value('q', 0)
        pipes = [context.Pipe(duplex=False) for _ in range(workers)]
        self._failures = [receiver for receiver, _ in pipes]
        self._workers = [
            context.Process(
                target=_work,
                daemon=True,
                args=(self.folder, settings, first_seed, worker, workers, self._wanted, sender),
            )
            for worker, (_, sender) in enumerate(pipes)
        ]
        # Ctrl-C in a terminal reaches all processes; workers ignore it, and this process ends them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for worker in self._workers:
                worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for _, sender in pipes:
            sender.close()  # the worker has its own; without this, its end would not be noticed

    def want(self, count: int) -> None:
        """Request the stacks 0..count - 1."""
        self._wanted.value = max(self._wanted.value, count)

    def count(self, first: int, end: int) -> int:
        """How many of the stacks first..end - 1 are rendered."""
        return sum(stack_path(self.folder, index).exists() for index in range(first, end))

    def get(self, index: int, waiting: Callable[[], None] = lambda: None) -> StackBatch:
        """Stack `index` (B = 1); waits until it is rendered, and calls `waiting` several times a second meanwhile.

        Raises:
            InputError: it does not exist and no process renders it, its file cannot be read, or the process that
                renders it had bad input, such as a damaged view.
            RuntimeError: that process failed otherwise, or was killed.
        """
        self.want(index + 1)
        path = stack_path(self.folder, index)
        while not path.exists():
            if not self._workers:
                raise InputError(f'{path}: no such stack, and no process renders it (see pool and workers)')
            if not self._workers[index % len(self._workers)].is_alive() and not path.exists():
                raise self._failure(index)
            waiting()
            time.sleep(0.1)
        return read_stacks(path)

    def _failure(self, index: int) -> Exception:
        """Why the process that should render stack `index` has ended."""
        worker = index % len(self._workers)
        try:
            return self._failures[worker].recv()
        except EOFError:  # it was killed
            path, status = stack_path(self.folder, index), self._workers[worker].exitcode
            return RuntimeError(f'{path}: the process that renders it ended with status {status}; is memory short?')

    def close(self) -> None:
        for worker in self._workers:
            worker.terminate()


def _claim(folder: Path, settings: StackSettings) -> None:
    path = folder / 'settings.json'
    if other := changed_value(path, asdict(settings)):
        name, theirs, mine = other
        raise InputError(
            f'{folder}: holds stacks with other settings ({name}: {shortened(theirs)}, not {mine}); remove it, or give '
            'the same data settings'
        )
    # The settings of an older pool without this file are unknown.
    if not path.exists() and not any(folder.glob('*.safetensors')):
        write_json(path, asdict(settings))


def stack_path(folder: Path, index: int) -> Path:
    """The file of a pool's stack."""
    return folder / f'{index:07d}.safetensors'


def save_stack(path: Path, batch: StackBatch) -> None:
    """Write a stack (B = 1) for a pool, atomically."""
    write_stacks(path, replace(batch, vergence=batch.vergence.half()))


def _work(
    folder: Path, settings: StackSettings, first_seed: int, worker: int, workers: int, wanted, failure: Connection
) -> None:
    """Render every `workers`-th stack until the parent ends. An error is sent as `failure`."""
    torch.set_num_threads(1)
    parent = os.getppid()
    index = worker
    while os.getppid() == parent:  # stop when orphaned
        if index >= wanted.value:
            time.sleep(0.1)
            continue
        path = stack_path(folder, index)
        try:
            if not path.exists():
                save_stack(path, render_stack(first_seed + index, settings))
        except Exception as error:
            failure.send(_naming(error, path))
            return
        index += workers


def _naming(error: Exception, path: Path) -> Exception:
    """An error of rendering that names the stack, with its traceback as a note unless the input is to blame."""
    text = f'{path}: cannot be rendered: {describe(error)}'
    if isinstance(error, InputError):
        return InputError(text)
    result = RuntimeError(text)
    result.add_note(traceback.format_exc())
    return result
