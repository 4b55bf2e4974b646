"""Child processes that exit with their parent."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBRARY = ctypes.CDLL(None)  # not in the child: between fork and exec it must not wait for a lock of another thread


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Call in the child: it gets this signal when the parent is killed and can no longer stop it. Linux only."""
    if sys.platform == 'linux':
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, number)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, so that children are stopped too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
