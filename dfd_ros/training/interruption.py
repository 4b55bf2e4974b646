"""Ctrl-C and SIGTERM during a training: it stops between two steps and writes a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """Raised within `Interruption.anywhere`."""


class Interruption(contextlib.AbstractContextManager['Interruption']):
    """Defers a first SIGINT or SIGTERM to the end of this context. A second one takes effect at once. Does nothing
    outside the main thread.

    Attributes:
        signal: the signal received so far.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._raises = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._restore()
            signal.raise_signal(number)
            return
        self.signal = number
        if self._raises:
            raise Interrupted

    @contextlib.contextmanager
    def anywhere(self) -> Iterator[None]:
        """Within this context a signal raises `Interrupted` at once."""
        self._raises = True
        try:
            if self.signal is not None:
                raise Interrupted
            yield
        finally:
            self._raises = False

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *error: object) -> None:
        self._restore()
        if self.signal is not None and error[0] is None:
            signal.raise_signal(self.signal)
