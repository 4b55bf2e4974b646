"""Warnings that do not flood the log."""

from __future__ import annotations

import re
import time

from rclpy.node import Node


class ThrottledWarnings:
    """Warns of each thing at most once in `every` seconds.

    rclpy's own throttling goes by the line of code, so that one broken topic would hide another. This goes by
    the text; texts that differ only in numbers count as the same.
    """

    def __init__(self, node: Node, every: float = 5.0) -> None:
        self._logger = node.get_logger()
        self._every = every
        self._warned_at: dict[str, float] = {}

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        kind = re.sub(r'[\d.]+', '', text)
        if now - self._warned_at.get(kind, -self._every) >= self._every:
            self._warned_at[kind] = now
            self._logger.warning(text)
