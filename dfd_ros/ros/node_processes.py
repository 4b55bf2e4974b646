"""The nodes as processes of their own, for machines where `launch` is not installed."""

from __future__ import annotations

import importlib
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from dfd_ros.core.child_processes import end_with_parent
from dfd_ros.core.errors import InputError

GRACE = 10.0  # s that a node has to end after SIGTERM
POLL = 0.05  # s
INPUT_ERROR = 'error: '  # what the line begins with that a node ends with for bad input


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
                f'use its .venv/bin/dfd, or source a workspace with dfd_ros'
            ) from None


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    grace: float
    log: BinaryIO
    last_line: str = ''


class NodeProcesses:
    """Nodes as child processes. Leaving the context ends them all, however it is left."""

    def __init__(self, logs: Path | None = None) -> None:
        """`logs`: folder for a file of each node with what it says; None: on this process's stderr."""
        self._logs = logs
        self._children: dict[str, _Child] = {}
        self._speaking = selectors.DefaultSelector()

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self, name: str, parameters: dict[str, Any] | None = None, *ros_arguments: str, grace: float = GRACE
    ) -> None:
        """Starts ``python -m dfd_ros.ros.nodes.NAME`` with these parameters and further arguments of ROS.

        `grace`: s that it has to end when all are stopped.
        """
        from dfd_ros.ros.parameters import yaml_scalar

        command = [sys.executable, '-m', f'dfd_ros.ros.nodes.{name}', '--ros-args', *ros_arguments]
        for parameter, value in (parameters or {}).items():
            command += ['-p', f'{parameter}:={yaml_scalar(value)}']
        log = open(self._logs / f'{name}.log', 'wb') if self._logs else sys.stderr.buffer  # may fail, so it is first
        # A group of its own: Ctrl-C in the terminal comes here alone, and `stop` says when a node ends.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0, preexec_fn=end_with_parent
        )
        assert process.stderr is not None
        self._children[name] = child = _Child(process, process.stderr, grace, log)
        self._speaking.register(child.said, selectors.EVENT_READ, child)

    def wait(self, until: str | None = None) -> None:
        """Returns when the node `until` has ended well. Raises NodeFailed when any other ends, or ends badly;
        InputError where a node was given what cannot work (status 2).
        """
        while not self.check(until):
            pass

    def check(self, until: str | None = None) -> bool:
        """Whether the node `until` has ended well, after a moment. Raises as `wait`."""
        for name, child in self._children.items():
            status = child.process.poll()
            if status is None:
                continue
            if status == 0 and name == until:
                return True
            self._listen(0.0)
            said = child.last_line.removeprefix(INPUT_ERROR) or 'it said nothing'
            if status == 2:
                raise InputError(f'{name} node: {said}')
            raise NodeFailed(f'{name} node: ended with status {status}: {said}')
        self._listen(POLL)
        return False

    def stop(self) -> None:
        """Ends all nodes: SIGTERM, and SIGKILL for what is still there after its grace."""
        try:
            for child in self._children.values():
                if child.process.poll() is None:
                    child.process.terminate()
            began = time.monotonic()
            while any(
                child.process.poll() is None and time.monotonic() - began < child.grace
                for child in self._children.values()
            ):
                self._listen(POLL)
        finally:
            for child in self._children.values():
                if child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
            self._listen(0.0)
            for child in self._children.values():
                child.said.close()
                if self._logs:
                    child.log.close()
            self._children.clear()
            self._speaking.close()

    def _listen(self, timeout: float) -> None:
        """Passes on what the nodes say, for `timeout` s or until one has said something; 0: all there is."""
        if not self._speaking.get_map():  # nothing to wait for: all have closed their stderr
            time.sleep(timeout)
        while ready := self._speaking.select(timeout):
            for key, _ in ready:
                said = os.read(key.fd, 65536)
                if not said:
                    self._speaking.unregister(key.fileobj)
                    continue
                child: _Child = key.data
                lines = [line for line in said.decode(errors='replace').splitlines() if line.strip()]
                child.last_line = lines[-1].strip() if lines else child.last_line
                # Here the last words come with the exception: once is enough.
                if self._logs or not child.last_line.startswith(INPUT_ERROR):
                    child.log.write(said)
                    child.log.flush()
            if timeout:
                return
