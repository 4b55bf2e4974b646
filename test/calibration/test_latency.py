"""`dfd calibrate latency`: simulated cameras whose latency, slew and jitter are known."""

import math
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from fake_camera import FakeCamera
from simulated_focus_steps import Scene, SimulatedCamera

from dfd_ros.calibration.calibration_file import Calibration, FocusMotion
from dfd_ros.calibration.focus_steps import detail_map
from dfd_ros.calibration.latency import measure_latency
from dfd_ros.cameras import CameraSource, Frame
from dfd_ros.cameras.lens_motion import LensMotion
from dfd_ros.cameras.source_stepping import record_focus_steps
from dfd_ros.cli.__main__ import main
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange, distance, vergence

pytestmark = pytest.mark.slow(reason='cameras are simulated frame by frame')


class TestFound:
    @pytest.mark.parametrize('by_frames', [True, False])
    @pytest.mark.parametrize('latency', [0, 1, 3, 6])
    def test_to_the_frame(self, latency, by_frames):
        camera = SimulatedCamera(latency, slew=0.2, jitter=0.15, by_frames=by_frames, dropped=0.03, seed=latency)
        result = measure_latency(camera.record())
        assert result.frames == latency
        assert result.agreeing >= 0.75 * len(result.steps)
        assert result.motion.uncertainty_s < 0.4 * result.period

    @pytest.mark.parametrize('slew', [0.1, 0.2])
    def test_slew(self, slew):
        result = measure_latency(SimulatedCamera(2, slew=slew).record())
        assert result.motion.slew_dioptre_s * result.period / 10 == pytest.approx(slew, rel=0.25)

    def test_at_once(self):
        result = measure_latency(SimulatedCamera(2, by_frames=True).record())
        assert result.motion.slew_dioptre_s == 0 or result.motion.slew_dioptre_s * result.period > 10
        assert result.motion.settle_s < 0.6 * result.period

    @pytest.mark.parametrize('early', [-1, 0, 2])
    def test_lens_states_of_other_frames(self, early):
        result = measure_latency(SimulatedCamera(3, slew=0.3, labels_early=early).record())
        assert result.label_shift == early and result.labels_agreeing > 10

    def test_whatever_the_light_does(self):
        assert measure_latency(SimulatedCamera(4, flicker=0.1).record()).frames == 4

    def test_the_frames_at_rest_are_at_rest(self):
        """What the result calls at rest, the pictures do."""
        result = measure_latency(SimulatedCamera(3, slew=0.15, settle=2.0, jitter=0.1).record())
        for step in result.steps:
            until = result.motion.until_rest(abs(step.goal - step.start), result.period)
            assert until >= step.rests[0] - 0.01


class TestRefused:
    @pytest.mark.parametrize('trouble', [{'moves': False}, {'texture': 0.0}])
    def test_a_picture_that_does_not_change(self, trouble):
        with pytest.raises(InputError, match='camera: the picture does not change when the focus does'):
            measure_latency(SimulatedCamera(2, **trouble).record())

    def test_too_few_steps(self):
        with pytest.raises(InputError, match='at least 5 are needed'):
            measure_latency(SimulatedCamera(2, steps=4).record())

    def test_a_lens_that_is_slower_than_the_steps(self):
        with pytest.raises(InputError, match='more time|rest well before'):
            measure_latency(SimulatedCamera(2, slew=0.035).record())

    def test_changes_that_are_not_of_the_commands(self):
        steps = SimulatedCamera(2, by_frames=True).record()
        draw = np.random.default_rng(0)
        commands = steps.commands + draw.uniform(-0.4, 0.0, len(steps.commands))
        with pytest.raises(InputError, match='not.* a fixed time after the command|does not change'):
            measure_latency(replace(steps, commands=commands))

    def test_no_frames(self):
        steps = SimulatedCamera(2).record()
        with pytest.raises(InputError, match='2 frames and 14 commands are too few'):
            measure_latency(replace(steps, stamps=steps.stamps[:2], details=steps.details[:2], labels=None))


def test_detail_does_not_depend_on_the_exposure():
    image = Scene()(0.4)
    darker = (image * 0.5).astype(np.uint8)
    assert np.abs(detail_map(image) - detail_map(darker)).mean() < 0.1
    assert np.abs(detail_map(image) - detail_map(Scene()(0.8))).mean() > 0.5
    assert len(detail_map(np.zeros((3, 5, 3), np.uint8))) == len(detail_map(image))


def test_the_file_keeps_it(tmp_path):
    motion = FocusMotion(-0.004, 3, 45.0, 0.02, 0.003, 1, 30.0, 16)
    Calibration(motion=motion).write(tmp_path / 'calibration.yaml')
    assert Calibration.read(tmp_path / 'calibration.yaml').motion == motion
    (tmp_path / 'calibration.yaml').write_text('format: dfd_ros-calibration-1\nfocus_motion: {latency_frames: -1}\n')
    with pytest.raises(InputError, match='focus_motion, latency_frames: -1'):
        Calibration.read(tmp_path / 'calibration.yaml')


class SlowLens(CameraSource):
    """A camera of 50 Hz whose lens starts 0.07 s after a command."""

    RANGE = VergenceRange(0.1, math.inf)
    PERIOD = 0.02

    def __init__(self) -> None:
        self.scene = Scene()
        self.lens = LensMotion(50.0, 0.0, self.RANGE.width, 0.0)
        self.lens.command(0.0, 0.0, 0.0, 0.0, 0)

    def focus(self, distance, time_s):
        self.lens.command(vergence(distance), time_s, time_s, 0.07, 0)

    def capture(self, time_s):
        exposed = (time_s // self.PERIOD + 1) * self.PERIOD
        time.sleep(max(exposed + 0.005 - time.monotonic(), 0.0))
        at = self.lens.during(exposed, exposed).value
        return Frame(self.scene(at / self.RANGE.width), LensState(distance(at)), exposed)


def test_a_camera_source_live():
    result = measure_latency(record_focus_steps(SlowLens(), SlowLens.RANGE, 'lens', 12, 0.5))
    latency = result.motion.latency_s + result.motion.latency_frames * result.period
    assert latency == pytest.approx(0.07, abs=0.01)
    assert result.motion.slew_dioptre_s == pytest.approx(50, rel=0.4)


class TestTheCommand:
    def test_a_device_whose_picture_does_not_change(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(cv2, 'VideoCapture', lambda *_: FakeCamera())
        grab = FakeCamera.grab
        monkeypatch.setattr(FakeCamera, 'grab', lambda camera: time.sleep(0.01) or grab(camera))
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'table.yaml').write_text(
            'focus_table:\n- {value: 0, focus_distance_m: .inf}\n- {value: 250, focus_distance_m: 0.1}\n'
        )
        options = ['--device', '/dev/video0', '--focus-table', 'table.yaml', '--steps', '6', '--step-time', '0.8']
        assert main(['calibrate', 'latency', *options]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith('dfd: error: /dev/video0: the picture does not change')
        assert not (tmp_path / 'calibration.yaml').exists()

    @pytest.mark.parametrize(
        ('arguments', 'says'),
        [
            (['--steps', '3'], '--steps 3: must be at least 6'),
            (['nothing'], 'nothing'),
            (['bag', '--driver', 'v4l2'], 'leave out --driver, --device and --source'),
            (['--driver', 'nobody'], "'nobody': give one of"),
            (['--device', '/dev/video0'], '--focus-table: /dev/video0 needs one'),
        ],
    )
    def test_bad_input_is_one_line(self, arguments, says, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(['calibrate', 'latency', *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
