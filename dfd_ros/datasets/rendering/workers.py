"""Blender processes: started, given scenes, and restarted after a crash."""

from __future__ import annotations

import contextlib
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

from dfd_ros.core.child_processes import end_with_parent
from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.blender_process import environment

TRIES = 2
"""Attempts at a scene that crashes Blender."""


class BlenderCrashed(RuntimeError):
    """Blender crashed repeatedly on one scene. The message is one line, with the last line of its output."""


@dataclass(frozen=True)
class Machine:
    """How to render: worker processes, threads per process, device (cpu, gpu or auto), and the Python of an environment
    with bpy (None = this one)."""

    workers: int = 1
    threads: int = 1
    device: str = 'auto'
    python: str | None = None


@dataclass(frozen=True)
class Job:
    """A scene to render: the sample `key` of `seed`, written to `path`."""

    key: str
    seed: int
    path: Path


class BlenderWorkers:
    """Processes that render scenes. They end with the context.

    Args:
        module: to run; it implements the protocol of `dfd_ros.datasets.rendering.worker`.
        task: settings shared by all scenes, sent first.

    Attributes:
        gpu: whether rendering uses a GPU.
        left_out: the user's files that could not be read, a line each.
    """

    def __init__(self, module: str, task: dict, machine: Machine):
        self._module, self._task, self._machine = module, task, machine
        self.gpu = False
        self.left_out: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._running: list[_Process] = []
        self._free = _shares(machine.workers, machine.threads)

    def __enter__(self) -> BlenderWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._running):
            self._end(process)
        self._selector.close()

    def render(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, dict]]:
        """Yields (job, the `about` of its sample) as scenes finish.

        Raises:
            InputError: Blender is missing or rejects its input.
            BlenderCrashed: Blender crashed again when a scene was retried.
        """
        waiting = deque((job, 1) for job in jobs)
        for _ in range(min(self._machine.workers, len(waiting))):
            self._start()
        while waiting or any(process.job for process in self._running):
            for idle in self._running:
                if idle.ready and idle.job is None and waiting:
                    idle.give(*waiting.popleft())
            for key, _ in self._selector.select():
                process: _Process = key.data
                line = process.stdout.readline()
                try:
                    answer = json.loads(line)
                except json.JSONDecodeError:  # no line or half of one: the process has ended
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
                done, process.job = process.job, None
                assert done is not None  # it answers only jobs that it was given
                yield done, answer['about']

    def _start(self) -> None:
        process = _Process(self._module, self._task, self._machine, self._free.pop())
        self._running.append(process)
        self._selector.register(process.stdout, selectors.EVENT_READ, process)

    def _end(self, process: _Process) -> None:
        self._running.remove(process)
        self._selector.unregister(process.stdout)
        process.end()
        self._free.append(process.cores)


def _shares(workers: int, threads: int) -> list[set[int] | None]:
    """The cores of each worker if there are enough for all, otherwise None (any).

    Blender's threading library (oneTBB) starts a thread for every core that it may use, however many render. Idle
    threads spin, which costs the others a fifth of their time.
    """
    if not hasattr(os, 'sched_getaffinity') or workers * threads > len(cores := sorted(os.sched_getaffinity(0))):
        return [None] * workers
    return [set(cores[n * threads : (n + 1) * threads]) for n in range(workers)]


class _Process:
    """One Blender process and its current scene."""

    def __init__(self, module: str, task: dict, machine: Machine, cores: set[int] | None):
        python = machine.python or sys.executable
        self.log: BinaryIO = tempfile.TemporaryFile()
        try:
            # OMP_NUM_THREADS: threads of other libraries would take cores from the other workers.
            self.popen = subprocess.Popen(
                [python, '-m', module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                bufsize=1,
                env=environment(OMP_NUM_THREADS=str(machine.threads)),
                process_group=0,
                preexec_fn=partial(_prepare, cores),
            )
        except OSError as error:
            raise InputError(f'--blender-python {python}: {error.strerror}') from None
        assert self.popen.stdin and self.popen.stdout
        self.stdin, self.stdout = self.popen.stdin, self.popen.stdout
        self.cores, self.ready, self.tries = cores, False, 0
        self.job: Job | None = None
        self._send({**task, 'threads': machine.threads, 'device': machine.device})

    def give(self, job: Job, tries: int) -> None:
        self.job, self.tries = job, tries
        self._send({'key': job.key, 'seed': job.seed, 'path': str(job.path)})

    def _send(self, message: dict) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended; the missing answer is noticed
            self.stdin.write(json.dumps(message) + '\n')

    def last_words(self) -> str:
        self.popen.wait()
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().decode(errors='replace').splitlines() if line.strip()]
        return lines[-1] if lines else 'no output'

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()  # a scene takes long, and is written atomically
            self.popen.wait()
        for stream in (self.stdin, self.stdout, self.log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _prepare(cores: set[int] | None) -> None:
    """In the child: keep to its cores, and end when the parent is killed. Linux only."""
    if cores:
        os.sched_setaffinity(0, cores)
    end_with_parent(signal.SIGKILL)
