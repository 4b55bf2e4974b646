"""`dfd calibrate latency` through ROS: stand-ins for drivers whose pictures show where their lens is, and bags."""

import statistics
import subprocess
import sys

import pytest

pytest.importorskip('rclpy')

import driver_stand_ins as stand_ins
import yaml
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from ros_processes import PATIENCE, NodeProcess, spinning, wait_until
from sensor_msgs.msg import Image
from simulated_focus_steps import Scene

from dfd_ros.bags.bag_writer import BagWriter, Topic
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.msg import FocusCommand, LensState
from dfd_ros.ros.nodes.sweep import SweepNode

INFO = 'camera_info:=/camera/camera_info'


@pytest.fixture
def drive():
    """Starts stand-ins, and ends them with the test."""
    running = []

    def start(cls, low, high, **options):
        scene = Scene()
        running.append(cls(scene=lambda value: scene((value - low) / (high - low)), **options))
        return running[-1]

    yield start
    for stand_in in running:
        stand_in.end()


def calibrate(folder, *arguments):
    command = [sys.executable, '-m', 'dfd_ros.cli', 'calibrate', 'latency', *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


def check_latency(motion, driver):
    """Against the frames that the driver has really shown unchanged, on a machine that may be busy."""
    frames = sorted((stamp * 1e-9, values) for stamp, values in driver.truth.items())
    counts = []
    for told in driver.told[2:]:
        after = [values for stamp, values in frames if stamp > told]
        changed = [i for i, values in enumerate(after) if values != after[0] or values[0] != values[1]]
        counts += changed[:1]
    latency = motion.latency_s * motion.rate_hz + motion.latency_frames
    assert latency == pytest.approx(statistics.median(counts), abs=1.01)


@pytest.mark.usefixtures('observer')
class TestADriver:
    @pytest.mark.parametrize('ahead', [1, 4])
    def test_camera_ros(self, drive, tmp_path, ahead):
        driver = drive(stand_ins.CameraRos, 0, 15, rate=15, ahead=ahead)
        done = calibrate(tmp_path, '--driver', 'camera_ros', '--steps', '12', '--step-time', '1.8')
        assert done.returncode == 0, done.stderr
        motion = Calibration.read(tmp_path / 'calibration.yaml').motion
        check_latency(motion, driver)
        assert motion.report_latency_frames == ahead
        assert motion.slew_dioptre_s == pytest.approx(22, rel=0.4)
        assert (tmp_path / 'calibration_latency.png').exists()

    def test_a_lens_that_does_not_move(self, drive, tmp_path):
        drive(stand_ins.CameraRos, 0, 15, rate=15, obeys=False)
        done = calibrate(tmp_path, '--driver', 'camera_ros', '--steps', '6', '--step-time', '1.8')
        assert done.returncode == 2
        assert 'dfd: error: /camera/image_raw: the picture does not change' in done.stderr.splitlines()[-1]

    def test_depthai_ros_driver(self, drive, tmp_path):
        driver = drive(stand_ins.Depthai, 20, 220, rate=15)
        entries = [{'value': 20, 'focus_distance_m': float('inf')}, {'value': 220, 'focus_distance_m': 0.1}]
        (tmp_path / 'table.yaml').write_text(yaml.safe_dump({'focus_table': entries}))
        options = ['--focus-table', 'table.yaml', '--steps', '12', '--step-time', '1.2']
        done = calibrate(tmp_path, '--driver', 'depthai_ros_driver', *options)
        assert done.returncode == 0, done.stderr
        motion = Calibration.read(tmp_path / 'calibration.yaml').motion
        check_latency(motion, driver)
        assert motion.report_latency_frames is None

    def test_one_that_is_not_there(self, tmp_path, monkeypatch):
        done = calibrate(tmp_path, '--driver', 'camera_ros')
        assert done.returncode == 2
        assert 'nothing on /camera/image_raw within' in done.stderr.splitlines()[-1]

    def test_one_that_ends(self, drive, tmp_path):
        driver = drive(stand_ins.CameraRos, 0, 15, rate=15)
        end, driver.end = driver.end, lambda: None
        command = [sys.executable, '-m', 'dfd_ros.cli', 'calibrate', 'latency', '--driver', 'camera_ros']
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(driver.told) > 3 or process.poll() is not None, 'steps')
        end()
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        assert said.splitlines()[-1] == ('dfd: error: nothing more on /camera/image_raw for 5 s: has the camera ended?')

    def test_beside_another_bridge(self, drive, tmp_path):
        drive(stand_ins.CameraRos, 0, 15, rate=15)
        bridge = NodeProcess('focus_bridge', tmp_path / 'log', '-r', INFO, driver='camera_ros')
        try:
            done = calibrate(tmp_path, '--driver', 'camera_ros')
        finally:
            bridge.end()
        assert done.returncode == 2
        assert '/lens_state comes from 2 nodes, /focus_bridge, ' in done.stderr.splitlines()[-1]

    def test_a_driver_file_that_is_wrong(self, tmp_path):
        (tmp_path / 'mine.yaml').write_text('command: {parameter: focus, unit: table}\nnode: /lens\n')
        done = calibrate(tmp_path, '--driver', 'mine.yaml')
        assert done.returncode == 2 and 'focus_table' in done.stderr.splitlines()[-1]


def test_beside_a_sweep_is_refused(observer, drive, tmp_path):
    drive(stand_ins.CameraRos, 0, 15)
    sweep = SweepNode()
    sweep.start()
    with spinning(sweep):
        done = calibrate(tmp_path, '--driver', 'camera_ros')
    sweep.destroy_node()
    assert done.returncode == 2 and ' moves the focus too: end it' in done.stderr.splitlines()[-1]


def test_a_bag(observer, drive, tmp_path):
    """What a sweep that rests at each focus leaves in a bag."""
    driver = drive(stand_ins.CameraRos, 0, 15, rate=15)
    recorded = {
        '/camera/image_raw': observer.listen(Image, '/camera/image_raw'),
        '/lens_state': observer.listen(LensState, '/lens_state'),
        '/focus_command': observer.listen(FocusCommand, '/focus_command'),
    }
    sweep = SweepNode(
        parameter_overrides=[
            Parameter('frames_per_step', value=15),
            Parameter('pattern', value='jumps'),
            Parameter('steps', value=4),
        ]
    )
    bridge = NodeProcess('focus_bridge', tmp_path / 'log', '-r', INFO, driver='camera_ros')
    try:
        sweep.start()
        with spinning(sweep):
            wait_until(lambda: len(recorded['/focus_command']) > 14, 'a sweep')
    finally:
        bridge.end()
        driver.end()
        sweep.destroy_node()
        for topic in recorded:
            observer.silence(topic)
    topics = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/lens_state': 'dfd_ros/msg/LensState'}
    topics['/focus_command'] = 'dfd_ros/msg/FocusCommand'
    writer = BagWriter(tmp_path / 'bag', [Topic(name, kind) for name, kind in topics.items()])
    for index, topic in enumerate(topics):
        for message in recorded[topic]:
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            writer.write(index, stamp, serialize_message(message))
    writer.close()
    done = calibrate(tmp_path, 'bag', '--image-raw', '/camera/image_raw')
    assert done.returncode == 0, done.stderr
    motion = Calibration.read(tmp_path / 'calibration.yaml').motion
    check_latency(motion, driver)
    assert 'lens_state changes' in done.stdout
