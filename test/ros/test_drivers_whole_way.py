"""A camera driver of somebody else and one line, of `dfd run` or `ros2 launch`: from its frames to depth images."""

import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')

import driver_stand_ins as stand_ins
import yaml
from fake_v4l2_device import SHIM, FakeV4l2Device
from ros_processes import PATIENCE, wait_until
from sensor_msgs.msg import Image
from sensor_msgs.srv import SetCameraInfo

from dfd_ros.core.resources import resource
from dfd_ros.msg import LensState
from dfd_ros.ros import qos

LAUNCH_FILE = Path(__file__).resolve().parents[2] / 'launch' / 'depth_from_focus.launch.py'
# Driver: its stand-in, and the values of the focus table from infinity to 0.1 m.
DRIVERS = {
    'camera_ros': (stand_ins.CameraRos, None),
    'depthai_ros_driver': (stand_ins.Depthai, (20, 220)),
    'v4l2': (stand_ins.Streaming, (0, 250)),
    'v4l2_camera': (stand_ins.V4l2Camera, (0, 250)),
    'camera_aravis2': (stand_ins.Aravis, (-1.5, 2.5)),
    'spinnaker': (stand_ins.Spinnaker, (-1.5, 2.5)),
    'axis_camera': (stand_ins.Axis, (1000, 9000)),
    'any_topic': (stand_ins.TopicLens, None),
}


@pytest.fixture
def start(tmp_path):
    """Starts a command, and ends it with the test."""
    processes = []

    def start_command(command, environment):
        with open(tmp_path / 'log', 'w') as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment))
        return processes[-1]

    yield start_command
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


def prepared(name, folder):
    """The arguments of the launch, the environment of its nodes, and a function that starts the stand-in."""
    make, ends = DRIVERS[name]
    given, environment, options = {'source': 'external', 'driver': name}, dict(os.environ), ()
    if name == 'axis_camera':  # a copy with a service of an installed package, as axis_msgs is on no package index
        content = yaml.safe_load(resource(f'config/drivers/{name}.yaml').read_text())
        content['command'] |= {'type': 'sensor_msgs/srv/SetCameraInfo', 'field': 'camera_info.binning_x'}
        given['driver'] = str(folder / 'axis.yaml')
        Path(given['driver']).write_text(yaml.safe_dump(content))
        options = (SetCameraInfo, lambda request: request.camera_info.binning_x)
    if name == 'v4l2':
        device = FakeV4l2Device(folder / 'video0')
        given['video_device'] = str(device.path)
        environment['PYTHONPATH'] = os.pathsep.join([str(SHIM), os.environ.get('PYTHONPATH', '')])
        options = (device,)
    if ends:
        entries = [{'value': value, 'focus_distance_m': at} for value, at in zip(ends, (math.inf, 0.1))]
        given['focus_table'] = str(folder / 'table.yaml')
        Path(given['focus_table']).write_text(yaml.safe_dump({'focus_table': entries}))
    return given, environment, lambda: make(*options, images=True)


def gives_depth(observer, process, log, make_driver):
    """A sweep of the lens, and depth of the frames of this driver; then Ctrl-C."""
    depths = observer.listen(Image, '/depth/image_rect', qos.PUBLISHER)
    states = observer.listen(LensState, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
    driver = make_driver()

    def goes_on():
        assert process.poll() is None, log.read_text()
        foci = {state.focus_distance for state in states if state.settled}
        return len(foci) > 3 and depths and np.isfinite(np.frombuffer(depths[-1].data, np.float32)).any()

    try:
        wait_until(goes_on, 'a sweep and depth')
    finally:
        driver.end()
        observer.silence('/depth/image_rect')
        observer.silence('/lens_state')
    assert {depth.header.stamp.sec * 10**9 + depth.header.stamp.nanosec for depth in depths} <= driver.truth.keys()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert 'Traceback' not in log.read_text()


@pytest.mark.parametrize('name', ['camera_ros', 'v4l2', 'camera_aravis2', 'axis_camera'])
def test_dfd_run(name, observer, start, tmp_path, random_weights):
    given, environment, make_driver = prepared(name, tmp_path)
    given |= {'weights': str(random_weights), 'confidence_threshold': '0'}
    options = [part for key, value in given.items() for part in ('--' + key.replace('_', '-'), value)]
    command = [sys.executable, '-m', 'dfd_ros.cli', 'run', *options]
    gives_depth(observer, start(command, environment), tmp_path / 'log', make_driver)


@pytest.mark.skipif(not (shutil.which('ros2') and importlib.util.find_spec('ros2launch')), reason='no ros2 launch')
@pytest.mark.parametrize('name', DRIVERS)
def test_ros2_launch(name, observer, start, tmp_path, random_weights):
    given, environment, make_driver = prepared(name, tmp_path)
    given |= {'weights': str(random_weights), 'confidence_threshold': '0'}
    command = ['ros2', 'launch', str(LAUNCH_FILE), *(f'{key}:={value}' for key, value in given.items())]
    gives_depth(observer, start(command, environment), tmp_path / 'log', make_driver)
