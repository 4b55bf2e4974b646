"""The camera node on a focal stack folder, over DDS: stamps, lens state, obedience, start and end."""

import math
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time as TimeMessage
from ros_processes import NodeProcess, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from sensor_msgs.srv import SetCameraInfo

from dfd_ros.calibration.calibration_file import Aperture, Calibration, CameraModel, FocusMap
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import qos
from dfd_ros.ros.nodes import camera
from dfd_ros.ros.nodes.camera import CameraParameters

DISTANCES = [math.inf, 2.0, 1.0, 0.5]


@pytest.fixture(scope='module')
def stack_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('camera') / 'stack'
    FocalStack(
        [np.full((60, 80, 3), (50 * i, 0, 255), np.uint8) for i in range(4)],
        [LensState(d, focal_length=0.004, f_number=1.8, pixel_pitch=2e-6) for d in DISTANCES],
        np.full((60, 80), 1.5, np.float32),
    ).write(folder)
    return folder


def stamp(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def test_obeys_focus_commands(start_node, observer, stack_folder):
    kinds = {'image_raw': Image, 'camera_info': CameraInfo, 'lens_state': LensStateMessage, 'truth/depth': Image}
    heard = {topic: observer.listen(kind, topic, qos.LENS_STATE_SUBSCRIBER) for topic, kind in kinds.items()}
    process = start_node(
        'camera', source='stack', stack=stack_folder, rate=20.0, settle_time=0.3, publish_truth=True, frame_id='lens'
    )
    command = observer.publisher(FocusCommand, 'focus_command', qos.COMMAND)
    states = heard['lens_state']
    wait_until(lambda: states and states[-1].settled, 'a lens state at rest')
    assert (states[-1].focus_distance, states[-1].command_id) == (math.inf, 0)
    assert (states[-1].near_distance, states[-1].far_distance) == (0.5, math.inf)

    command.publish(FocusCommand(focus_distance=0.45, command_id=7))
    wait_until(lambda: states[-1].command_id == 7, 'an answer')
    assert states[-1].settled and states[-1].focus_distance == 0.5  # the nearest there is
    moving = [s for s in states if not s.settled]
    assert moving and {s.command_id for s in moving} == {0}
    # Refused: no distance. The focus and the number stay.
    command.publish(FocusCommand(focus_distance=math.nan, command_id=8))
    wait_until(lambda: 'focus distance nan m must be positive' in process.output, 'a warning')
    assert (states[-1].focus_distance, states[-1].command_id) == (0.5, 7)

    # Each image has its own lens state, camera info and truth, of the same stamp.
    wait_until(lambda: stamp(heard['truth/depth'][-1]) == stamp(states[-1]), 'one whole frame')
    by_stamp = {topic: {stamp(m): m for m in messages} for topic, messages in heard.items()}
    common = set.intersection(*(set(messages) for messages in by_stamp.values()))
    assert len(common) >= 5
    for key in common:
        image, info, state, truth = (by_stamp[topic][key] for topic in kinds)
        pixels = np.frombuffer(image.data, np.uint8).reshape(60, 80, 3)
        assert tuple(pixels[0, 0]) == (50 * DISTANCES.index(state.focus_distance), 0, 255)
        assert (image.encoding, image.header.frame_id) == ('rgb8', 'lens')
        assert (info.width, info.height) == (80, 60)
        assert info.k[0] == pytest.approx(2000) and info.k[2] == 39.5
        assert (np.frombuffer(truth.data, np.float32) == 1.5).all() and truth.encoding == '32FC1'

    times = sorted(a + b * 1e-9 for a, b in by_stamp['lens_state'])
    assert np.median(np.diff(times)) == pytest.approx(1 / 20, rel=0.2)
    assert observer.set_parameter('/camera', 'rate', 5.0).successful
    assert not observer.set_parameter('/camera', 'source', 'v4l2').successful
    count = len(states)
    wait_until(lambda: len(states) > count + 5, 'images at the new rate')
    times = sorted(stamp(s)[0] + stamp(s)[1] * 1e-9 for s in states[-4:])
    assert np.median(np.diff(times)) == pytest.approx(1 / 5, rel=0.2)
    assert process.stop(signal.SIGTERM) == 0
    assert 'Traceback' not in process.output


def test_camera_info_is_calibrated_and_breathes(start_node, observer, stack_folder, tmp_path):
    calibration = Calibration(
        CameraModel(160, 120, 3000.0, 3010.0, 81.0, 60.0, (-0.1, 0.05, 0.001, 0.002, 0.0), focus_distance=math.inf),
        aperture=Aperture(160, Lens(0.004, 1.8, 2e-6), (math.inf, 0.5), (1.0, 1.02)),
    )
    calibration.write(tmp_path / 'calibration.yaml')
    infos = observer.listen(CameraInfo, '/calibrated/camera_info', qos.LENS_STATE_SUBSCRIBER)
    start_node(
        'camera',
        '-r',
        '__ns:=/calibrated',
        source='stack',
        stack=stack_folder,
        rate=20.0,
        calibration=tmp_path / 'calibration.yaml',
    )
    command = observer.publisher(FocusCommand, '/calibrated/focus_command', qos.COMMAND)
    wait_until(lambda: infos, 'camera info')
    # The images are half as large as those of the calibration.
    assert (infos[0].width, infos[0].k[0], infos[0].k[4], infos[0].k[2]) == (80, 1500.0, 1505.0, 40.25)
    assert list(infos[0].d) == [-0.1, 0.05, 0.001, 0.002, 0.0]
    command.publish(FocusCommand(focus_distance=0.5, command_id=1))
    wait_until(lambda: infos[-1].k[0] == pytest.approx(1500 * 1.02), 'focus breathing')


@pytest.fixture(scope='module')
def calibrated(observer, stack_folder, tmp_path_factory):
    """The calibration file of a running camera node, and its camera infos."""
    file = tmp_path_factory.mktemp('calibrated') / 'calibration.yaml'
    Calibration(aperture=Aperture(160, Lens(0.004, 1.8, 2e-6), (math.inf, 0.5), (1.0, 1.02))).write(file)
    infos = observer.listen(CameraInfo, '/commit/camera_info', qos.LENS_STATE_SUBSCRIBER)
    parameters = {'source': 'stack', 'stack': stack_folder, 'rate': 20.0, 'calibration': file}
    process = NodeProcess('camera', file.with_name('log'), '-r', '__ns:=/commit', **parameters)
    wait_until(lambda: infos, 'camera info')
    yield file, infos
    process.end()


def committed(**changes):
    """What camera_calibration commits."""
    values = {
        'width': 80,
        'height': 60,
        'distortion_model': 'plumb_bob',
        'd': [-0.1, 0.05, 0.001, 0.002, 0.0],
        'k': [100.0, 0, 40, 0, 101, 30, 0, 0, 1],
        'r': [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        'p': [98.0, 0, 40, 0, 0, 99, 30, 0, 0, 0, 1, 0],
    }
    return SetCameraInfo.Request(camera_info=CameraInfo(**(values | changes)))


def test_set_camera_info_is_used_and_kept(calibrated, observer):
    file, infos = calibrated
    answer = observer.call(SetCameraInfo, '/commit/set_camera_info', committed())
    assert answer.success and answer.status_message == f'written to {file}, for a focus at inf m'
    wait_until(lambda: infos[-1].k[0] == 100 and list(infos[-1].d) == [-0.1, 0.05, 0.001, 0.002, 0.0], 'the new one')
    written = Calibration.read(file)
    assert (written.focus_camera.fx, written.focus_camera.fy, written.focus_camera.focus_distance) == (
        100,
        101,
        math.inf,
    )
    assert written.aperture.lens.f_number == 1.8  # the rest of the file stays


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'k': [math.nan, 0, 40, 0, 101, 30, 0, 0, 1]}, 'K has values that are not finite'),
        ({'k': [0.0] * 9}, 'K is 0, which is not calibrated'),
        ({'k': [100.0, 0, 400, 0, 101, 30, 0, 0, 1]}, 'the principal point (400, 30) is outside the image'),
        ({'k': [100.0, 3, 40, 0, 101, 30, 0, 0, 1]}, 'K is not [fx, 0, cx, 0, fy, cy, 0, 0, 1]'),
        ({'width': 160, 'height': 120}, 'for images of 160x120, these have 80x60'),
        ({'width': 0}, 'the image size is 0x60'),
        ({'distortion_model': 'equidistant'}, 'D has 5 coefficients, must be 4 of the model equidistant'),
        ({'distortion_model': 'division'}, "camera_info: distortion model 'division' is not known"),
        ({'d': [1e9] * 5}, 'which no lens has'),
    ],
)
def test_an_impossible_camera_info_is_refused(calibrated, observer, changes, words):
    file, _ = calibrated
    before = file.read_bytes()
    answer = observer.call(SetCameraInfo, '/commit/set_camera_info', committed(**changes))
    assert not answer.success and words in answer.status_message and '\n' not in answer.status_message
    assert file.read_bytes() == before and list(file.parent.glob('.*')) == []


def test_a_camera_info_that_cannot_be_written_is_refused(calibrated, observer):
    file, infos = calibrated
    kept = file.read_bytes()
    file.unlink()
    file.mkdir()
    try:
        answer = observer.call(SetCameraInfo, '/commit/set_camera_info', committed(k=[90.0, 0, 40, 0, 90, 30, 0, 0, 1]))
        assert not answer.success and str(file) in answer.status_message
        assert infos[-1].k[0] != 90
    finally:
        file.rmdir()
        file.write_bytes(kept)


def test_without_a_calibration_file_camera_info_is_refused(observer, start_node, stack_folder):
    start_node('camera', '-r', '__ns:=/uncalibrated', source='stack', stack=stack_folder)
    answer = observer.call(SetCameraInfo, '/uncalibrated/set_camera_info', committed())
    assert not answer.success and answer.status_message.startswith('parameter calibration: give the file')


def test_v4l2_takes_lens_and_focus_table_from_the_calibration():
    calibration = Calibration(
        focus=FocusMap((0.0, 250.0), (math.inf, 0.1)),
        aperture=Aperture(640, Lens(0.004, 1.8, 2e-6), (math.inf,), (1.0,)),
    )
    given = CameraParameters(source='v4l2')
    assert camera._lens(given, calibration) == (Lens(0.004, 1.8, 2e-6), 640)
    assert camera._focus_table(given, calibration).value(0.2) == 125
    # What is given by hand counts more, and a pixel pitch by hand is that of the images published.
    by_hand = replace(given, f_number=2.8, pixel_pitch=3e-6)
    assert camera._lens(by_hand, calibration) == (Lens(0.004, 2.8, 3e-6), 0)
    assert camera._lens(replace(given, f_number=2.8), Calibration())[0].f_number == 2.8
    with pytest.raises(InputError, match='or a calibration that has them'):
        camera._focus_table(given, replace(calibration, focus=None))


@pytest.mark.parametrize(
    'source, given, used',
    [('synthetic', 0.0, 0.03), ('stack', 0.0, 0.03), ('v4l2', 0.0, 0.2), ('v4l2', 0.5, 0.5), ('rgbd', 0.1, 0.1)],
)
def test_a_motor_is_given_longer_to_settle(source, given, used):
    assert camera._settle_time(CameraParameters(source=source, settle_time=given)) == used


def test_simulated_time_before_the_first_clock_and_unknown_truth(start_node, observer, tmp_path):
    FocalStack([np.zeros((60, 80, 3), np.uint8)] * 2, [LensState(d) for d in (1.0, 0.5)]).write(tmp_path / 'stack')
    heard = observer.listen(LensStateMessage, '/simulated/lens_state', qos.LENS_STATE_SUBSCRIBER)
    process = start_node(
        'camera',
        '-r',
        '__ns:=/simulated',
        source='stack',
        stack=tmp_path / 'stack',
        rate=20.0,
        use_sim_time=True,
        publish_truth=True,
    )
    wait_until(lambda: heard or process.process.poll() is not None, 'a frame')
    assert heard and stamp(heard[0]) == (0, 0), process.output
    wait_until(lambda: 'nothing comes on /simulated/truth/depth' in process.output, 'a warning')
    assert process.output.count('publish_truth') == 1
    clock = observer.publisher(Clock, '/clock')

    def time_stands():
        clock.publish(Clock(clock=TimeMessage(sec=100)))
        time.sleep(0.05)
        return sum(stamp(state)[0] > 0 for state in heard) > 10

    wait_until(time_stands, 'frames while simulated time stands')
    assert {stamp(state) for state in heard} == {(0, 0), (100, 0)}


def test_synthetic_scene_follows_the_focus(start_node, observer):
    images = observer.listen(Image, '/made/image_raw', qos.SENSOR_SUBSCRIBER)
    states = observer.listen(LensStateMessage, '/made/lens_state', qos.LENS_STATE_SUBSCRIBER)
    truths = observer.listen(Image, '/made/truth/depth', qos.SENSOR_SUBSCRIBER)
    start_node('camera', '-r', '__ns:=/made', image_width=160, image_height=120, publish_truth=True, rate=5.0)
    command = observer.publisher(FocusCommand, '/made/focus_command', qos.COMMAND)
    wait_until(lambda: images and states and truths, 'an image')
    assert (images[0].width, images[0].height, images[0].encoding) == (160, 120, 'rgb8')
    near = states[0].near_distance
    assert near > 0 and states[0].far_distance > near
    depth = np.frombuffer(truths[0].data, np.float32)
    assert np.isfinite(depth).mean() > 0.9 and (depth[np.isfinite(depth)] > 0).all()
    command.publish(FocusCommand(focus_distance=near, command_id=3))
    wait_until(lambda: states[-1].command_id == 3, 'an answer')
    assert states[-1].focus_distance == pytest.approx(near)


@pytest.mark.parametrize(
    'parameters, line',
    [
        (dict(source='stack'), 'error: parameter stack: source stack needs it; give a focal stack folder'),
        (dict(source='stack', stack='/nowhere'), 'error: /nowhere: no such folder'),
        (
            dict(source='film'),
            "error: parameter source: 'film' is not one of: synthetic, stack, rgbd, v4l2, depthai, picamera2, "
            'pypylon, module:Class',
        ),
        (
            dict(source='nowhere:MyCamera'),
            'error: "nowhere:MyCamera": Python finds no module nowhere; install it, or put its folder on PYTHONPATH',
        ),
        (
            dict(source='fractions:Fraction'),
            'error: "fractions:Fraction": has to be a class that derives from dfd_ros.cameras.CameraSource',
        ),
        (
            dict(source='v4l2'),
            'error: parameter focus_table: source v4l2 needs it; give a YAML file with the values of the focus motor, '
            'or a calibration that has them',
        ),
        (dict(calibration='/nowhere.yaml'), 'error: /nowhere.yaml: no such file; dfd calibrate writes it'),
        (dict(rate=0.0), 'error: parameter rate: out of range, expected 0.1 to 1000.0 Hz'),
    ],
)
def test_what_cannot_work_ends_with_one_line(start_node, parameters, line):
    process = start_node('camera', **parameters)
    assert process.wait() == 2
    assert process.output == line + '\n'


def test_no_device_ends_with_one_line(start_node, tmp_path):
    table = tmp_path / 'table.yaml'
    table.write_text('focus_table: [{value: 0, focus_distance_m: .inf}, {value: 250, focus_distance_m: 0.1}]')
    process = start_node('camera', source='v4l2', video_device='/dev/video77', focus_table=table)
    assert process.wait() == 2
    assert process.output.splitlines()[-1].startswith('error: /dev/video77: cannot open the camera')
    assert 'Traceback' not in process.output
