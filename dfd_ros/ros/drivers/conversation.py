"""A sequence of questions to another node, without waiting in a callback.

rclpy's own ``await`` of a future asks again and again until the answer comes, and keeps a core busy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any

from rclpy.task import Future

Steps = Generator[Future, Any, Any]
"""Yields futures, is sent their results, returns what came of it."""


class NoAnswer(Exception):
    """A node has not answered in time."""


class Conversation:
    """Runs `steps` from `begin` on, then calls `done` with the result or the exception. A dropped one never calls."""

    def __init__(
        self, steps: Steps, done: Callable[[Any, Exception | None], None], what: str, patience: float = 2.0
    ) -> None:
        """`patience`: s for each answer. `what` is asked for, for the message."""
        self._steps = steps
        self._done = done
        self._what = what
        self._patience = patience
        self.over = False
        self._deadline = math.inf

    def begin(self) -> None:
        self._next(None)

    def drop(self) -> None:
        self.over = True
        self._steps.close()

    def check(self) -> None:
        """Ends with NoAnswer where the answer is late."""
        if not self.over and time.monotonic() > self._deadline:
            self.drop()
            self._done(None, NoAnswer(f'{self._what}: no answer within {self._patience:g} s'))

    def _next(self, answered: Future | None) -> None:
        if self.over:
            return
        try:
            future = self._steps.send(answered.result() if answered is not None else None)
        except StopIteration as end:
            self.over = True
            self._done(end.value, None)
        except Exception as error:
            self.over = True
            self._done(None, error)
        else:
            self._deadline = time.monotonic() + self._patience
            future.add_done_callback(self._next)
