"""The nodes as processes of their own, for machines where `launch` is not installed."""

from __future__ import annotations

import ctypes
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfd_ros.errors import InputError

GRACE = 10.0             # s that a node has to end after SIGINT
POLL = 0.05              # s
PR_SET_PDEATHSIG = 1     # linux/prctl.h


class NodeFailed(RuntimeError):
    """A node has ended by itself. The message is one line, with the last line of its log."""


def require_ros() -> None:
    """Raises InputError where ROS 2 or this package's messages are missing."""
    for module in ('rclpy', 'dfd_ros.msg'):
        try:
            importlib.import_module(module)
        except ImportError:
            raise InputError(
                f'the nodes need ROS 2, and {module} cannot be imported here: run `make env` in a checkout and '
                f'use its .venv/bin/dfd, or source a workspace with dfd_ros') from None


class NodeProcesses:
    """Nodes as child processes. Leaving the context ends them all, however it is left."""

    def __init__(self, logs: Path | None = None) -> None:
        """`logs`: folder for a file of each node with what it says; None: on this process's stderr."""
        self._logs = logs
        self._processes: dict[str, subprocess.Popen] = {}
        self._grace: dict[str, float] = {}

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, parameters: dict[str, Any] | None = None, *ros_arguments: str,
              grace: float = GRACE) -> None:
        """Starts ``python -m dfd_ros.nodes.NAME`` with these parameters and further arguments of ROS."""
        from dfd_ros.ros.parameters import yaml_scalar
        command = [sys.executable, '-m', f'dfd_ros.nodes.{name}', '--ros-args', *ros_arguments]
        for parameter, value in (parameters or {}).items():
            command += ['-p', f'{parameter}:={yaml_scalar(value)}']
        log = open(self._log(name), 'w') if self._logs else None
        try:
            # A group of its own: Ctrl-C in the terminal comes here alone, and `stop` says when a node ends.
            self._processes[name] = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL,
                                                     process_group=0, preexec_fn=_end_with_parent)
        finally:
            if log:
                log.close()
        self._grace[name] = grace

    def wait(self, until: str | None = None) -> None:
        """Returns when the node `until` has ended well. Raises NodeFailed when any other ends, or ends badly;
        InputError where a node was given what cannot work (status 2).
        """
        while True:
            for name, process in self._processes.items():
                status = process.poll()
                if status is None:
                    continue
                if status == 0 and name == until:
                    return
                said = self._last_words(name)
                if status == 2:
                    raise InputError(f'{name} node: {said}')
                raise NodeFailed(f'{name} node: ended with status {status}: {said}')
            time.sleep(POLL)

    def stop(self) -> None:
        """Ends all nodes: SIGINT, and SIGKILL for what is still there after its grace."""
        try:
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            end = time.monotonic()
            for name, process in self._processes.items():
                try:
                    process.wait(max(0.0, end + self._grace[name] - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
        finally:
            for process in self._processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()
            self._processes.clear()

    def _log(self, name: str) -> Path:
        return self._logs / f'{name}.log'

    def _last_words(self, name: str) -> str:
        if self._logs is None:
            return 'its last words are above'
        lines = self._log(name).read_text(errors='replace').split('\n')
        last = next((line.strip() for line in reversed(lines) if line.strip()), 'it said nothing')
        return last.removeprefix('error: ')


def _end_with_parent() -> None:
    """In the child: end when the parent is killed, and cannot stop its nodes any more. Linux only."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end as Ctrl-C does: by KeyboardInterrupt, so that children are ended too."""
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
