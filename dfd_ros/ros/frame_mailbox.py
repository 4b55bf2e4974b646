"""A one-slot mailbox between a subscription callback and a worker."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')
HAND_OVER = 1e-4  # s, in which a thread wakes up


class Mailbox(Generic[T]):
    """Holds at most one item. Keeps the sender for 0.1 ms, never grows."""

    def __init__(self, keeps: Callable[[T, T], bool] = lambda waiting, new: False) -> None:
        """`keeps(waiting, new)`: whether the waiting item stays and the new one is dropped."""
        self._keeps = keeps
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leaves `item` for the worker. True if an unread one was dropped: the waiting one, or `item`."""
        with self._condition:
            waiting = self._item
            if waiting is None or not self._keeps(waiting, item):
                self._item = item
            self._condition.notify()
        # The worker needs Python's lock, which this thread otherwise keeps until it waits for the next message.
        time.sleep(HAND_OVER)
        return waiting is not None

    def wait(self, seconds: float) -> bool:
        """Waits that long, or until the mailbox is closed; returns whether it is. Items keep replacing each other."""
        with self._condition:
            return self._condition.wait_for(lambda: self._closed, max(0.0, seconds))

    def take(self) -> T | None:
        """Waits for an item and returns it; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Ends the waiting. An unread item is discarded."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()


class Pace:
    """When a worker takes its items, at most so many a second; on average exactly so many, if they come."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._due = -math.inf

    def left(self, rate: float, now: float) -> float:
        """Time (s) until the next item is due. rate: Hz, 0 = no limit; a change counts at once."""
        if rate != self._rate:
            self._rate, self._due = rate, -math.inf
        return max(0.0, self._due - now)

    def take(self, now: float) -> None:
        """Call this when an item is taken."""
        if self._rate:
            period = 1 / self._rate
            self._due = now + period if math.isinf(self._due) else max(self._due, now - period) + period
