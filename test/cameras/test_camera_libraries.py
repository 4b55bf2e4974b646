"""Cameras through the libraries of their makers: depthai and picamera2 by stand-ins, pypylon by its own emulation."""

import math
import sys
import time

import pytest
from fake_libraries import FakeLens, install_depthai, install_picamera2

from dfd_ros.calibration.calibration_file import FocusMotion
from dfd_ros.calibration.record import record_sweep
from dfd_ros.cameras import CameraLost
from dfd_ros.cameras.focus_devices import open_focus_device
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.cameras.motor_source import MotorSource
from dfd_ros.core import focus_device
from dfd_ros.core.errors import InputError
from dfd_ros.core.focus_device import ImageSettings

TABLE = FocusTable([0, 250], [math.inf, 0.1])
SMALL = ImageSettings(64, 48, 100.0)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(focus_device, 'RETRY', 0.01)


def settled_frame(source):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if (frame := source.capture(time.monotonic())).lens_state.settled:
            return frame
    pytest.fail('no settled frame')


class Depthai:
    name, table, red = 'depthai', TABLE, staticmethod(lambda dioptres: 25 * dioptres)
    install = staticmethod(install_depthai)


class Picamera2:
    name, table, red = 'picamera2', None, staticmethod(lambda dioptres: 10 * dioptres)
    install = staticmethod(install_picamera2)


@pytest.mark.parametrize('library', [Depthai, Picamera2])
class TestReportsThatComeLate:
    @pytest.mark.parametrize('behind', [0, 2, 4])
    def test_a_settled_frame_shows_the_focus(self, library, monkeypatch, behind):
        library.install(monkeypatch, FakeLens(behind=behind))
        source = MotorSource(lambda: open_focus_device(library.name, '', SMALL), library.table, settle_time=0.0)
        assert source.table.range.near == pytest.approx(0.1) and source.table.range.far == math.inf
        for distance in (0.2, math.inf, 0.125):
            source.focus(distance, time.monotonic())
            assert not source.capture(time.monotonic()).lens_state.settled  # reported two frames later
            frame = settled_frame(source)
            assert frame.lens_state.focus_distance == pytest.approx(distance, rel=0.02)
            assert frame.image.shape == (48, 64, 3) and frame.image[0, 0, 2] == 0
            assert frame.image[0, 0, 0] == pytest.approx(library.red(1 / distance), abs=1)

    def test_a_measured_motion_goes_by_the_time_of_the_command(self, library, monkeypatch):
        library.install(monkeypatch, FakeLens())
        motion = FocusMotion(latency_frames=2, settle_s=0.005, uncertainty_s=0.001)
        source = MotorSource(
            lambda: open_focus_device(library.name, '', ImageSettings(64, 48, 5.0)),
            library.table,
            settle_time=9.0,
            motion=motion,
        )
        told = time.monotonic()
        source.focus(0.2, told)
        frames = [source.capture(time.monotonic())]
        while not (frames[-1].lens_state.settled and frames[-1].commands):
            frames.append(source.capture(time.monotonic()))
        early = [frame for frame in frames if frame.time_s < told + 2 / 5.0 - motion.uncertainty_s]
        assert {(frame.lens_state.focus_distance, frame.commands) for frame in early} == {(math.inf, 0)}
        assert frames[-1].lens_state.focus_distance == pytest.approx(0.2, rel=0.02)

    def test_a_lens_that_sticks_is_refused_at_the_start(self, library, monkeypatch):
        monkeypatch.setattr(focus_device, 'PATIENCE', 0.3)
        lens = FakeLens(stuck=True)
        library.install(monkeypatch, lens)
        with pytest.raises(InputError, match=f'{library.name}.*: the camera rejects the focus value .*: it is at 0'):
            MotorSource(lambda: open_focus_device(library.name, '', SMALL), library.table, settle_time=0.0)
        assert not lens.alive

    def test_a_lens_that_sticks_later_is_unsettled_with_a_warning(self, library, monkeypatch):
        monkeypatch.setattr('dfd_ros.cameras.motor_source.PATIENCE', 0.05)
        lens = FakeLens()
        library.install(monkeypatch, lens)
        source = MotorSource(lambda: open_focus_device(library.name, '', SMALL), library.table, settle_time=0.0)
        lens.stuck = True
        source.focus(0.2, time.monotonic())
        end = time.monotonic() + 10
        while not (frame := source.capture(time.monotonic())).warning and time.monotonic() < end:
            assert not frame.lens_state.settled
        assert not frame.lens_state.settled
        assert library.name in frame.warning and 'does not take the focus value' in frame.warning

    def test_a_lost_camera_comes_back(self, library, monkeypatch):
        lens = FakeLens()
        library.install(monkeypatch, lens)
        source = MotorSource(lambda: open_focus_device(library.name, '', SMALL), library.table, settle_time=0.0)
        lens.alive = False
        source.focus(0.2, time.monotonic())
        with pytest.raises(CameraLost, match='no image'):
            source.capture(time.monotonic())
        lens.alive = True
        settled_frame(source)

    def test_a_sweep_is_recorded(self, library, monkeypatch):
        library.install(monkeypatch, FakeLens())
        device = open_focus_device(library.name, '', SMALL)
        values = [0, 2, 4, 6, 8] if library is Depthai else [0.5, 0.75, 1.0, 1.25, 1.5]
        sweep = record_sweep(device, values, settle_time=0.0)
        assert list(sweep.values) == values
        assert [round(image[0, 0, 0]) for image in sweep.images] == [
            v if library is Depthai else round(10 * v) for v in values
        ]


def test_settings_reach_depthai(monkeypatch):
    sent = install_depthai(monkeypatch, FakeLens())
    open_focus_device('depthai', '', ImageSettings(exposure_time=0.004, gain=200, white_balance=5000))
    assert len(sent) == 1 and sent[0].lensPosition == 0


def test_settings_reach_picamera2(monkeypatch):
    sent = install_picamera2(monkeypatch, FakeLens())
    open_focus_device('picamera2', '', ImageSettings(exposure_time=0.004, gain=2, white_balance=5000))
    assert sent == {
        'AfMode': 0,
        'LensPosition': 0.0,
        'FrameRate': 30.0,
        'AeEnable': False,
        'ExposureTime': 4000,
        'AnalogueGain': 2.0,
        'AwbEnable': False,
        'ColourTemperature': 5000,
    }


@pytest.mark.parametrize(
    'name, install, options, device, settings, words',
    [
        ('depthai', install_depthai, dict(is_there=False), '', {}, r'cannot open the camera \(.*No available devices'),
        ('depthai', install_depthai, dict(has_autofocus=False), '', {}, 'the device has no camera with autofocus'),
        ('depthai', install_depthai, {}, '', dict(gain=200), r'exposure_time and gain \(ISO\) go together'),
        ('picamera2', install_picamera2, {}, '3', {}, 'picamera2 3: cannot open the camera'),
        ('picamera2', install_picamera2, {}, 'left', {}, 'picamera2 left: cannot open the camera'),
        ('picamera2', install_picamera2, dict(controls=('AfMode',)), '', {}, 'the camera has no focus motor'),
        (
            'picamera2',
            install_picamera2,
            dict(controls=('LensPosition', 'AfMode', 'FrameRate')),
            '',
            dict(exposure_time=0.01),
            'the camera has no control AeEnable',
        ),
    ],
)
def test_what_cannot_work_is_one_line(name, install, options, device, settings, words, monkeypatch):
    install(monkeypatch, FakeLens(), **options)
    with pytest.raises(InputError, match=words) as error:
        open_focus_device(name, device, ImageSettings(**settings))
    assert '\n' not in str(error.value)


def test_the_camera_node_takes_them(monkeypatch):
    pytest.importorskip('rclpy')
    from dfd_ros.ros.node_parameters import CameraParameters
    from dfd_ros.ros.nodes.camera import make_source

    install_picamera2(monkeypatch, FakeLens(), cameras=2)
    parameters = CameraParameters(source='picamera2', camera_id='1', image_width=96, image_height=64, settle_time=0.01)
    source = make_source(parameters)
    source.focus(0.5, time.monotonic())
    frame = settled_frame(source)
    assert frame.image.shape == (64, 96, 3) and frame.lens_state.focus_distance == pytest.approx(0.5)
    with pytest.raises(InputError, match='parameter focus_table: source depthai needs it; give a YAML file'):
        make_source(CameraParameters(source='depthai'))


@pytest.mark.parametrize('name', ['depthai', 'picamera2', 'pypylon'])
def test_a_library_that_is_not_installed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f'source {name}: {name} is not installed: .* install'):
        open_focus_device(name, '')


class TestPylon:
    """The camera that pylon emulates. It has no lens: its gain, 0 to 48 dB, stands for the focus."""

    @pytest.fixture(autouse=True)
    def emulated(self, monkeypatch):
        monkeypatch.setenv('PYLON_CAMEMU', '1')
        pytest.importorskip('pypylon')

    def test_frames_and_lens_state(self):
        from dfd_ros.cameras.pylon_device import PylonDevice

        images = ImageSettings(320, 240, 100.0, exposure_time=0.002)
        source = MotorSource(
            lambda: PylonDevice('', images, 'Gain'), FocusTable([0, 40], [math.inf, 0.1]), settle_time=0.0
        )
        source.focus(0.2, time.monotonic())
        time.sleep(0.05)
        frame = settled_frame(source)
        assert frame.lens_state.focus_distance == pytest.approx(0.2, rel=0.02)
        assert frame.image.shape == (240, 320, 3) and frame.image.std() > 0
        source.close()

    def test_no_table_and_no_lens(self):
        from dfd_ros.cameras.pylon_device import PylonDevice

        with pytest.raises(InputError, match='pypylon: needs a focus table'):
            MotorSource(lambda: PylonDevice('', ImageSettings(), 'Gain'), settle_time=0.0)
        with pytest.raises(InputError, match='the camera has no feature FocalPower, so no focus to set'):
            PylonDevice()
        with pytest.raises(InputError, match='pypylon 123: cannot open the camera'):
            PylonDevice('123')
        with pytest.raises(InputError, match='Width: .* is not granted'):
            PylonDevice('', ImageSettings(width=10**6), 'Gain')
