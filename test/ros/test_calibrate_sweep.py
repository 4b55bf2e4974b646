"""`dfd calibrate sweep` through ROS: stand-ins for drivers whose pictures are as bright as the value of their lens."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy')

import driver_stand_ins as stand_ins
from ros_processes import PATIENCE, spinning, wait_until

from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.ros.nodes.sweep import SweepNode


def grey(level: float) -> np.ndarray:
    return np.full((48, 64, 3), round(level), np.uint8)


def sweep(folder, *arguments):
    command = [sys.executable, '-m', 'dfd_ros.cli', 'calibrate', 'sweep', *map(str, arguments), '--out', 'sweep']
    return subprocess.run(
        [*command, '--settle-time', '0.05'], cwd=folder, capture_output=True, text=True, timeout=PATIENCE
    )


def through(driver, name, folder, first, last):
    try:
        return sweep(folder, '--driver', name, '--first', first, '--last', last, '--steps', 5)
    finally:
        driver.end()


@pytest.mark.usefixtures('observer')
class TestThroughADriver:
    def test_values_of_the_driver(self, tmp_path):
        driver = stand_ins.Depthai(scene=grey)
        done = through(driver, 'depthai_ros_driver', tmp_path, 20, 220)
        assert done.returncode == 0, done.stderr
        read = Sweep.read(tmp_path / 'sweep')
        assert list(read.values) == pytest.approx([20, 70, 120, 170, 220])
        assert [image[0, 0, 0] for image in read.images] == pytest.approx([20, 70, 120, 170, 220], abs=2)  # JPEG

    def test_the_first_value_is_not_that_where_the_bridge_starts(self, tmp_path):
        driver = stand_ins.Depthai(scene=grey)
        done = through(driver, 'depthai_ros_driver', tmp_path, 220, 20)
        assert done.returncode == 0, done.stderr
        assert list(Sweep.read(tmp_path / 'sweep').values) == pytest.approx([20, 70, 120, 170, 220])

    def test_dioptres_and_reports_that_run_ahead(self, tmp_path):
        driver = stand_ins.CameraRos(scene=lambda value: grey(15 * value))
        done = through(driver, 'camera_ros', tmp_path, 0, 12)
        assert done.returncode == 0, done.stderr
        read = Sweep.read(tmp_path / 'sweep')
        assert list(read.values) == pytest.approx([0, 3, 6, 9, 12], abs=0.01)
        assert [image[0, 0, 0] for image in read.images] == pytest.approx(15 * read.values, abs=3)

    def test_a_lens_that_does_not_obey(self, tmp_path):
        driver = stand_ins.CameraRos(scene=grey, obeys=False)
        done = through(driver, 'camera_ros', tmp_path, 0, 12)
        assert done.returncode == 2
        assert 'no settled frame at the focus value 0 within 10 s, it is at ' in done.stderr.splitlines()[-1]
        assert not (tmp_path / 'sweep').exists()

    def test_one_that_ends(self, tmp_path):
        driver = stand_ins.CameraRos(scene=grey)
        command = [
            sys.executable,
            '-m',
            'dfd_ros.cli',
            'calibrate',
            'sweep',
            '--driver',
            'camera_ros',
            '--out',
            'sweep',
        ]
        process = subprocess.Popen(
            [*command, '--first', '0', '--last', '12'], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        try:
            wait_until(lambda: len(driver.told) > 3 or process.poll() is not None, 'steps')
        finally:
            driver.end()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2 and not (tmp_path / 'sweep').exists()
        assert said.splitlines()[-1].startswith(
            'dfd: error: no pairs of /camera/image_raw and /lens_state within 10 s: is the camera running?'
        )

    def test_beside_a_sweep_is_refused(self, tmp_path):
        driver, node = stand_ins.CameraRos(scene=grey), SweepNode()
        node.start()
        try:
            with spinning(node):
                done = sweep(tmp_path, '--driver', 'camera_ros', '--first', 0, '--last', 12, '--steps', 5)
        finally:
            node.destroy_node()
            driver.end()
        assert done.returncode == 2 and ' moves the focus too: end it' in done.stderr.splitlines()[-1]

    def test_no_driver(self, tmp_path):
        done = sweep(tmp_path, '--driver', 'camera_ros', '--first', 0, '--last', 12, '--steps', 5)
        assert done.returncode == 2
        assert 'no pairs of /camera/image_raw and /lens_state within' in done.stderr.splitlines()[-1]
        done = sweep(tmp_path, '--driver', 'camera_ros', '--width', 640, '--first', 0, '--last', 12, '--steps', 5)
        assert done.returncode == 2 and '--driver: its node gives the images' in done.stderr
