"""Writes bags in a thread of its own, so that callers never wait for the disk."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer  # TimeoutError itself only from Python 3.11 on
from pathlib import Path
from typing import Any

from dfd_ros.bags.bag_writer import BagWriter, Latched, Topic
from dfd_ros.core.errors import InputError

MAX_BACKLOG = 256 << 20  # bytes in memory, after which messages are dropped and counted
FLUSH_EVERY = 0.4  # s; with the time of a write, a kill costs well under one second
CHECK_DISK_EVERY = 0.5  # s


class BackgroundWriter:
    """Takes messages from any thread and writes them in the thread that calls `run`.

    Args:
        folder: for the bags.
        topics: of every bag.
        smallest_free: bytes to leave free on the disk; a bag is closed before less is free.
        on_end: called in the writing thread, with a line, when a bag ends without `stop`.
        split_size, split_time: see `BagWriter`.
        clock: ns, of the times in the bag, which may be simulated.
    """

    def __init__(
        self,
        folder: Path,
        topics: list[Topic],
        *,
        smallest_free: int = 0,
        on_end: Callable[[str], None] = lambda line: None,
        split_size: int = 0,
        split_time: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder, self.topics = folder, topics
        self.dropped = 0
        """Messages of this bag that were dropped because memory was full."""
        self.free = 0
        """Bytes free on the disk when last checked."""
        self._smallest_free, self._on_end = smallest_free, on_end
        self._split_size, self._split_time, self._clock = split_size, split_time, clock
        self._condition = threading.Condition()
        self._queue: deque[tuple] = deque()
        self._waiting = 0
        self._is_open = False
        self._ended = False
        self._latched = {i: Latched(topic) for i, topic in enumerate(topics) if topic.latched}
        self._bag: BagWriter | None = None
        self._checked_at = 0.0

    @property
    def bag(self) -> BagWriter | None:
        """The bag being written; its counts may be read from any thread."""
        return self._bag

    def put(self, topic: int, time_ns: int, data: bytes) -> None:
        """Queues a serialised message. While no bag is open, it keeps only latched messages, for the next bag."""
        with self._condition:
            if topic in self._latched:
                self._latched[topic].add(data)
            if not self._is_open:
                return
            if self._waiting + len(data) > MAX_BACKLOG:
                self.dropped += 1
                return
            self._waiting += len(data)
            self._queue.append((topic, time_ns, data))
            self._condition.notify()

    def start(self, name: str, timeout: float = 10.0) -> Path:
        """Starts a bag of this name. Raises InputError if one is open or it cannot be written, or after `timeout` s."""
        if self._is_open:
            raise InputError(f'{self._bag.folder if self._bag else self.folder}: is already being recorded')
        return self._request(('start', name), timeout)

    def stop(self, timeout: float = 30.0) -> str:
        """Writes what is queued and ends the bag. Returns a line about it. Raises InputError if none is open, or after
        `timeout` s."""
        if not self._is_open:
            raise InputError('nothing is being recorded')
        return self._request(('stop',), timeout)

    def _request(self, request: tuple, timeout: float) -> Any:
        answer: Future = Future()
        with self._condition:
            if request[0] == 'start':
                # Now, so that messages that arrive while the files are created are in the bag.
                self._is_open, self.dropped = True, 0
            self._queue.append((*request, answer))
            self._condition.notify()
        try:
            return answer.result(timeout)
        except NoAnswer:
            raise InputError(
                f'{self.folder}: {request[0]} takes more than {timeout:g} s; the disk is slow, work continues'
            ) from None

    def close(self) -> None:
        """Ends the bag, if one is open, and then `run`."""
        with self._condition:
            self._ended = True
            self._condition.notify()

    def run(self) -> None:
        """Writes until `close`."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._ended, FLUSH_EVERY)
                batch, self._queue = self._queue, deque()
                ended = self._ended
            for item in batch:
                if isinstance(item[0], str):
                    self._answer(item)
                    continue
                self._write(*item)
                with self._condition:
                    self._waiting -= len(item[2])
            self._attempt(self._flush_and_check)
            if ended:
                self._finish()
                return

    def _answer(self, item: tuple) -> None:
        answer: Future = item[-1]
        try:
            answer.set_result(self._begin(item[1]) if item[0] == 'start' else self._finish())
        except OSError as error:
            self._is_open = False
            answer.set_exception(InputError(f'{error.filename or self.folder}: {error.strerror or error}'))
        except InputError as error:
            self._is_open = False
            answer.set_exception(error)

    def _begin(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_disk()
        bag = self._bag = BagWriter(
            self.folder / name,
            self.topics,
            flush_every=FLUSH_EVERY,
            split_size=self._split_size,
            split_time=self._split_time,
        )
        with self._condition:
            known = {topic: latched.messages() for topic, latched in self._latched.items()}
        for topic, messages in known.items():
            for data in messages:
                self._write(topic, self._clock(), data)
        return bag.folder

    def _finish(self) -> str:
        bag, self._bag, self._is_open = self._bag, None, False
        if bag is None:
            return ''
        try:
            bag.close()
        except OSError as error:
            self._on_end(f'{bag.folder}: its last messages could not be written: {error.strerror or error}')
        return f'{bag.folder}: {bag.messages} messages, {bag.size / 1e6:.1f} MB'

    def _write(self, topic: int, time_ns: int, data: bytes) -> None:
        bag = self._bag
        if bag is not None:
            self._attempt(lambda: bag.write(topic, time_ns, data))

    def _attempt(self, work: Callable[[], None]) -> None:
        """Works on the bag; an error of the disk ends the bag, with a line."""
        try:
            work()
        except (OSError, InputError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self._on_end(f'{self._finish()}; recording has stopped: {reason}')

    def _flush_and_check(self) -> None:
        now = time.monotonic()
        if now - self._checked_at > CHECK_DISK_EVERY:
            self._checked_at = now
            if self._bag is not None:
                self._check_disk()
        if self._bag is not None and now - self._bag.flushed_at > FLUSH_EVERY:
            self._bag.flush()

    def _check_disk(self) -> None:
        self.free = shutil.disk_usage(self.folder).free
        if self.free < self._smallest_free:
            raise InputError(
                f'{self.folder}: {self.free / 1e9:.2f} GB free on the disk, less than the '
                f'reserve of {self._smallest_free / 1e9:.2f} GB; free some space'
            )
