"""Reads the samples of the next steps in processes of their own, while the network trains."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.procedural import StackBatch
from dfd_ros.training.sample_sequences import SampleSequences

Read = tuple[list[int], StackBatch | None]
_AHEAD = 2  # steps that each process has read when the training asks for them


class Readers:
    """What `SampleSequences.of_step` gives, read ahead by `readers` processes of the configuration.

    A step that is not the next one, and every step where there are no processes, is read when it is asked for.
    """

    def __init__(self, sequences: SampleSequences):
        self._sequences, self._count = sequences, sequences.config.readers
        self._steps: Iterator[Read | Exception] | None = None
        self._next = -1

    def of_step(self, step: int) -> Read:
        """As `SampleSequences.of_step`."""
        if self._count and self._steps is None:
            self._steps, self._next = self._started(step), step
        if self._steps is None or step != self._next:
            return self._sequences.of_step(step)
        self._next += 1
        try:
            read = next(self._steps)
        except RuntimeError as error:
            where = self._sequences.config.shards
            raise RuntimeError(
                f'{where}: a process that reads samples has ended ({error}); is memory short?'
            ) from error
        if isinstance(read, Exception):
            raise read
        return read

    def _started(self, step: int) -> Iterator[Read | Exception]:
        config = self._sequences.config
        loader: DataLoader = DataLoader(
            _Steps(self._sequences),
            batch_size=None,
            sampler=range(step, max(config.steps, step + 1)),
            num_workers=self._count,
            collate_fn=_as_it_is,
            prefetch_factor=_AHEAD,
            generator=torch.Generator(),  # not the one of dropout
            multiprocessing_context=_server(),
            worker_init_fn=_end_with_training,
        )
        # Signals to the whole group, such as Ctrl-C in a terminal, are for this process, which ends the readers. The
        # tracker would unblock them when it starts.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            return iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """End the processes."""
        if self._steps is not None:  # else they would end with the last reference, which a traceback may hold
            self._steps._shutdown_workers()  # type: ignore[attr-defined]
        self._steps, self._count = None, 0
        gc.collect()  # its semaphores, which Python reports as leaked where a signal ends this process next


def _server() -> multiprocessing.context.BaseContext:
    """Where the readers are forked from: a process that has loaded what they need, and has no threads as this one
    does. Spawned ones would load it each, and abort now and then when they end while a thread of theirs sends."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    return context


def _end_with_training(_: int) -> None:
    """DataLoader's own watch is on the process that a reader was forked from, which lives as long as its readers."""
    training = multiprocessing.parent_process()
    assert training is not None
    # A thread of this process hands tensors over; where the training is interrupted meanwhile, there is nothing to say.
    show = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, EOFError | ConnectionError | multiprocessing.AuthenticationError):
            show(kind, error, trace)

    sys.excepthook = excepthook

    def watch() -> None:
        training.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Steps(Dataset):
    """The sequences by step, as `DataLoader` wants them."""

    def __init__(self, sequences: SampleSequences):
        self._sequences = sequences

    def __getitem__(self, step: int) -> Read | Exception:
        try:
            return self._sequences.of_step(step)
        except (InputError, OSError) as error:  # else DataLoader adds a traceback to its message
            return error


def _as_it_is(read: Any) -> Any:
    return read
