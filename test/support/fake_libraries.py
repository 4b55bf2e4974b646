"""The libraries depthai and picamera2 without their cameras.

Messages and controls are the library's own classes where it is installed; only what talks to a device is replaced.
"""

import sys
import threading
import time
import types
from collections import deque
from datetime import timedelta

import numpy as np

LATENCY = 2  # frames from a value that is set to the frame that reports it


class FakeLens:
    """A lens whose reports come late, and the frames that show it in red, `behind` frames after them."""

    def __init__(self, value: float = 0.0, period: float = 0.005, stuck: bool = False, behind: int = 0) -> None:
        self.period, self.stuck, self.alive = period, stuck, True
        self._values = deque([value] * (behind + LATENCY + 1), maxlen=behind + LATENCY + 1)
        self._behind, self._wanted = behind, value
        self._lock = threading.Lock()

    def set(self, value: float) -> None:
        if not self.stuck:
            self._wanted = value

    def expose(self) -> tuple[float, float]:
        """The values that the next frame reports and shows."""
        time.sleep(self.period)
        with self._lock:
            self._values.append(self._wanted)
            return self._values[self._behind], self._values[0]


def install_depthai(monkeypatch, lens: FakeLens, *, has_autofocus: bool = True, is_there: bool = True):
    """Puts a stand-in for depthai 3 into sys.modules. Returns the controls that were sent."""
    try:
        import depthai as real
    except ImportError:
        real = _depthai_messages()
    sent: list = []

    class Device:
        def __init__(self, _: str = '') -> None:
            if not is_there:
                raise RuntimeError('No available devices')

        def getConnectedCameraFeatures(self):
            left = types.SimpleNamespace(socket='CAM_B', hasAutofocus=False)
            return [left, types.SimpleNamespace(socket='CAM_A', hasAutofocus=has_autofocus)]

        def close(self) -> None:
            lens.alive = False

    class Camera:
        def build(self, socket):
            assert socket == 'CAM_A'
            return self

        def requestOutput(self, size, kind, fps):
            assert kind == real.ImgFrame.Type.BGR888i and fps > 0

            def get(timeout):
                assert timeout == timedelta(seconds=2)
                if not lens.alive:
                    raise RuntimeError('queue closed')
                value, shown = lens.expose()
                frame = real.ImgFrame()
                image = np.zeros((size[1], size[0], 3), np.uint8)
                image[..., 2] = round(shown)
                frame.setCvFrame(image, kind)
                frame.setTimestamp(timedelta(seconds=time.monotonic() - 1e-4))
                frame.cam.lensPosition = round(value)
                return frame

            return types.SimpleNamespace(createOutputQueue=lambda maxSize, blocking: types.SimpleNamespace(get=get))

        @property
        def inputControl(self):
            def send(control):
                if not lens.alive:
                    raise RuntimeError('queue closed')
                sent.append(control)
                lens.set(control.lensPosition)

            return types.SimpleNamespace(createInputQueue=lambda: types.SimpleNamespace(send=send))

    class Pipeline:
        def __init__(self, device) -> None:
            assert isinstance(device, Device)

        def create(self, node):
            return node()

        def start(self) -> None:
            pass

        def stop(self) -> None:
            if not lens.alive:
                raise RuntimeError('queue closed')

    module = types.SimpleNamespace(
        Device=Device,
        Pipeline=Pipeline,
        node=types.SimpleNamespace(Camera=Camera),
        ImgFrame=real.ImgFrame,
        CameraControl=real.CameraControl,
    )
    monkeypatch.setitem(sys.modules, 'depthai', module)
    return sent


def _depthai_messages():
    class ImgFrame:
        Type = types.SimpleNamespace(BGR888i='BGR888i')

        def __init__(self) -> None:
            self.cam = types.SimpleNamespace(lensPosition=0)

        def setCvFrame(self, image, _) -> None:
            self._image = image

        def getCvFrame(self):
            return self._image

        def setTimestamp(self, stamp: timedelta) -> None:
            self._stamp = stamp

        def getTimestamp(self) -> timedelta:
            return self._stamp

        def getLensPosition(self) -> int:
            return self.cam.lensPosition

    class CameraControl:
        lensPosition = 0

        def setManualFocus(self, value: int) -> None:
            self.lensPosition = value

        def setManualExposure(self, microseconds: int, iso: int) -> None:
            self.exposure = microseconds, iso

        def setManualWhiteBalance(self, kelvin: int) -> None:
            self.kelvin = kelvin

    return types.SimpleNamespace(ImgFrame=ImgFrame, CameraControl=CameraControl)


def install_picamera2(monkeypatch, lens: FakeLens, *, controls: tuple[str, ...] = (), cameras: int = 1):
    """Puts a stand-in for picamera2 into sys.modules; its library needs libcamera, which PyPI lacks. Returns the
    controls that were set."""
    limits = {'LensPosition': (0.0, 10.0, 1.0), 'AfMode': (0, 2, 0), 'FrameRate': (1.0, 120.0, 30.0)}
    limits |= dict.fromkeys(('AeEnable', 'ExposureTime', 'AwbEnable', 'ColourTemperature', 'AnalogueGain'), (0, 1, 0))
    sent: dict = {}

    class Picamera2:
        def __init__(self, number: int) -> None:
            if number >= cameras:
                raise IndexError('list index out of range')
            self.camera_controls = {name: limits[name] for name in controls or limits}

        def create_video_configuration(self, main, controls):
            assert main['format'] == 'BGR888'
            return main, controls

        def configure(self, configuration) -> None:
            (self._main, controls) = configuration
            self.set_controls(controls)

        def start(self) -> None:
            pass

        def close(self) -> None:
            lens.alive = False

        def set_controls(self, controls) -> None:
            sent.update(controls)
            lens.set(controls.get('LensPosition', 0.0))

        def capture_request(self, wait):
            assert wait is False
            return 'job'

        def wait(self, job, timeout):
            assert job == 'job' and timeout > 0
            if not lens.alive:
                raise TimeoutError
            value, shown = lens.expose()
            width, height = self._main['size']
            image = np.zeros((height, width, 3), np.uint8)
            image[..., 0] = round(10 * shown)
            metadata = {'LensPosition': value, 'SensorTimestamp': time.monotonic_ns() - 100_000}
            return types.SimpleNamespace(
                get_metadata=lambda: metadata, make_array=lambda stream: {'main': image}[stream], release=lambda: None
            )

    monkeypatch.setitem(sys.modules, 'picamera2', types.SimpleNamespace(Picamera2=Picamera2))
    return sent
