"""Estimates the position of a lens without position reports, from its commands and a model of its motion."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

REMEMBERED = 64  # motions, since a frame may arrive after newer commands
OTHER_RATE = 0.2  # by which the frame rate may differ from that of the measurement
WAY_ROUND = -1
"""Instead of the number of a command: where a motor comes from, so that its hysteresis does not count."""


def is_of_another_rate(measured_hz: float, rate_hz: float) -> bool:
    """Whether times that were measured at a frame rate do not hold now, as many lenses move frame by frame. 0 and NaN:
    unknown."""
    return measured_hz > 0 and rate_hz > 0 and abs(measured_hz / rate_hz - 1) > OTHER_RATE


@dataclass(frozen=True)
class _Move:
    sent: float  # s
    began: float
    start: float  # values of the driver
    goal: float
    arrives: float
    rests: float
    slack: float
    """s by which all of that may be later, as the answer was."""
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
        self.uncertainty = uncertainty
        self._moves: deque[_Move] = deque(maxlen=REMEMBERED)
        self._answers: deque[float] = deque(maxlen=REMEMBERED)  # s that the driver took for each

    def command(
        self, value: float, sent: float, answered: float, latency: float, command_id: int, stretch: float = 1.0
    ) -> None:
        """`value` was sent to the driver at `sent` (s), which answered at `answered`; the lens starts `latency` s after
        the answer, or after the command where that was measured, and takes `stretch` times as long as usual.

        The first command moves it from an unknown value.
        """
        is_measured = self.uncertainty is not None
        began = max((sent if is_measured else answered) + latency, sent)
        self._answers.append(answered - sent)
        slack = answered - sent - min(self._answers) if is_measured else 0.0
        last = self._moves[-1] if self._moves else None
        start = value if last is None else last.at(began)
        way = self._span if last is None else abs(value - start)
        if last is not None and last.goal == value:  # it stays
            if last.command_id == command_id:
                return
            self._moves.append(replace(last, command_id=command_id))
            return
        arrives = began + (stretch * way / self._slew if self._slew else 0.0)
        rests = arrives + stretch * self._settle
        self._moves.append(_Move(sent, began, start, value, arrives, rests, slack, command_id))

    def forget(self) -> None:
        """The position is unknown from now on."""
        self._moves.clear()

    def during(self, begin: float, end: float, late: Callable[[float], float] | None = None) -> Position | None:
        """The position during an exposure (s); None: unknown. `late`: gives by how much (s) the lens may rest later,
        after a command that was sent at a time (s)."""
        if not self._moves:
            return None
        off = self.uncertainty or 0.0
        begin, end = begin - off, end + off
        moves = [(move, move.slack + (late(move.sent) if late else 0.0)) for move in self._moves]
        reached = [move for move, delay in moves if move.rests + delay <= begin]
        moving = [(m, delay) for m, delay in moves if self._earliest(m) < end and begin < m.rests + delay]
        command_id = reached[-1].command_id if reached else 0
        if reached and not moving:
            return Position(self._at(end), True, command_id, 0.0)
        # Until the lens rests, it may be behind the model by up to the settling time.
        first = begin - self._settle - max((delay for _, delay in moving), default=0.0)
        if self.uncertainty is None or self._earliest(self._moves[0]) > first or not reached:
            return Position(self._at(end), False, command_id)
        turns = [t for move, _ in moving for t in (move.began, move.arrives) if first < t < end]
        values = [self._at(time_s) for time_s in (first, *turns, end)]
        low, high = min(values), max(values)
        return Position((low + high) / 2, False, command_id, high - low)

    def _earliest(self, move: _Move) -> float:
        return move.sent if self.uncertainty is None else move.began

    def _at(self, time_s: float) -> float:
        current = self._moves[0]
        for move in self._moves:
            if move.began <= time_s:
                current = move
        return current.at(time_s)
