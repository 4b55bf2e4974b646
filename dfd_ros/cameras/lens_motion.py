"""Estimates the position of a lens without position reports, from its commands and a model of its motion."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

REMEMBERED = 64  # motions, since a frame may arrive after newer commands
WAY_ROUND = -1
"""Instead of the number of a command: where a motor comes from, so that its hysteresis does not count."""


@dataclass(frozen=True)
class _Move:
    sent: float  # s
    began: float
    start: float  # values of the driver
    goal: float
    arrives: float
    rests: float
    command_id: int

    def at(self, time_s: float) -> float:
        if time_s >= self.arrives:
            return self.goal
        if time_s <= self.began:
            return self.start
        share = (time_s - self.began) / (self.arrives - self.began)
        return self.start + share * (self.goal - self.start)


@dataclass(frozen=True)
class Position:
    """The lens during an exposure: its value, whether it rested, the last command that it had reached."""

    value: float
    rests: bool
    command_id: int = 0
    travel: float = math.inf
    """Range of values in which it may have moved; `value` is off by at most half of it. inf: unknown."""


class LensMotion:
    """Motion at constant speed. Without measured times, the lens may move from the command until it rests."""

    def __init__(self, slew: float, settle_s: float, span: float, uncertainty: float | None = None) -> None:
        """`slew`: values per second, 0 = instantaneous. `span`: largest difference of two values. `uncertainty`: error
        (s) of the times; None: they were not measured."""
        self._slew = slew
        self._settle = settle_s
        self._span = span
        self._uncertainty = uncertainty
        self._moves: deque[_Move] = deque(maxlen=REMEMBERED)

    def command(self, value: float, sent: float, answered: float, latency: float, command_id: int) -> None:
        """The driver got `value` at `sent` (s) and answered at `answered`; the lens starts `latency` s later.

        The first command moves it from an unknown value.
        """
        began = max(answered + latency, sent)
        last = self._moves[-1] if self._moves else None
        start = value if last is None else last.at(began)
        way = self._span if last is None else abs(value - start)
        if last is not None and last.goal == value:  # it stays
            if last.command_id == command_id:
                return
            sent, began, start, arrives, rests = last.sent, last.began, last.start, last.arrives, last.rests
        else:
            arrives = began + (way / self._slew if self._slew else 0.0)
            rests = arrives + self._settle
        self._moves.append(_Move(sent, began, start, value, arrives, rests, command_id))

    def forget(self) -> None:
        """The position is unknown from now on."""
        self._moves.clear()

    def during(self, begin: float, end: float) -> Position | None:
        """The position during an exposure (s); None: unknown."""
        if not self._moves:
            return None
        off = self._uncertainty or 0.0
        begin, end = begin - off, end + off
        reached = [move for move in self._moves if move.rests <= begin]
        moving = [move for move in self._moves if self._earliest(move) < end and begin < move.rests]
        command_id = reached[-1].command_id if reached else 0
        if reached and not moving:
            return Position(self._at(end), True, command_id, 0.0)
        if self._uncertainty is None or self._earliest(self._moves[0]) > begin - self._settle or not reached:
            return Position(self._at(end), False, command_id)
        # Until the lens rests, it may be behind the model by up to the settling time.
        first = begin - self._settle
        turns = [t for move in moving for t in (move.began, move.arrives) if first < t < end]
        values = [self._at(time_s) for time_s in (first, *turns, end)]
        low, high = min(values), max(values)
        return Position((low + high) / 2, False, command_id, high - low)

    def _earliest(self, move: _Move) -> float:
        return move.sent if self._uncertainty is None else move.began

    def _at(self, time_s: float) -> float:
        current = self._moves[0]
        for move in self._moves:
            if move.began <= time_s:
                current = move
        return current.at(time_s)
