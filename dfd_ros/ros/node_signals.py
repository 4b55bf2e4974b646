"""SIGINT and SIGTERM of a node, from its first import to its end. Imports nothing slow."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from types import FrameType

SIGNALS = signal.SIGINT, signal.SIGTERM


def end_at_once() -> None:
    """From now on a signal ends the process with status 0, without a traceback: it is still being imported.

    So do signals that came earlier, which wait where the executable was started with them blocked (setup/node.in).
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class StopRequest:
    """Takes the signals over: the first one is noted and, while `interrupts`, raised as KeyboardInterrupt.

    Later ones change nothing: the process is ending. Python ignores an exception in a destructor or a callback of an
    import; `arrived` is then the only sign, and Python's message about it is left out.
    """

    def __init__(self) -> None:
        self.arrived = False
        self.interrupts = True
        for number in SIGNALS:
            signal.signal(number, self._note)
        sys.unraisablehook = _report

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.arrived = True
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt


def _report(ignored: sys.UnraisableHookArgs) -> None:
    if ignored.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(ignored)


def skip_teardown(status: int) -> None:
    """Lets the process end with `status` as soon as it has come to its end.

    To take down the interpreter with torch in it costs half a second of CPU time, which is many seconds on a busy
    machine, and launch loses patience. All that had to be closed or written has been by then.
    """

    def end() -> None:
        for child in multiprocessing.active_children():  # as multiprocessing's own teardown does with daemons
            child.terminate()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(end)
