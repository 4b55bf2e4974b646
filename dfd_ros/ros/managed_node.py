"""A node with the life cycle of ROS 2, which a lifecycle manager can configure, activate, deactivate and clean up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.node import LifecycleNodeMixin

from dfd_ros.ros.diagnostics import ERROR, Diagnostics, Report
from dfd_ros.ros.guarded_node import GuardedNode
from dfd_ros.ros.throttled_warnings import log_text

if TYPE_CHECKING:
    from dfd_ros.ros.node_runner import Worker

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = 'unconfigured', 'inactive', 'active', 'finalized'


class StillBusy(RuntimeError):
    """The worker has not ended in time."""


class ManagedNode(LifecycleNodeMixin, GuardedNode):
    """A subclass overrides `configure`, `activate`, `cleanup` and `report`; all may raise, InputError for bad input.

    What `configure` and `activate` create (publishers, subscriptions, services, timers, `worker`) is destroyed when the
    node is cleaned up or deactivated. A step that raises leads through the error state back to unconfigured; the log
    and the diagnostics have the reason. The parameter ``autostart`` belongs to the node's parameters
    (`dfd_ros.ros.parameters.ManagedParameters`).
    """

    # For destroy_node, which also comes for a node whose start has failed.
    state = UNCONFIGURED
    worker: Worker | None = None
    worker_ends_within: float | None = None  # s; None: as long as it takes
    _entities_before: dict[str, set[Any]] = {}

    def __init__(self, name: str, **options: Any) -> None:
        GuardedNode.__init__(self, name, **options)
        LifecycleNodeMixin.__init__(self)
        self._entities_before = {}  # by the step that came next
        self._starting = False
        self._error: Exception | None = None
        self.diagnostics = Diagnostics(self, self._report_state)

    # What a subclass does.

    def configure(self) -> None:
        """Loads and checks what the node needs, and creates its publishers and services."""

    def activate(self) -> None:
        """Subscribes and starts `worker`."""

    def cleanup(self) -> None:
        """Releases what `configure` has loaded, all or part of it."""

    def report(self) -> Report:
        """The diagnostics of the active node."""
        return Report()

    # The life cycle.

    def start(self) -> None:
        """Configures and activates. Raises what prevents it."""
        self._starting = True
        for transition in self.trigger_configure, self.trigger_activate:
            if transition() != TransitionCallbackReturn.SUCCESS:
                assert self._error is not None
                raise self._error
        self._starting = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._error = None
        return self._take_step('configure', self.configure, INACTIVE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._take_step('activate', self.activate, ACTIVE)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._take_step('deactivate', self._rest, INACTIVE)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._take_step('clean up', self._release, UNCONFIGURED)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._take_step('shut down', self._release, FINALIZED)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._take_step('recover', self._release, UNCONFIGURED)

    def _take_step(self, name: str, work: Callable[[], None], state: str) -> TransitionCallbackReturn:
        self._entities_before[name] = self._entities()
        try:
            work()
        except Exception as error:
            self._error = error
            if not self._starting:
                self.get_logger().error(f'cannot {name}: {log_text(error)}')
            return TransitionCallbackReturn.ERROR
        self.state = state
        return TransitionCallbackReturn.SUCCESS

    def _rest(self) -> None:
        if self.worker is not None:
            if not self.worker.close(self.worker_ends_within):
                raise StillBusy(f'the work has not ended within {self.worker_ends_within:g} s')
            self.worker = None
        self._destroy_all_since('activate')

    def _release(self) -> None:
        self._rest()
        self.cleanup()
        self._destroy_all_since('configure')

    def destroy_node(self) -> None:
        try:
            self._release()
        except StillBusy:  # the process ends before it
            pass
        finally:
            super().destroy_node()
            # rclpy forgets it, and as long as it is there, so are the node and its 17 MB of shared memory.
            self._state_machine.destroy_when_not_in_use()

    def _entities(self) -> set[Any]:
        return {*self.publishers, *self.subscriptions, *self.services, *self.timers}

    def _destroy_all_since(self, step: str) -> None:
        before = self._entities_before.pop(step, None)
        if before is None:  # the step has not been taken
            return
        kinds: tuple[tuple[Iterator[Any], Callable[[Any], bool]], ...] = (
            (self.publishers, self.destroy_publisher),
            (self.subscriptions, self.destroy_subscription),
            (self.services, self.destroy_service),
            (self.timers, self.destroy_timer),
        )
        for entities, destroy in kinds:
            for entity in set(entities) - before:
                destroy(entity)

    def _report_state(self) -> Report:
        if self._error is not None:
            return Report(ERROR, f'{self.state}: {log_text(self._error)}')
        return self.report() if self.state == ACTIVE else Report(message=self.state)
