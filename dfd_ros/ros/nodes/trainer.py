"""Trainer node: trains a network on samples, publishes its progress, and hands better weights to a depth node."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically
from dfd_ros.core.image_io import read_image
from dfd_ros.datasets.shards import require_samples
from dfd_ros.msg import TrainingProgress
from dfd_ros.ros import image_messages
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.guarded_node import GuardedNode
from dfd_ros.ros.node_parameters import TrainerParameters
from dfd_ros.ros.node_runner import Worker, run
from dfd_ros.training.loop import train
from dfd_ros.training.observer import Observer, Progress

PUBLISH_EVERY = 0.2  # s
LOG_EVERY = 10.0  # s
# Late subscribers get the last one.
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class TrainerNode(GuardedNode, Observer):
    """The training runs in a worker thread and calls `on_step` and `on_validation`; services set its events."""

    worker: Worker | None = None

    def __init__(self, **options) -> None:
        super().__init__('trainer', **options)
        self._settings = BoundParameters(self, TrainerParameters)
        values = self._settings.values
        self._config = values.training()
        if self._config.shards:
            require_samples(self._config.shards)  # they are read when training starts
        self._folder = Path(values.output).expanduser().absolute() / self._config.name
        self._going, self._stopping = threading.Event(), threading.Event()
        self._going.set()
        self._progress = Progress(0, self._config.steps, 0.0, math.nan, math.nan)
        self._validation: tuple[int, dict[str, float]] = 0, {}
        self._published_at = -math.inf
        self._publisher = self.create_publisher(TrainingProgress, '~/progress', LATCHED)
        self._preview = self.create_publisher(Image, '~/preview', LATCHED)
        for name, work in (('pause', self._pause), ('resume', self._resume), ('stop', self._stop)):
            self.create_service(Trigger, f'~/{name}', self._service(work))
        self.get_logger().info(f'training in {self._folder}')
        self.worker = Worker(self, self._work, self._stop)

    def destroy_node(self) -> None:
        if self.worker is not None:
            self.worker.close()
        super().destroy_node()

    # Services.

    def _service(self, work):
        def respond(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.message, response.success = work(), True
            return response

        return respond

    def _pause(self) -> str:
        self._going.clear()
        return 'pausing after this step'

    def _resume(self) -> str:
        self._going.set()
        return 'resuming'

    def _stop(self) -> str:
        self._stopping.set()
        self._going.set()
        return f'stopping after this step; start the node again with the same parameters to resume {self._folder}'

    # The worker's thread.

    def _work(self) -> None:
        try:
            train(self._config, self._folder, self._settings.values.device, observer=self)
        except InputError:
            if not self._stopping.is_set():
                raise
        self._publish(TrainingProgress.STOPPED if self._stopping.is_set() else TrainingProgress.DONE)
        if not self.context.ok():
            return
        self.get_logger().info(f'{"stopped" if self._stopping.is_set() else "done"}: {self._folder}')
        if self.worker is not None:
            self.worker.failure.set_result(None)  # the process ends

    def on_step(self, progress: Progress) -> bool:
        self._progress = progress
        if not self._going.is_set():
            self._publish(TrainingProgress.PAUSED)
            self._going.wait()
        if time.monotonic() - self._published_at >= PUBLISH_EVERY:
            self._publish(TrainingProgress.TRAINING)
        left = f'{progress.seconds_left / 60:.0f} min left'
        text = f'step {progress.step} of {progress.steps}: loss {progress.loss:.3f}, {left}'
        self.get_logger().info(text, throttle_duration_sec=LOG_EVERY)
        return not self._stopping.is_set()

    def on_wait(self, rendered: int, wanted: int) -> bool:
        self.get_logger().info(f'{rendered} of {wanted} stacks rendered', throttle_duration_sec=LOG_EVERY)
        return not self._stopping.is_set()

    def on_validation(self, step: int, figures: dict[str, float], weights: Path | None, picture: Path | None) -> None:
        self._validation = step, figures
        self._progress = Progress(
            step, self._config.steps, step / self._config.steps, self._progress.loss, self._progress.seconds_left
        )
        self._publish(TrainingProgress.TRAINING)
        if not self.context.ok():
            return
        shown = ', '.join(f'{name} {value:.4f}' for name, value in figures.items())
        self.get_logger().info(f'step {step}: {shown}{", the best weights so far" if weights else ""}')
        with self._while_ros_runs():
            if picture is not None:
                self._preview.publish(image_messages.to_message(read_image(picture), self._header()))
            if weights is not None and self._settings.values.depth_node:
                self._hand_over(weights, step)

    @contextlib.contextmanager
    def _while_ros_runs(self) -> Iterator[None]:
        """Ignores failures after a signal has shut ROS down: the training still writes its checkpoint."""
        try:
            yield
        except Exception:
            if self.context.ok():
                raise

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg())

    def _publish(self, state: str) -> None:
        if not self.context.ok():
            return
        self._published_at = time.monotonic()
        progress, (validated, figures) = self._progress, self._validation
        with self._while_ros_runs():
            self._publisher.publish(
                TrainingProgress(
                    header=self._header(),
                    run=str(self._folder),
                    state=state,
                    step=progress.step,
                    steps=progress.steps,
                    loss=progress.loss,
                    seconds_left=progress.seconds_left,
                    validated_step=validated,
                    figures=list(figures),
                    values=list(figures.values()),
                )
            )

    def _hand_over(self, weights: Path, step: int) -> None:
        """Gives the depth node its own copy of these weights: the training replaces the original."""
        node = self._settings.values.depth_node
        client: Client = self.create_client(SetParameters, f'{node}/set_parameters')
        if not client.service_is_ready() and not client.wait_for_service(1.0):
            self.get_logger().warning(f'parameter depth_node: there is no node {node}; the weights are not handed over')
            self.destroy_client(client)
            return
        path = self._folder / f'handed_over_{step:07d}.safetensors'
        earlier = handed_over_besides(path)
        with written_atomically(path) as temporary:
            temporary.write_bytes(weights.read_bytes())
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(path))
        request = SetParameters.Request(parameters=[Parameter(name='weights', value=value)])

        def answered(future: Future) -> None:
            self.destroy_client(client)
            response = future.result()
            if response is None:
                return
            result = response.results[0]
            if result.successful:
                self.get_logger().info(f'{node} has the weights of step {step}')
                for file in earlier:
                    file.unlink(missing_ok=True)
            else:
                self.get_logger().warning(f'{node} does not take the weights of step {step}: {result.reason}')

        client.call_async(request).add_done_callback(answered)


def handed_over_besides(path: Path) -> list[Path]:
    """The files that were handed over, except this one: a run that was killed may hand over the same step again."""
    return [file for file in path.parent.glob('handed_over_*.safetensors') if file != path]


def main(arguments: list[str] | None = None) -> int:
    return run(TrainerNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
