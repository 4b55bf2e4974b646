"""One job of `dfd submit`, which submitit pickles and calls on the machine that does the work."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from dfd_ros.core.child_processes import end_with_parent

_PATIENCE = 60.0  # s, for a command to save what it has
_VISIBLE = 'CUDA_VISIBLE_DEVICES'


class SubmittedJob:
    """Runs a `dfd` command as a child process; the result of the call is its exit status.

    Before a job is pre-empted, submitit calls `checkpoint`: the command gets SIGTERM, on which it ends cleanly, and
    the same job is queued again. All commands resume.

    Args:
        arguments: of `dfd`.
        hides_gpus: the executor hides the GPUs that this process sees; undo it.
    """

    def __init__(self, arguments: list[str], hides_gpus: bool = False):
        self.arguments = arguments
        self._shown = {_VISIBLE: os.environ.get(_VISIBLE)} if hides_gpus else {}
        self._child: subprocess.Popen | None = None

    def __call__(self) -> int:
        environment = {**os.environ, **{name: value for name, value in self._shown.items() if value is not None}}
        for name, value in self._shown.items():
            if value is None:
                environment.pop(name, None)
        self._child = subprocess.Popen(
            [sys.executable, '-m', 'dfd_ros.cli', *self.arguments], env=environment, preexec_fn=_prepare
        )
        try:
            return self._child.wait()
        finally:
            self._stop()

    def checkpoint(self):
        """Called by submitit before pre-emption or the end of the job's time."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(self)

    def _stop(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        # `checkpoint` runs in a signal handler, amid `wait`, whose lock Popen would wait for: so without Popen.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child.pid, signal.SIGTERM)
            began = time.monotonic()
            while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() - began > _PATIENCE:
                    os.kill(child.pid, signal.SIGKILL)
                time.sleep(0.05)

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_child': None}


def _prepare() -> None:
    # Slurm sends SIGUSR2, by which submitit learns of a pre-emption, to all processes of a job.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    end_with_parent()


def last_line(log: Path) -> str:
    """The last line that the command has written to the log of its job."""
    try:
        text = log.read_text(errors='replace')
    except OSError:
        return 'no log'
    lines = [line.strip() for line in re.split(r'[\r\n]', text)]
    said = [line for line in lines if line and not line.startswith('submitit ')]
    return said[-1] if said else 'nothing'
