"""Ctrl-C and SIGTERM during a training: it ends between two steps, with a checkpoint."""

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
    """Within this context a first SIGINT or SIGTERM is only remembered. At its end it has the effect that it had
    before; a second one has it at once. Elsewhere than in the main thread nothing changes.

    Attributes:
        signal: the one that was received.
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
