"""A thread that spins nodes, in commands and tests."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

PATIENCE = 120.0  # s that a callback may keep the thread from other work
T = TypeVar('T')


class SpinThread:
    """Spins nodes in a thread of its own, until it is closed.

    The thread ends between two callbacks. `Executor.shutdown`, called while another thread spins, takes from the next
    callback what that needs.
    """

    def __init__(self, *nodes: Node) -> None:
        self._executor = SingleThreadedExecutor()
        for node in nodes:
            self.add(node)
        self._end: Future = Future()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin_until_future_complete(self._end)

    def add(self, node: Node) -> None:
        """Spins another node."""
        self._executor.add_node(node)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, or raises, in the thread between two callbacks.

        For what destroys subscriptions, publishers or nodes: while rclpy collects what it waits for, one that another
        thread destroys ends the spinning.
        """
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()

        def answered() -> None:
            try:
                answer.set_result(work())
            except Exception as error:
                answer.set_exception(error)

        self._executor.create_task(answered)
        return answer.result(PATIENCE)

    def destroy(self, node: Node) -> None:
        """Ends one of the nodes."""

        def destroy() -> None:
            self._executor.remove_node(node)
            node.destroy_node()

        self.run(destroy)

    def close(self) -> None:
        """Ends the thread; the nodes stay."""
        self._end.set_result(None)
        self._thread.join()
        self._executor.shutdown()
