"""Pairs messages of several topics by their stamps: ``message_filters``, or the same interface without it.

`Subscriber`, `TimeSynchronizer` and `ApproximateTimeSynchronizer` are those of message_filters if it is installed.
Otherwise (it is not on PyPI) the classes below give the same pairs.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile

NANOSECONDS = 1_000_000_000
JUMP = 1.0  # s; stamps that fall back by more start a new stream: a bag played again, a clock that was set


class OwnFilter:
    """Passes messages on to the registered callbacks."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable, tuple]] = []

    def registerCallback(self, callback: Callable, *args: Any) -> int:
        """Calls ``callback(*messages, *args)`` for every output. Returns the connection's number."""
        self._callbacks.append((callback, args))
        return len(self._callbacks) - 1

    def signalMessage(self, *messages: Any) -> None:
        for callback, args in self._callbacks:
            callback(*messages, *args)


class OwnSubscriber(OwnFilter):
    """A subscription whose messages go to the registered callbacks."""

    def __init__(
        self, node: Node, message_type: type, topic: str, *, qos_profile: QoSProfile | int = 10, **options: Any
    ) -> None:
        super().__init__()
        self.sub = node.create_subscription(message_type, topic, self.signalMessage, qos_profile, **options)
        self.topic = topic


class OwnTimeSynchronizer(OwnFilter):
    """Passes on sets of messages with the same stamp, one from each input, in order of stamps.

    The `queue_size` newest messages of each input wait for their counterparts.
    """

    def __init__(self, fs: list[OwnFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.queues: list[dict[int, Any]] = [{} for _ in fs]  # as message_filters calls them
        self._lock = threading.Lock()
        for index, source in enumerate(fs):
            source.registerCallback(self._add, index)

    def _add(self, message: Any, index: int) -> None:
        stamp = nanoseconds(message.header.stamp)
        with self._lock:
            queue = self.queues[index]
            queue[stamp] = message
            while len(queue) > self.queue_size:
                del queue[min(queue)]
            matches = [[queue.pop(s) for queue, s in zip(self.queues, stamps)] for stamps in self._match(stamp, index)]
        for messages in matches:
            self.signalMessage(*messages)

    def _match(self, stamp: int, index: int) -> list[tuple[int, ...]]:
        """The sets that are complete with a message of this stamp: each a stamp per input."""
        complete = all(stamp in queue for queue in self.queues)
        return [(stamp,) * len(self.queues)] if complete else []


class OwnApproximateTimeSynchronizer(OwnTimeSynchronizer):
    """Passes on sets of messages whose stamps differ by less than `slop` seconds.

    A new message is matched with the nearest waiting messages of the other inputs.
    """

    def __init__(self, fs: list[OwnFilter], queue_size: int, slop: float) -> None:
        super().__init__(fs, queue_size)
        self._slop = round(slop * NANOSECONDS)

    def _match(self, stamp: int, index: int) -> list[tuple[int, ...]]:
        if stamp not in self.queues[index]:  # older than all of a full queue: already discarded
            return []
        near = [
            [stamp]
            if i == index
            else sorted((s for s in queue if abs(s - stamp) <= self._slop), key=lambda s: abs(s - stamp))
            for i, queue in enumerate(self.queues)
        ]
        for stamps in itertools.product(*near):
            if max(stamps) - min(stamps) < self._slop:
                return [stamps]
        return []


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces Time in nanoseconds."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def shifted(stamp: Time, seconds: float) -> Time:
    """A later stamp."""
    sec, nanosec = divmod(nanoseconds(stamp) + round(seconds * NANOSECONDS), NANOSECONDS)
    return Time(sec=sec, nanosec=nanosec)


try:
    from message_filters import ApproximateTimeSynchronizer, Subscriber, TimeSynchronizer

    IMPLEMENTATION = 'message_filters'
except ImportError:
    ApproximateTimeSynchronizer = OwnApproximateTimeSynchronizer
    Subscriber = OwnSubscriber
    TimeSynchronizer = OwnTimeSynchronizer
    IMPLEMENTATION = 'dfd_ros.ros.synchronisation (message_filters is not installed)'


class Synchroniser:
    """Pairs by stamp: exact for a slop (s) of 0, otherwise approximate. Counts what finds no counterpart.

    Of consecutive messages with one stamp only the first counts: while a clock stands still, nothing shows which image
    belongs to which lens state.

    A stamp that cannot be (before 1970, more than a second of nanoseconds) is passed to `refuse` and goes no further:
    message_filters raises on it. When the stamps of an input fall back by more than `JUMP`, the messages that wait from
    before are discarded: in a full queue the oldest stamp is dropped, which would be every new message.
    """

    def __init__(
        self, filters: list, queue_size: int, slop: float, refuse: Callable[[int, Time], None] = lambda *_: None
    ) -> None:
        """`refuse(index, stamp)`: index of the input."""
        self.arrived = [0] * len(filters)
        self.repeated = [0] * len(filters)
        """Messages of each input that had the stamp of the one before."""
        self._last: dict[int, int] = {}
        self.sets = 0
        self._newest: dict[int, int] = {}
        self._refuse = refuse
        self._gates = [OwnFilter() for _ in filters]
        for index, source in enumerate(filters):
            source.registerCallback(self._pass_on, index)
        self.implementation = (
            ApproximateTimeSynchronizer(self._gates, queue_size, slop)
            if slop
            else TimeSynchronizer(self._gates, queue_size)
        )
        self.implementation.registerCallback(self._on_set)
        self._callbacks: list[Callable] = []
        self._error: Exception | None = None

    def registerCallback(self, callback: Callable) -> None:
        self._callbacks.append(callback)

    def unpaired(self, index: int) -> int:
        """Messages of an input that were discarded without their counterparts."""
        return self.arrived[index] - self.sets - len(self.implementation.queues[index])

    def _on_set(self, *messages: Any) -> None:
        self.sets += 1
        try:
            for callback in self._callbacks:
                callback(*messages)
        except Exception as error:
            self._error = error  # message_filters calls this with its lock held: raised once that is free

    def _pass_on(self, message: Any, index: int) -> None:
        header_stamp = message.header.stamp
        if header_stamp.sec < 0 or header_stamp.nanosec >= NANOSECONDS:
            self._refuse(index, header_stamp)
            return
        stamp = nanoseconds(header_stamp)
        if self._last.get(index) == stamp:
            self.repeated[index] += 1
            return
        self._last[index] = stamp
        latest = stamp + round(JUMP * NANOSECONDS)
        if self._newest.get(index, stamp) > latest:
            self._newest[index] = stamp
            for queue in self.implementation.queues:
                for left_over in [s for s in queue if s > latest]:
                    del queue[left_over]
        self._newest[index] = max(stamp, self._newest.get(index, stamp))
        self.arrived[index] += 1
        self._gates[index].signalMessage(message)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
