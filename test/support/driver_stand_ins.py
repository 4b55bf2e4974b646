"""Stand-ins for camera drivers of others: names, types, refusals and delays of each, a lens that takes time, and the
truth about it. The docstrings name the sources they were checked against.

.venv/bin/python test/support/driver_stand_ins.py [--rate 10]: camera_ros in front of a rendered desk.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import time
from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, Header, Int32
from std_srvs.srv import SetBool

from dfd_ros.ros.image_messages import to_message
from dfd_ros.ros.spin_thread import SpinThread

NANOSECONDS = 10**9


class SimulatedLens:
    """A lens in the driver's own values: it starts `latency` s after a command and moves `slew` values in a second. It
    stays behind a motor that turns to larger values by `play`."""

    def __init__(self, value: float, latency: float = 0.0, slew: float = math.inf, play: float = 0.0) -> None:
        self.latency, self.slew, self.play = latency, slew, play
        self._moves: list[tuple[float, float, float, float]] = [(-math.inf, value, -math.inf, value)]

    def go(self, value: float, now: float) -> None:
        began = now + self.latency
        start = self.at(began)
        value = min(max(start, value - self.play), value)
        self._moves.append((began, start, began + abs(value - start) / self.slew, value))

    def at(self, time_s: float) -> float:
        began, start, ends, goal = next(move for move in reversed(self._moves) if move[0] <= time_s)
        if time_s >= ends:
            return goal
        return start + (goal - start) * (time_s - began) / (ends - began)


class StandIn(Node):
    """A driver: frames at `rate` Hz, stamped at the start of their exposure and published a frame later.

    `truth` has, by the stamp in ns, the values of the lens at the begin and at the end of the exposure.
    """

    NAME = 'driver'
    IMAGE, INFO = '~/image_raw', '~/camera_info'
    EXPOSURE = 0.01  # s

    def __init__(
        self,
        lens: SimulatedLens,
        *,
        rate: float = 30.0,
        images: bool = False,
        scene: Any = None,
        clock_off: float = 0.0,
        **options: Any,
    ):
        """`scene`: gives the picture (H, W, 3) uint8 of a value of the lens; otherwise images are black."""
        super().__init__(self.NAME, **options)
        self.lens = lens
        self.truth: dict[int, tuple[float, float]] = {}
        self.sets = 0
        self.told: list[float] = []  # s, when
        self.began = 0.0  # s, of the last exposure
        self._period, self._clock_off = 1 / rate, clock_off
        self._pending: deque[float] = deque()
        self._info = self.create_publisher(CameraInfo, self.INFO, 1)
        self._image = self.create_publisher(Image, self.IMAGE, 1) if images or scene else None
        self._scene = scene
        self.create_timer(self._period, self._take_frame)
        self._spin_thread = SpinThread(self)

    def end(self) -> None:
        self._spin_thread.close()
        self.destroy_node()

    @property
    def now(self) -> float:
        return self.get_clock().now().nanoseconds / NANOSECONDS

    def _take_frame(self) -> None:
        self.began = self.now
        self._pending.append(self.began)
        if len(self._pending) > 1:
            self._finish(self._pending.popleft())

    def _finish(self, exposed: float) -> None:
        stamp = round((exposed + self._clock_off) * NANOSECONDS)
        header = Header(frame_id='camera')
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, NANOSECONDS)
        self.truth[stamp] = (self.lens.at(exposed), self.lens.at(exposed + self.EXPOSURE))
        image = Image(header=header, width=64, height=48, step=192, encoding='rgb8', data=bytes(9216))
        if self._scene is not None:
            image = to_message(self._scene(sum(self.truth[stamp]) / 2), header)
        if self._image is not None:
            self._image.publish(image)
        self._info.publish(CameraInfo(header=header, width=image.width, height=image.height))
        self.frame_done(header)

    def frame_done(self, header: Header) -> None:
        """After the image and the camera info."""

    def go(self, value: float) -> None:
        self.sets += 1
        self.told.append(self.now)
        self.lens.go(value, self.now)

    def declare(
        self, name: str, value: Any, kind: int, low: float | None = None, high: float = 0.0, step: int = 0, **facts: Any
    ) -> None:
        ranges: dict[str, Any] = {}
        if low is not None and kind == ParameterType.PARAMETER_INTEGER:
            ranges = {'integer_range': [IntegerRange(from_value=int(low), to_value=int(high), step=step)]}
        elif low is not None:
            ranges = {'floating_point_range': [FloatingPointRange(from_value=float(low), to_value=float(high))]}
        self.declare_parameter(name, value, ParameterDescriptor(name=name, type=kind, **ranges, **facts))


class CameraRos(StandIn):
    """camera_ros 0.7: src/ParameterHandler.cpp, src/CameraNode.cpp; the lens as in libcamera's src/ipa/rpi.

    Controls that have not gone with a request when others come are dropped; four requests are queued; the lens moves
    1.5 dioptres a frame; the metadata of a frame have the position of a frame that comes `ahead` frames later.
    """

    NAME = 'camera'
    QUEUE = 4
    STEP = 1.5  # dioptres a frame, imx708
    refusals = 0  # of sets to come

    def __init__(
        self,
        *,
        metadata: bool = True,
        topic: str = '/camera/metadata',
        obeys: bool = True,
        ahead: int = 1,
        **options: Any,
    ) -> None:
        self._controls: dict[str, Any] = {}
        self._queue: deque[dict[str, Any]] = deque({} for _ in range(self.QUEUE))
        self._goal = self._position = self._shown = 1.0
        self._ahead = deque([1.0] * max(ahead - 1, 0))  # positions on their way to the lens
        self._behind = deque([1.0] * max(1 - ahead, 0))  # and to the metadata
        self._mode = 2
        self.dropped = 0
        self._metadata, self._topic, self._obeys = metadata, topic, obeys
        self._diagnostics = None
        super().__init__(SimulatedLens(1.0, slew=1.5 / 0.02), **options)
        self._diagnostics = self.create_publisher(DiagnosticArray, topic, 1)
        self.declare('AfMode', 2, ParameterType.PARAMETER_INTEGER, 0, 2, dynamic_typing=True)
        self.declare('LensPosition', 1.0, ParameterType.PARAMETER_DOUBLE, 0.0, 15.0, dynamic_typing=True)
        self.add_on_set_parameters_callback(self._validate)
        self.add_post_set_parameters_callback(self._apply)

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        wanted = {'AfMode': ('integer', int), 'LensPosition': ('double', float)}
        if self.refusals:
            self.refusals -= 1
            return SetParametersResult(successful=False, reason='the camera is busy')
        for parameter in parameters:
            if parameter.name not in wanted:
                continue
            name, kind = wanted[parameter.name]
            if type(parameter.value) is not kind:
                got = parameter.type_.name.lower()
                reason = f"{parameter.name}: parameter types mismatch, expected '{name}', got '{got}'"
                return SetParametersResult(successful=False, reason=reason)
            if parameter.name == 'LensPosition' and not 0 <= parameter.value <= 15:
                reason = f'parameter value {parameter.value} outside of range: [0.000000..15.000000]'
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        if self._controls:
            self.dropped += 1
        self.told.append(self.now)
        self._controls = {p.name: p.value for p in parameters if p.name in ('AfMode', 'LensPosition')}
        self.sets += 1

    def frame_done(self, header: Header) -> None:
        if self._diagnostics is None:  # still starting
            return
        controls = self._queue.popleft()
        self._mode = controls.get('AfMode', self._mode)
        if self._mode == 0 and self._obeys:
            self._goal = controls.get('LensPosition', self._goal)
        elif self._mode == 2:
            self._goal = 3.0 + 2.0 * math.sin(time.monotonic())  # autofocus hunts
        self._position += min(max(self._goal - self._position, -self.STEP), self.STEP)
        self._ahead.append(self._position)
        self._behind.append(self._position)
        if (moved := self._ahead.popleft()) != self._shown:
            self._shown = moved
            self.lens.go(moved, self.began)  # with the frame, however long this machine has taken until here
        reported = self._behind.popleft()
        self._queue.append(self._controls)
        self._controls = {}
        if self._metadata:
            pairs = {'AfState': '0', 'ExposureTime': '10000', 'LensPosition': f'{reported:f}', 'FocusFoM': '9'}
            values = [KeyValue(key=key, value=value) for key, value in pairs.items()]
            status = DiagnosticStatus(level=DiagnosticStatus.OK, hardware_id='imx708', values=values)
            self._diagnostics.publish(DiagnosticArray(header=header, status=[status]))


class Depthai(StandIn):
    """depthai_ros_driver 2: src/param_handlers/sensor_param_handler.cpp, setRuntimeParams; every set succeeds.

    r_focus does nothing unless r_set_man_focus was true before.
    """

    NAME = 'oak'
    IMAGE, INFO = '~/rgb/image_raw', '~/rgb/camera_info'

    def __init__(self, **options: Any) -> None:
        super().__init__(SimulatedLens(120.0, latency=0.06, slew=2000.0), **options)
        self.declare('rgb.r_focus', 1, ParameterType.PARAMETER_INTEGER, 0, 255)
        self.declare('rgb.r_set_man_focus', False, ParameterType.PARAMETER_BOOL)
        self.add_on_set_parameters_callback(self._set)

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'rgb.r_set_man_focus':
                self.go(self.get_parameter('rgb.r_focus').value if parameter.value else 77)
            elif parameter.name == 'rgb.r_focus' and self.get_parameter('rgb.r_set_man_focus').value:
                self.go(parameter.value)
        return SetParametersResult(successful=True)


class V4l2Camera(StandIn):
    """v4l2_camera: src/v4l2_camera.cpp, createParameters and handleParameter; no reason with a refusal.

    A UVC camera refuses focus_absolute while its autofocus is on. `step`: of the range that is declared, which
    v4l2_camera leaves out; ROS refuses values between.
    """

    NAME = 'v4l2_camera'
    IMAGE, INFO = 'image_raw', 'camera_info'

    def __init__(self, auto: str = 'focus_automatic_continuous', step: int = 0, **options: Any) -> None:
        super().__init__(SimulatedLens(0.0, latency=0.03, slew=1500.0), **options)
        self._auto = auto
        self.declare('brightness', 128, ParameterType.PARAMETER_INTEGER, 0, 255)
        self.declare('focus_absolute', 0, ParameterType.PARAMETER_INTEGER, 0, 250, step)
        if auto:
            self.declare(auto, True, ParameterType.PARAMETER_BOOL)
        self.add_on_set_parameters_callback(self._set)

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'focus_absolute':
                if self._auto and self.get_parameter(self._auto).value:
                    return SetParametersResult(successful=False)
                self.go(parameter.value)
        return SetParametersResult(successful=True)


class Aravis(StandIn):
    """camera_aravis2: src/camera_driver.cpp, a dynamic parameter of type float with the bounds of the feature."""

    NAME = 'camera_driver_gv'

    def __init__(self, kind: int = ParameterType.PARAMETER_DOUBLE, value: Any = 0.0, **facts: Any) -> None:
        options = {key: facts.pop(key) for key in ('images', 'scene', 'rate', 'clock_off') if key in facts}
        super().__init__(SimulatedLens(0.0, latency=0.005, slew=1000.0), **options)
        low = -2.0 if kind == ParameterType.PARAMETER_DOUBLE else None
        self.declare('FocalPower', value, kind, low, 3.0, **facts)
        self.add_on_set_parameters_callback(self._set)

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'FocalPower' and isinstance(parameter.value, float):
                self.go(parameter.value)
        return SetParametersResult(successful=True)


class Spinnaker(StandIn):
    """spinnaker_camera_driver: src/camera.cpp, parameters of dynamic type without a value; each set is 'all good!'."""

    NAME = 'flir_camera'

    def __init__(self, **options: Any) -> None:
        super().__init__(SimulatedLens(0.0, latency=0.005, slew=1000.0), **options)
        kind = ParameterType.PARAMETER_DOUBLE
        self.declare_parameter(
            'focal_power', None, ParameterDescriptor(name='focal_power', type=kind, dynamic_typing=True)
        )
        self.add_on_set_parameters_callback(self._set)

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'focal_power' and isinstance(parameter.value, int | float):
                if -2 <= parameter.value <= 3:  # else: a line in the driver's log
                    self.go(parameter.value)
        return SetParametersResult(successful=True, reason='all good!')


class Axis(StandIn):
    """axis_camera, jazzy-devel: axis_camera/axis_camera.py. `kind`: its service, `read`: gives the number of a request.

    Each call asks the camera over HTTP; the topic `focus` comes once a second, without a stamp.
    """

    NAME = 'axis_camera'
    IMAGE, INFO = 'image_raw', 'camera_info'

    def __init__(self, kind: Any, read: Any, **options: Any) -> None:
        images = options.pop('images', False)
        super().__init__(SimulatedLens(5000.0, latency=0.04, slew=20000.0), **options)
        self._read = read
        self._auto = True
        self._jpeg = self.create_publisher(CompressedImage, 'image_raw/compressed', 1) if images else None
        self.create_service(kind, 'set_focus', self._set_focus)
        self.create_service(SetBool, 'set_autofocus', self._set_autofocus)
        self._focus = self.create_publisher(Int32, 'focus', 1)
        self.create_timer(1.0, lambda: self._focus.publish(Int32(data=round(self.lens.at(self.now)))))

    def frame_done(self, header: Header) -> None:
        if getattr(self, '_jpeg', None) is not None:
            import cv2
            import numpy as np

            data = cv2.imencode('.jpg', np.zeros((48, 64, 3), np.uint8))[1].tobytes()
            self._jpeg.publish(CompressedImage(header=header, format='jpeg', data=data))

    def _set_focus(self, request: Any, response: Any) -> Any:
        time.sleep(0.01)
        response.success = not self._auto
        if not self._auto:
            self.go(self._read(request))
        return response

    def _set_autofocus(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._auto = request.data
        response.success = True
        return response


class TopicLens(StandIn):
    """A lens driver of one's own: takes dioptres on a topic, tells its position on another, without a stamp."""

    NAME = 'lens_driver'
    IMAGE, INFO = 'image_raw', 'camera_info'

    def __init__(self, **options: Any) -> None:
        super().__init__(SimulatedLens(2.0, latency=0.01, slew=100.0), **options)
        self.create_subscription(Float64, 'lens/command', lambda message: self.go(message.data), 10)
        position = self.create_publisher(Float64, 'lens/position', 10)
        self.create_timer(0.02, lambda: position.publish(Float64(data=self.lens.at(self.now))))


class Streaming(StandIn):
    """Any node that streams from a V4L2 device whose controls are in a file: see `fake_v4l2`."""

    NAME = 'usb_cam'
    IMAGE, INFO = 'image_raw', 'camera_info'

    def __init__(self, device: Any, **options: Any) -> None:
        self._device, self._seen = device, None
        super().__init__(SimulatedLens(0.0, latency=0.03, slew=1500.0), **options)
        self.create_timer(0.005, self._look)

    def _look(self) -> None:
        controls = self._device.read()
        if not controls['focus_auto'] and controls['focus_absolute'] != self._seen:
            self._seen = controls['focus_absolute']
            self.go(self._seen)


def main() -> None:
    parser = argparse.ArgumentParser(description='A stand-in for camera_ros, in front of a rendered desk.')
    parser.add_argument('--rate', type=float, default=10.0, help='Hz')
    parser.add_argument('--ahead', type=int, default=1, help='frames by which the metadata are ahead of the picture')
    args = parser.parse_args()

    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from dfd_ros.core.optics import distance
    from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

    camera = SyntheticCamera(320, 240, desk=True)
    pictures = [camera.capture(0.0, distance(i / 4))[0] for i in range(61)]  # now, as a driver has to answer quickly
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    driver = CameraRos(scene=lambda value: pictures[round(4 * value)], rate=args.rate, ahead=args.ahead)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    driver.end()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
