"""Camera node: images, each with its lens state, from a synthetic scene, a focal stack, RGB-D images, a device with a
focus motor or a class of your own."""

from __future__ import annotations

import inspect
import math
import sys
import threading
import time
from collections import deque
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from sensor_msgs.srv import SetCameraInfo
from std_msgs.msg import Header

from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.cameras import CameraLost, CameraSource, Frame
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.focus_device import DEVICES, IN_DIOPTRES, ImageSettings
from dfd_ros.core.optics import Lens
from dfd_ros.core.own_class import find_class
from dfd_ros.core.yaml_loader import load
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import image_messages, messages, qos
from dfd_ros.ros.bound_parameters import BoundParameters
from dfd_ros.ros.compressed_images import to_jpeg
from dfd_ros.ros.diagnostics import WARN, Report, Window
from dfd_ros.ros.managed_node import ManagedNode
from dfd_ros.ros.node_parameters import CameraParameters
from dfd_ros.ros.node_runner import Worker, run

if TYPE_CHECKING:
    from dfd_ros.cameras.focus_table import FocusTable

RECONNECT_AFTER = 1.0  # s
CLOSED_WITHIN = 1.0  # s
SLOW = 0.8  # of the rate requested
SETTLE_TIME = 0.03  # s
MOTOR_SETTLE_TIME = 0.2  # s
RGBD_TOPICS = {
    'color/image_raw': Image,
    'color/camera_info': CameraInfo,
    'depth/image_rect': Image,
    'depth/camera_info': CameraInfo,
}


def make_source(parameters: CameraParameters, calibration: Calibration = Calibration()) -> CameraSource:
    """The source that `parameters` select. Raises InputError for a folder or device that is not there."""
    if ':' in parameters.source:
        return _own_source(parameters.source, parameters.source_options)
    # Each source is imported only when used: rendering needs torch, a device needs OpenCV.
    if parameters.source == 'synthetic':
        import torch

        from dfd_ros.cameras.synthetic_source import SyntheticSource

        # Two threads render no faster than one, and would take a core from the depth node.
        torch.set_num_threads(1)
        return SyntheticSource(
            parameters.image_width or 640,
            parameters.image_height or 480,
            seed=parameters.seed,
            settle_time=_settle_time(parameters),
        )
    if parameters.source == 'stack':
        from dfd_ros.cameras.stack_source import StackSource

        if not parameters.stack:
            raise InputError('parameter stack: source stack needs it; give a focal stack folder')
        return StackSource(parameters.stack, settle_time=_settle_time(parameters), width=parameters.image_width)
    if parameters.source == 'rgbd':
        import torch

        from dfd_ros.cameras.rgbd_source import RgbdSource

        if not parameters.rgbd_folder:
            raise InputError('parameter rgbd_folder: source rgbd needs it; give a folder of RGB-D images')
        torch.set_num_threads(1)
        return RgbdSource(
            parameters.rgbd_folder,
            settle_time=_settle_time(parameters),
            width=parameters.image_width,
            seed=parameters.seed,
            focal_length=parameters.focal_length,
            f_number=parameters.f_number,
        )
    from dfd_ros.cameras.focus_devices import open_focus_device
    from dfd_ros.cameras.motor_source import MotorSource

    lens, lens_width = _lens(parameters, calibration)
    aperture = calibration.aperture
    images = ImageSettings(
        parameters.image_width,
        parameters.image_height,
        parameters.rate,
        parameters.pixel_format,
        parameters.exposure_time,
        parameters.white_balance,
        parameters.gain,
    )
    name = parameters.video_device if parameters.source == 'v4l2' else parameters.camera_id
    return MotorSource(
        lambda: open_focus_device(parameters.source, name, images),
        _focus_table(parameters, calibration),
        lens=lens,
        lens_width=lens_width,
        magnification=aperture.magnification if aperture else None,
        settle_time=_settle_time(parameters),
        motion=None if parameters.settle_time else calibration.motion,
        max_travel=parameters.max_travel,
    )


def _own_source(name: str, options: str) -> CameraSource:
    cls = find_class(name, CameraSource)  # type: ignore[type-abstract]
    try:
        arguments = load(options) or {}
        inspect.signature(cls).bind(**arguments)
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f'parameter source_options: {quoted(options)} are no arguments of {name} ({reason})') from None
    return cls(**arguments)


def _settle_time(parameters: CameraParameters) -> float:
    return parameters.settle_time or (MOTOR_SETTLE_TIME if parameters.source in DEVICES else SETTLE_TIME)


def _focus_table(parameters: CameraParameters, calibration: Calibration) -> FocusTable | None:
    from dfd_ros.cameras.focus_table import FocusTable

    table = FocusTable.found(parameters.focus_table, calibration)
    if table is None and parameters.source not in IN_DIOPTRES:
        raise InputError(
            f'parameter focus_table: source {parameters.source} needs it; give a YAML file with the values of the '
            'focus motor, or a calibration that has them'
        )
    return table


def _lens(parameters: CameraParameters, calibration: Calibration) -> tuple[Lens, int]:
    """The lens, and the image width that its pixel pitch belongs to; 0: that of the images published."""
    given = Lens(
        parameters.focal_length or math.nan, parameters.f_number or math.nan, parameters.pixel_pitch or math.nan
    )
    if calibration.aperture is None:
        return given, 0
    measured = calibration.aperture.lens
    merged = Lens(*(ours if ours > 0 else theirs for ours, theirs in zip(astuple(given), astuple(measured))))
    return merged, 0 if parameters.pixel_pitch else calibration.aperture.width


class CameraNode(ManagedNode):
    """Publishes ``image_raw``, ``camera_info`` and ``lens_state``, all of one stamp; obeys ``focus_command``.

    Frames are taken in a thread of their own, so that a focus command is obeyed at once and not after the
    frame that is just being exposed.
    """

    worker_ends_within = 10.0  # s; a device may keep an image for seconds

    def __init__(self, **options) -> None:
        super().__init__('camera', **options)
        self._settings = BoundParameters(self, CameraParameters)
        self.diagnostics.hardware_id = self._settings.values.source

    def configure(self) -> None:
        values = self._settings.values
        self._calibration = Calibration.read(values.calibration) if values.calibration else Calibration()
        self._source = make_source(values, self._calibration)
        overridable = qos.overridable()
        self._image = self.create_publisher(Image, 'image_raw', qos.PUBLISHER, qos_overriding_options=overridable)
        self._jpeg = self.create_publisher(
            CompressedImage, f'{self._image.topic_name}/compressed', qos.PUBLISHER, qos_overriding_options=overridable
        )
        self._info = self.create_publisher(CameraInfo, 'camera_info', qos.PUBLISHER, qos_overriding_options=overridable)
        self._lens_state = self.create_publisher(
            LensStateMessage, 'lens_state', qos.PUBLISHER, qos_overriding_options=overridable
        )
        self._truth = (
            self.create_publisher(Image, 'truth/depth', qos.PUBLISHER, qos_overriding_options=overridable)
            if values.publish_truth
            else None
        )
        self._rgbd = (
            {
                topic: self.create_publisher(kind, f'rgbd/{topic}', qos.PUBLISHER, qos_overriding_options=overridable)
                for topic, kind in RGBD_TOPICS.items()
            }
            if self._source.gives_rgbd
            else {}
        )

    def activate(self) -> None:
        self._command_id = 0
        self._command_ids: deque[int] = deque(maxlen=256)
        self._commands = 0
        self._reached_id = 0
        self._last: Frame | None = None
        self._intervals = Window(2.0)
        self.create_service(SetCameraInfo, 'set_camera_info', self._on_camera_info)
        self.create_subscription(
            FocusCommand, 'focus_command', self._on_command, qos.COMMAND, qos_overriding_options=qos.overridable()
        )
        self._stop = threading.Event()
        self.worker = Worker(self, self._capture_frames, self._stop.set)
        values = self._settings.values
        self.get_logger().info(f'{values.source} camera at {values.rate:g} Hz')

    def cleanup(self) -> None:
        if source := vars(self).pop('_source', None):  # None: it could not be opened
            source.close()

    def destroy_node(self) -> None:
        self.worker_ends_within = CLOSED_WITHIN
        super().destroy_node()

    def _on_camera_info(
        self, request: SetCameraInfo.Request, response: SetCameraInfo.Response
    ) -> SetCameraInfo.Response:
        """Takes the intrinsics over, and writes them into the calibration file where there is one."""
        path, frame = self._settings.values.calibration, self._last
        if not path:
            raise InputError('parameter calibration: give the file to write the camera info to')
        if frame is None:
            raise InputError('the camera info cannot be checked before the first image; try again')
        height, width = frame.image.shape[:2]
        camera = messages.camera_model(request.camera_info, frame.lens_state.focus_distance)
        if (camera.width, camera.height) != (width, height):
            raise InputError(f'camera_info: for images of {camera.width}x{camera.height}, these have {width}x{height}')
        # Of the file, not of memory: dfd calibrate may have written another part of it.
        calibration = replace(Calibration.read(path), focus_camera=camera)
        calibration.write(path)
        self._calibration = replace(self._calibration, focus_camera=camera)
        response.success = True
        response.status_message = f'written to {path}, for a focus at {camera.focus_distance:.3g} m'
        self.get_logger().info(f'camera info {response.status_message}')
        return response

    def _on_command(self, command: FocusCommand) -> None:
        try:
            self._source.focus(command.focus_distance, time.monotonic())
        except InputError as error:
            self._warn(str(error))
            return
        # After the focus, never before: a frame must not carry the number of a command it was too early for.
        self._command_ids.append(command.command_id)
        self._commands += 1
        self._command_id = command.command_id

    def _capture_frames(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self._settings.values.rate, time.monotonic())
            command_id = self._command_id
            try:
                frame = self._source.capture(time.monotonic())
            except CameraLost as error:
                self._warn(f'{error} Trying again.')
                due = time.monotonic() + RECONNECT_AFTER
                continue
            if frame.warning:
                self._warn(frame.warning)
            if frame.commands is not None:  # the source knows which command it has reached, the lens may be late
                ids = list(self._command_ids)
                behind = self._commands - frame.commands
                self._reached_id = ids[-1 - behind] if 0 <= behind < len(ids) else self._reached_id
            elif frame.lens_state.settled:
                self._reached_id = command_id
            self._publish(frame)

    def _stamp(self, frame: Frame) -> Time:
        now = self.get_clock().now()
        if self.get_parameter('use_sim_time').value:
            return now  # simulated time may stand: less an age in real time, the stamps would fall back
        return now - Duration(seconds=time.monotonic() - frame.time_s)

    def _publish(self, frame: Frame) -> None:
        header = Header(stamp=self._stamp(frame).to_msg(), frame_id=self._settings.values.frame_id)
        height, width = frame.image.shape[:2]
        # The image last: what goes with it is there when it comes, and a pair is complete with no wait.
        self._lens_state.publish(messages.to_message(frame.lens_state, header, self._reached_id))
        self._info.publish(self._camera_info(frame, width, height, header))
        self._image.publish(image_messages.to_message(frame.image, header))
        if self._jpeg.get_subscription_count():
            self._jpeg.publish(to_jpeg(frame.image, header))
        if frame.rgbd is not None:
            info = messages.calibrated_camera_info(frame.rgbd.camera, header)
            for name, image in (('color', frame.rgbd.color), ('depth', frame.rgbd.depth)):
                self._rgbd[f'{name}/camera_info'].publish(info)
                topic = 'color/image_raw' if name == 'color' else 'depth/image_rect'
                self._rgbd[topic].publish(image_messages.to_message(image, header))
        if self._truth is not None:
            if frame.depth is None:
                self.get_logger().warning(
                    'parameter publish_truth: this source does not know the true depth; nothing '
                    f'comes on {self._truth.topic_name}',
                    once=True,
                )
            else:
                self._truth.publish(image_messages.to_message(frame.depth, header))
        if self._last is not None:
            self._intervals.add(frame.time_s - self._last.time_s)
        self._last = frame

    def _camera_info(self, frame: Frame, width: int, height: int, header: Header) -> CameraInfo:
        state = frame.lens_state
        try:
            camera = self._calibration.camera_at(state.focus_distance, width, height)
        except InputError as error:
            self._warn(str(error))
            camera = None
        if camera is None and frame.rgbd is not None:
            camera = frame.rgbd.camera
        if camera is None:
            return messages.camera_info(state, width, height, header)
        return messages.calibrated_camera_info(camera, header)

    def report(self) -> Report:
        interval = self._intervals.mean
        if math.isnan(interval):
            return Report(WARN, 'no images')
        requested, rate = self._settings.values.rate, 1 / interval if interval > 0 else math.inf
        frame = self._last
        assert frame is not None  # there are intervals
        state = frame.lens_state
        values: dict[str, float | int | str] = {
            'rate (Hz)': rate,
            'focus distance (m)': state.focus_distance,
            'settled': str(state.settled),
            'command_id': self._reached_id,
        }
        if frame.warning:
            return Report(WARN, frame.warning, values)
        if rate < SLOW * requested:
            return Report(WARN, f'{rate:.1f} Hz, {requested:g} Hz requested', values)
        return Report(values=values)


def main(arguments: list[str] | None = None) -> int:
    return run(CameraNode, arguments)


if __name__ == '__main__':
    sys.exit(main())
