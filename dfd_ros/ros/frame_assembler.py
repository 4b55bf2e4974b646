"""Puts the messages of one exposure together, whichever of them there are."""

from __future__ import annotations

import time
from typing import Any

ALIVE = 2.0  # s since its last message in which a topic counts as one that comes
MAX_WAITING = 32  # exposures
STAMP_TOLERANCE = 5_000_000  # ns by which a message may differ that belongs to an image


class FrameAssembler:
    """Gives the messages of an exposure once all topics that come at all have brought theirs.

    An exposure needs a message of `leading`, or of `otherwise` while `leading` does not come. Exposures before one that
    was complete are dropped.
    """

    def __init__(self, leading: str, otherwise: str) -> None:
        self._leading, self._otherwise = leading, otherwise
        self._waiting: dict[int, dict[str, Any]] = {}  # by stamp, ns
        self._heard: dict[str, float] = {}  # topic to time of its last message, s of time.monotonic
        self._last = -1

    def push(self, topic: str, stamp: int, message: Any) -> dict[str, Any] | None:
        """Adds a message with its stamp (ns). Gives the messages by topic of an exposure that is complete now."""
        now = time.monotonic()
        self._heard[topic] = now
        if stamp <= self._last:
            if self._last - stamp < ALIVE * 1e9:
                return None
            self._waiting.clear()  # the clock was set back, or a bag begins again
            self._last = -1
        parts = self._waiting.setdefault(stamp, {})
        parts[topic] = message
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[min(self._waiting)]
        coming = {name for name, at in self._heard.items() if now - at < ALIVE}
        needed = self._leading if self._leading in coming else self._otherwise
        if needed not in parts or not coming <= parts.keys():
            return None
        self._last = stamp
        self._waiting = {other: waiting for other, waiting in self._waiting.items() if other > stamp}
        return parts

    def silent_for(self, topic: str) -> float | None:
        """s since the last message of a topic; None if there was none."""
        heard = self._heard.get(topic)
        return None if heard is None else time.monotonic() - heard


class Newest:
    """The last messages of a topic, to be found by stamp."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._messages: dict[int, Any] = {}

    def add(self, stamp: int, message: Any) -> None:
        """Adds a message with its stamp (ns)."""
        self._messages[stamp] = message
        while len(self._messages) > self._most:
            del self._messages[next(iter(self._messages))]

    def at(self, stamp: int) -> Any | None:
        """The message of about this stamp (ns); None if there is none."""
        if (exact := self._messages.get(stamp)) is not None:
            return exact
        near = min(list(self._messages), key=lambda one: abs(one - stamp), default=None)
        return self._messages.get(near) if near is not None and abs(near - stamp) <= STAMP_TOLERANCE else None

    @property
    def last(self) -> Any | None:
        """The one that came last."""
        return next(reversed(list(self._messages.values())), None)
