"""The source of cameras with a motor, and the recording of a sweep, with V4L2 cameras that refuse, round and ignore."""

import math
import time

import cv2
import numpy as np
import pytest
from fake_camera import FakeCamera

from dfd_ros.calibration.record import record_sweep
from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.cameras import CameraLost
from dfd_ros.cameras.focus_devices import open_focus_device
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.cameras.motor_source import MotorSource
from dfd_ros.core import focus_device
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import FocusDevice, ImageSettings
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.core.v4l2_device import V4l2Device

TABLE = FocusTable([0, 250], [math.inf, 0.1])  # 25 a dioptre


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(focus_device, 'PATIENCE', 0.05)
    monkeypatch.setattr(focus_device, 'RETRY', 0.01)


@pytest.fixture
def opened(monkeypatch):
    """Makes a source of a camera."""

    def make(camera, settle_time=0.0, images=ImageSettings(), table=TABLE, **options):
        monkeypatch.setattr(cv2, 'VideoCapture', lambda *_: camera)
        return MotorSource(lambda: open_focus_device('v4l2', '', images), table, settle_time=settle_time, **options)

    return make


def frame_at(source, focus_distance):
    source.focus(focus_distance, time.monotonic())
    time.sleep(0.03)  # the driver's stamps, less a period of 0.01 s
    return source.capture(time.monotonic())


def test_no_device_is_one_line():
    with pytest.raises(InputError, match='/dev/video77: cannot open the camera') as error:
        open_focus_device('v4l2', '/dev/video77')
    assert '\n' not in str(error.value)


def test_frames_and_lens_state(opened):
    camera = FakeCamera()
    source = opened(camera, lens=Lens(0.004, 1.8, 2e-6))
    frame = frame_at(source, 0.2)
    assert frame.lens_state == LensState(0.2, 0.004, 1.8, 2e-6, near=0.1, far=math.inf, settled=True)
    assert tuple(frame.image[0, 0]) == (125, 100, 0) and not frame.warning
    assert camera.values[cv2.CAP_PROP_AUTOFOCUS] == 0
    source.close()
    assert camera.released == 1


def test_the_lens_of_the_calibration(opened):
    source = opened(
        FakeCamera(),
        lens=Lens(0.004, 1.8, 1e-6),
        lens_width=128,
        magnification=lambda focus_distance: 1 + 0.01 / focus_distance,
    )
    state = frame_at(source, 0.2).lens_state  # half as wide as the images of the calibration
    assert (state.pixel_pitch, state.magnification) == (2e-6, pytest.approx(1.05))


def test_unsettled_until_the_motor_has_had_its_time(opened):
    source = opened(FakeCamera(), settle_time=0.2)
    assert not frame_at(source, 0.2).lens_state.settled
    time.sleep(0.25)
    assert source.capture(time.monotonic()).lens_state.settled


@pytest.mark.parametrize('distance', [0.0, -1.0, math.nan])
def test_refuses_what_is_no_distance(opened, distance):
    with pytest.raises(InputError, match='focus command: focus distance'):
        opened(FakeCamera()).focus(distance, 0.0)


def test_a_lost_camera_comes_back_at_the_focus_wanted(opened):
    camera = FakeCamera()
    source = opened(camera)
    frame_at(source, 0.2)
    camera.images = 0
    with pytest.raises(CameraLost, match='/dev/video0: no image'):
        source.capture(time.monotonic())
    camera.alive = False
    with pytest.raises(CameraLost, match='cannot open the camera'):
        source.capture(time.monotonic())
    camera.alive, camera.images = True, 100
    camera.values[cv2.CAP_PROP_FOCUS] = 0
    assert source.capture(time.monotonic()).lens_state.focus_distance == pytest.approx(0.2)


class LiquidLens(FocusDevice):
    """Its values are dioptres of the lens, which may be negative."""

    name, rate = 'lens', 100.0

    def __init__(self):
        self.power = 0.0

    @property
    def focus(self):
        return self.power

    def set_focus(self, value):
        self.power = value
        return True

    def grab(self):
        return time.monotonic()

    def retrieve(self):
        return np.zeros((48, 64, 3), np.uint8)

    def close(self):
        pass


def test_values_below_zero_count():
    source = MotorSource(LiquidLens, FocusTable([-2.0, 3.0], [math.inf, 0.1]), settle_time=0.0)
    for distance in (0.2, 1.0, 0.1, 5.0):
        state = frame_at(source, distance).lens_state
        assert (state.focus_distance, state.settled) == (pytest.approx(distance), True)


class TestHysteresis:
    def test_the_motor_comes_from_smaller_values(self, opened):
        camera = FakeCamera(play=10)
        source = opened(camera, table=FocusTable([0, 250], [math.inf, 0.1], hysteresis=10))
        for distance in (0.125, 0.5, 0.2, 1.0, 0.1, 1.25):
            source.focus(distance, time.monotonic())
            while (frame := source.capture(time.monotonic())).commands < source._commands:
                time.sleep(0.01)
            assert frame.lens_state.settled
            assert frame.lens_state.focus_distance == pytest.approx(distance, rel=0.02)
            assert camera.lens == camera.focus - 10  # as where the table was measured

    def test_without_one_it_goes_straight(self, opened):
        camera = FakeCamera(play=10)
        source = opened(camera)
        frame_at(source, 0.125)
        assert frame_at(source, 0.5).lens_state.settled and camera.lens == camera.focus == 50

    def test_a_way_round_leads_where_there_is_room(self):
        table = FocusTable([0, 250], [math.inf, 0.1], hysteresis=10)
        assert table.way_round(100, 50) == 35 and table.way_round(50, 100) is table.way_round(50, 50) is None
        assert table.value(math.inf) == 15 and table.range.far == pytest.approx(25 / 15)  # the rest is for the way
        assert FocusTable([0, 250], [math.inf, 0.1], hysteresis=1).way_round(100, 50) is None  # too little

    @pytest.mark.parametrize('hysteresis', [-1, 250])
    def test_what_no_motor_has(self, hysteresis):
        with pytest.raises(InputError, match=f'hysteresis {hysteresis}: must be from 0 to less than 166'):
            FocusTable([0, 250], [math.inf, 0.1], hysteresis)


class TestAFocusThatIsNotTaken:
    def test_the_step_of_the_motor_is_published(self, opened):
        state = frame_at(opened(FakeCamera(step=17)), 0.2).lens_state
        assert (state.focus_distance, state.settled) == (pytest.approx(25 / 119), True)

    def test_steps_smaller_than_the_tolerance_are_taken(self, opened):
        camera = FakeCamera()
        source = opened(camera)
        for value in range(1, 8):
            assert frame_at(source, 25 / value).lens_state.focus_distance == pytest.approx(25 / value)
            assert camera.focus == value

    def test_refused_once_it_is_tried_again(self, opened):
        camera = FakeCamera()
        source = opened(camera)
        camera.refuses = 1
        assert not frame_at(source, 0.2).lens_state.settled
        state = frame_at(source, 0.2).lens_state
        assert (state.focus_distance, state.settled, camera.focus) == (pytest.approx(0.2), True, 125)

    @pytest.mark.parametrize('fault', ['refuses', 'ignores_focus'])
    def test_a_stuck_motor_is_unsettled_with_a_warning(self, opened, fault, monkeypatch):
        monkeypatch.setattr('dfd_ros.cameras.motor_source.PATIENCE', 0.1)
        camera = FakeCamera()
        source = opened(camera)
        frame_at(source, 0.5)
        setattr(camera, fault, 10**9)
        frame = frame_at(source, 0.2)
        assert (frame.lens_state.focus_distance, frame.lens_state.settled) == (pytest.approx(0.5), False)
        time.sleep(0.1)
        warning = source.capture(time.monotonic()).warning
        assert warning.startswith('/dev/video0: the camera does not take the focus value 125, it is at 50')
        setattr(camera, fault, 0)
        time.sleep(0.1)
        source.capture(time.monotonic())
        time.sleep(0.03)
        frame = source.capture(time.monotonic())
        assert frame.lens_state.settled and not frame.warning

    def test_a_focus_that_another_program_moves(self, opened):
        camera = FakeCamera()
        source = opened(camera)
        frame_at(source, 0.2)
        camera.values[cv2.CAP_PROP_FOCUS] = 10.0
        frame = source.capture(time.monotonic())
        assert not frame.lens_state.settled
        assert frame_at(source, 0.2).lens_state.settled and camera.focus == 125


@pytest.mark.parametrize(
    'camera, settings, words',
    [
        (dict(has_autofocus_for_good=True), {}, 'autofocus cannot be switched off'),
        (dict(fixed={cv2.CAP_PROP_FOCUS: -1}), {}, 'has no focus control'),
        (dict(refuses=10**9), {}, 'rejects the focus value 250: it is at 0'),
        (
            dict(fixed={cv2.CAP_PROP_FRAME_WIDTH: 1280, cv2.CAP_PROP_FRAME_HEIGHT: 720}),
            dict(width=1920),
            'image size: 1920xany requested, 1280x720 granted; v4l2-ctl --list-formats-ext shows',
        ),
        (dict(fixed={cv2.CAP_PROP_FPS: 5.0}), dict(rate=10.0), 'rate: 10 Hz at 64x48 requested, 5 Hz granted'),
        (
            dict(fixed={cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*'YUYV')}),
            dict(pixel_format='MJPG'),
            'pixel format: MJPG requested, YUYV granted',
        ),
        (
            dict(fixed={cv2.CAP_PROP_EXPOSURE: 312}),
            dict(exposure_time=0.01),
            'exposure time: 0.01 s requested, 0.0312 s granted; v4l2-ctl --list-ctrls shows',
        ),
        (
            dict(fixed={cv2.CAP_PROP_WB_TEMPERATURE: -1}),
            dict(white_balance=4000),
            'white balance: 4000 K requested, nothing granted',
        ),
        (dict(fixed={cv2.CAP_PROP_GAIN: 20}), dict(gain=0), 'gain: 0 requested, 20 granted'),
    ],
)
def test_settings_the_camera_rejects_are_refused_in_one_line(opened, camera, settings, words):
    camera = FakeCamera(**camera)
    with pytest.raises(InputError) as error:
        opened(camera, images=ImageSettings(**settings))
    assert str(error.value).startswith('/dev/video0: ') and words in str(error.value) and '\n' not in str(error.value)
    assert camera.released == 1


def test_settings_that_are_granted():
    camera = FakeCamera()
    V4l2Device('camera', camera, ImageSettings(32, 24, 120.0, 'MJPG', 0.005, 4000, 0))
    assert camera.values[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*'MJPG')
    assert camera.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1 and camera.values[cv2.CAP_PROP_EXPOSURE] == 50
    assert camera.values[cv2.CAP_PROP_AUTO_WB] == 0 and camera.values[cv2.CAP_PROP_WB_TEMPERATURE] == 4000
    assert camera.values[cv2.CAP_PROP_GAIN] == 0 and camera.values[cv2.CAP_PROP_FPS] == 120


def recorded(camera, values, name='sweep'):
    return record_sweep(V4l2Device(name, camera), values, settle_time=0.0)


class TestRecordedSweep:
    def test_values_are_those_that_the_motor_had(self):
        sweep = recorded(FakeCamera(step=17), np.linspace(0, 250, 6))
        assert list(sweep.values) == [0, 51, 102, 153, 204, 255]
        assert [image[0, 0, 0] for image in sweep.images] == list(sweep.values)

    def test_the_direction_is_kept(self, tmp_path):
        for values in ([0, 100, 250], [250, 100, 0]):
            sweep = recorded(FakeCamera(), values)
            sweep.write(tmp_path / 'sweep')
            read = Sweep.read(tmp_path / 'sweep')
            assert read.falling == sweep.falling == (values[0] > 0)
            assert list(read.values) == [0, 100, 250] and read.images[2][0, 0, 0] == 250

    def test_values_of_one_step_give_one_image(self):
        sweep = recorded(FakeCamera(step=4), range(0, 41))
        assert list(sweep.values) == list(range(0, 41, 4))

    def test_refused_once(self):
        assert list(recorded(FakeCamera(refuses=1), [10, 20, 30]).values) == [10, 20, 30]

    @pytest.mark.parametrize(
        'camera, words',
        [
            (dict(limit=250), 'rejects the focus value 300: it is at 100'),
            (dict(ignores_focus=True), 'rejects the focus value 100: it is at 0'),
            (dict(has_autofocus_for_good=True), 'autofocus cannot be switched off'),
        ],
    )
    def test_what_cannot_work_is_one_line(self, camera, words):
        with pytest.raises(InputError, match=f'C920: .*{words}'):
            recorded(FakeCamera(**camera), [0, 100, 300], 'C920')

    def test_no_image(self):
        camera = FakeCamera()
        camera.images = 7
        with pytest.raises(InputError, match='gives no image'):
            recorded(camera, [0, 100, 200])
