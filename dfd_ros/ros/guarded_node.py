"""A node whose callbacks cannot end it: the one place where any exception out of a message or a parameter ends."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from dfd_ros.core.errors import InputError
from dfd_ros.ros.throttled_warnings import ThrottledWarnings, log_text

STARTS_WITHIN = 10.0  # s that a node takes at most to start: most load torch first


class GuardedNode(Node):
    """A node that turns an exception in a callback into a throttled warning that names the topic, service or parameter.

    A change of parameters that raises is refused with the reason. Exceptions after ROS has shut down pass.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._warn = ThrottledWarnings(self)
        self._began = time.monotonic()

    @property
    def is_starting(self) -> bool:
        """Whether nodes launched together with this one may not have started yet."""
        return time.monotonic() - self._began < STARTS_WITHIN

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **options: Any) -> Any:
        guarded = self._guarded(callback, self.resolve_topic_name(topic))
        return super().create_subscription(msg_type, topic, guarded, *args, **options)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **options: Any) -> Any:
        @functools.wraps(callback)
        def respond(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:
                self._note(error, srv_name)
                for text in ('message', 'status_message'):
                    if hasattr(response, text):
                        response.success = False
                        setattr(response, text, log_text(error))
                return response

        return super().create_service(srv_type, srv_name, respond, **options)

    def add_on_set_parameters_callback(self, callback: Callable[[list[Parameter]], SetParametersResult]) -> None:
        @functools.wraps(callback)
        def checked(parameters: list[Parameter]) -> SetParametersResult:
            try:
                return callback(parameters)
            except Exception as error:
                names = ', '.join(parameter.name for parameter in parameters)
                self._note(error, f'parameter {names}')
                return SetParametersResult(successful=False, reason=log_text(error))

        super().add_on_set_parameters_callback(checked)

    def add_post_set_parameters_callback(self, callback: Callable[[list[Parameter]], None]) -> None:
        super().add_post_set_parameters_callback(self._guarded(callback, 'parameters'))

    def _guarded(self, callback: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(callback)
        def guarded(*args: Any) -> Any:
            try:
                return callback(*args)
            except Exception as error:
                self._note(error, name)

        return guarded

    def _note(self, error: Exception, name: str) -> None:
        """Warns of an exception out of what `name` brought. Raises it again if ROS has shut down meanwhile."""
        if not self.context.ok():
            raise error
        self._warn(log_text(error) if isinstance(error, InputError) else f'{name}: {log_text(error)}')
