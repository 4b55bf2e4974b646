"""Blender processes: started, fed with scenes, and started again when one crashes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dfd_ros.core.child_processes import PR_SET_PDEATHSIG
from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.blender_process import environment

TRIES = 2
"""How often a scene is tried that Blender crashes on."""


class BlenderCrashed(RuntimeError):
    """Blender has ended by itself, more than once on the same scene. One line, with the last of what it said."""


@dataclass(frozen=True)
class Job:
    """A scene to render: the sample `key` of `seed`, written to `path`."""

    key: str
    seed: int
    path: Path


class BlenderWorkers:
    """Processes that render scenes. Leaving the context ends them.

    Args:
        module: that they run; it speaks the protocol of `dfd_ros.datasets.rendering.worker`.
        task: what all scenes have in common, sent to it first.
        workers: how many; threads: of each.
        device: cpu, gpu or auto.
        python: of an environment with bpy; None = this one.

    Attributes:
        gpu: whether a GPU renders.
        left_out: what could not be read of the user's files, a line each.
    """

    def __init__(
        self,
        module: str,
        task: dict,
        workers: int = 1,
        threads: int = 1,
        device: str = 'auto',
        python: str | None = None,
    ):
        self.module, self.task, self.threads, self.device = module, task, threads, device
        self.count, self.python = workers, python or sys.executable
        self.gpu = False
        self.left_out: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._running: list[_Process] = []
        self._free = _shares(workers, threads)

    def __enter__(self) -> BlenderWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._running):
            self._end(process)
        self._selector.close()

    def render(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, dict]]:
        """(job, what the sample says about itself), as the scenes are done.

        Raises:
            InputError: Blender is missing, or cannot work with what it was given.
            BlenderCrashed: it has crashed on a scene, and again when that was tried anew.
        """
        waiting = deque((job, 1) for job in jobs)
        for _ in range(min(self.count, len(waiting))):
            self._start()
        while waiting or any(process.job for process in self._running):
            for process in self._running:
                if process.ready and process.job is None and waiting:
                    process.give(*waiting.popleft())
            for key, _ in self._selector.select():
                process: _Process = key.data
                line = process.popen.stdout.readline()
                try:
                    answer = json.loads(line)
                except json.JSONDecodeError:  # no line, or half of one: it has ended
                    job, tries = process.job, process.tries
                    said = process.last_words()
                    self._end(process)
                    if not process.ready or tries >= TRIES:
                        on = f' on the scene of seed {job.seed}' if job else ''
                        raise BlenderCrashed(
                            f'Blender ended with status {process.popen.returncode}{on}: {said}'
                        ) from None
                    if job:
                        waiting.appendleft((job, tries + 1))
                    if waiting:
                        self._start()
                    continue
                if 'input_error' in answer:
                    raise InputError(answer['input_error'])
                if not process.ready:
                    process.ready, self.gpu = True, answer['gpu']
                    self.left_out = answer.get('left_out', [])
                    continue
                job, process.job = process.job, None
                yield job, answer['about']

    def _start(self) -> None:
        process = _Process(self.python, self.module, self.task, self.threads, self.device, self._free.pop())
        self._running.append(process)
        self._selector.register(process.popen.stdout, selectors.EVENT_READ, process)

    def _end(self, process: _Process) -> None:
        self._running.remove(process)
        self._selector.unregister(process.popen.stdout)
        process.end()
        self._free.append(process.cores)


def _shares(workers: int, threads: int) -> list[set[int] | None]:
    """The cores of each worker, where there are enough for all; else None, any.

    Blender's threads library (oneTBB) starts one thread for every core that it may use, whatever number of them is
    asked to render, and those without work spin: they take a fifth of the time of the others.
    """
    if not hasattr(os, 'sched_getaffinity') or workers * threads > len(cores := sorted(os.sched_getaffinity(0))):
        return [None] * workers
    return [set(cores[n * threads : (n + 1) * threads]) for n in range(workers)]


class _Process:
    """One Blender, and the scene that it is at."""

    def __init__(self, python: str, module: str, task: dict, threads: int, device: str, cores: set[int] | None):
        self.log: BinaryIO = tempfile.TemporaryFile()
        try:
            # Libraries of its own threads would take cores from its neighbours.
            self.popen = subprocess.Popen(
                [python, '-m', module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                bufsize=1,
                env=environment(OMP_NUM_THREADS=str(threads)),
                process_group=0,
                preexec_fn=partial(_prepare, cores),
            )
        except OSError as error:
            raise InputError(f'--blender-python {python}: {error.strerror}') from None
        self.cores, self.ready, self.job, self.tries = cores, False, None, 0
        self._send({**task, 'threads': threads, 'device': device})

    def give(self, job: Job, tries: int) -> None:
        self.job, self.tries = job, tries
        self._send({'key': job.key, 'seed': job.seed, 'path': str(job.path)})

    def _send(self, message: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: the answer that does not come says so
            self.popen.stdin.write(json.dumps(message) + '\n')

    def last_words(self) -> str:
        self.popen.wait()
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors='replace').splitlines() if line.strip()]
        return lines[-1] if lines else 'it said nothing'

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()  # a scene takes long, and is written whole or not at all
            self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _prepare(cores: set[int] | None) -> None:
    """In the child: keep to its cores, and end when the parent is killed. Linux only."""
    if cores:
        os.sched_setaffinity(0, cores)
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
