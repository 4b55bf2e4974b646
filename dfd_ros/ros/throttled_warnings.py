"""Warnings that do not flood the log."""

from __future__ import annotations

import re
import time

from rclpy.node import Node

from dfd_ros.core import errors

MAX_TEXT = 500
KINDS = 100  # of warnings whose time is remembered
_NUMBER = re.compile(r'-?\d[\d.]*(e[-+]?\d+)?|-?\b(nan|inf)\b')
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")


def log_text(text: str | Exception) -> str:
    """A text, or an exception as `core.errors.describe`, on one line. Long quoted parts are cut, so that a quotation
    cannot hide the rest."""

    def cut(match: re.Match[str]) -> str:
        quote = match[0]
        return quote[0] + errors.shortened(quote[1:-1], errors.QUOTED) + quote[-1]

    if isinstance(text, Exception):
        text = errors.describe(text, 8 * MAX_TEXT)
    return errors.shortened(_QUOTED.sub(cut, text), MAX_TEXT)


class ThrottledWarnings:
    """Logs each kind of warning at most once in `every` seconds.

    rclpy throttles by the line of code, so that one broken topic would hide another. This throttles by the text without
    its numbers and quoted parts, which may be the sender's and differ every time.
    """

    def __init__(self, node: Node, every: float = 5.0) -> None:
        self._logger = node.get_logger()
        self._every = every
        self._warned_at: dict[str, float] = {}  # kind to time, the oldest first

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        text = log_text(text)
        kind = _NUMBER.sub('', _QUOTED.sub('', text))
        if now - self._warned_at.get(kind, -self._every) < self._every:
            return
        self._warned_at.pop(kind, None)
        self._warned_at[kind] = now
        if len(self._warned_at) > KINDS:
            del self._warned_at[next(iter(self._warned_at))]
        self._logger.warning(text)
