"""The focus bridge with stand-ins for the drivers of others (test/support/driver_stand_ins.py)."""

import functools
import importlib.util
import math
import os
import re
import time
from itertools import pairwise

import pytest

pytest.importorskip('rclpy')

import driver_stand_ins as stand_ins
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from fake_v4l2_device import SHIM, FakeV4l2Device
from rcl_interfaces.msg import ParameterType
from rclpy.parameter import Parameter
from ros_processes import spinning, wait_until
from sensor_msgs.srv import SetCameraInfo
from std_msgs.msg import Float64, Header
from std_srvs.srv import SetBool

from dfd_ros.calibration.calibration_file import Calibration, FocusMotion
from dfd_ros.cameras.driver_file import read_driver
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.resources import resource
from dfd_ros.msg import FocusCommand
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros import launch_arguments, qos
from dfd_ros.ros.drivers.interfaces import set_field
from dfd_ros.ros.nodes.sweep import SweepNode

MAX_ERROR = 0.02  # of the range
NEEDED = 12  # settled frames


@pytest.fixture
def drive():
    """Starts stand-ins, and ends them with the test."""
    running = []

    def start(cls, *arguments, **options):
        running.append(cls(*arguments, **options))
        return running[-1]

    yield start
    for stand_in in running:
        stand_in.end()


@pytest.fixture
def sweep(observer):
    """The sweep node, in this process."""
    node = SweepNode()
    node.start()
    with spinning(node):
        yield node
    node.destroy_node()


@pytest.fixture
def launch(start_node):
    """Starts the bridge as the launch file does with these arguments."""

    def start(**given):
        values = {argument.name: argument.default for argument in launch_arguments.ARGUMENTS}
        values |= dict.fromkeys(launch_arguments.SWITCHES, 'false')
        values |= {topic: topic for topic in launch_arguments.TOPICS} | {'source': 'external'} | given
        values, _ = launch_arguments.with_driver(values)
        remappings = [part for name, new in launch_arguments.remappings(values) for part in ('-r', f'{name}:={new}')]
        assert launch_arguments.nodes(values) == ('focus_bridge', 'sweep', 'depth')
        return start_node('focus_bridge', *remappings, **launch_arguments.parameters('focus_bridge', values))

    return start


def table_file(folder, values, near=0.1, **about):
    """Linear in vergence, from infinity to `near` (m)."""
    path = folder / 'focus_table.yaml'
    entries = [{'value': values[0], 'focus_distance_m': math.inf}, {'value': values[1], 'focus_distance_m': near}]
    path.write_text(yaml.safe_dump({'focus_table': entries, **({'focus': about} if about else {})}))
    return path


def vergence_of(values, near=0.1):
    return lambda value: (value - values[0]) / (values[1] - values[0]) / near


def changed_copy(folder, name, **changes):
    """A preset with other settings, as a user makes it."""
    content = yaml.safe_load(resource(f'config/drivers/{name}.yaml').read_text())
    for path, value in changes.items():
        *parents, last = path.split('__')
        target = content
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    path = folder / f'{name}.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


def key(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def check_labels(states, driver, vergence, near=0.1, far=math.inf):
    """The labels of all settled frames against the truth."""
    range_ = VergenceRange(near, far)
    settled = [state for state in states if state.settled]
    errors = []
    for state in settled:
        label = 1 / state.focus_distance
        errors += [abs(label - vergence(value)) / range_.width for value in driver.truth[key(state)]]
    assert max(errors, default=0.0) < MAX_ERROR, f'off by {max(errors):.3f} of the range'


def is_enough(settled):
    return len(settled) >= NEEDED and len({round(state.focus_distance, 3) for state in settled}) >= 4


def swept(observer, driver, vergence, near=0.1, far=math.inf):
    """Waits for enough of a sweep, and checks it."""
    states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
    try:
        wait_until(lambda: is_enough([state for state in states if state.settled]), 'settled frames of four foci')
        got = list(states)
    finally:
        observer.silence('/lens_state')
    check_labels(got, driver, vergence, near, far)
    assert len({key(state) for state in got}) == len(got) and all(key(state) in driver.truth for state in got)
    assert {(round(1 / state.near_distance, 3), state.far_distance) for state in got[-10:]} == {
        (round(1 / near, 3), far)
    }


@pytest.mark.usefixtures('sweep')
class TestTheWholeWay:
    """The bridge as the launch file starts it: every settled frame has the focus that the lens had."""

    @pytest.mark.parametrize('ahead', [0, 1, 2, 4])
    def test_camera_ros(self, launch, drive, observer, ahead):
        """Its metadata may be further ahead of the picture than its file says: no label of a settled frame is wrong."""
        driver = drive(stand_ins.CameraRos, ahead=ahead)
        bridge = launch(driver='camera_ros')
        swept(observer, driver, lambda value: value, near=1 / 15)
        assert driver.dropped == 0
        assert bridge.output.count('dfd calibrate latency --driver camera_ros measures') == 1

    def test_camera_ros_without_metadata(self, launch, drive, observer):
        driver = drive(stand_ins.CameraRos, metadata=False)
        launch(driver='camera_ros_without_metadata')
        swept(observer, driver, lambda value: value, near=1 / 15)

    def test_depthai_ros_driver(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.Depthai)
        launch(driver='depthai_ros_driver', focus_table=str(table_file(tmp_path, (20, 220))))
        swept(observer, driver, vergence_of((20, 220)))

    def test_v4l2_beside_a_node_that_streams(self, launch, drive, observer, tmp_path, monkeypatch):
        device = FakeV4l2Device(tmp_path / 'video0')
        monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(SHIM), os.environ.get('PYTHONPATH', '')]))
        driver = drive(stand_ins.Streaming, device)
        launch(driver='v4l2', video_device=str(device.path), focus_table=str(table_file(tmp_path, (0, 250))))
        swept(observer, driver, vergence_of((0, 250)))
        device.write('focus_auto', 1)
        wait_until(lambda: device.read()['focus_auto'] == 0, 'autofocus off again')

    @pytest.mark.parametrize(('auto', 'step'), [('focus_automatic_continuous', 0), ('', 20)])
    def test_v4l2_camera(self, launch, drive, observer, tmp_path, auto, step):
        driver = drive(stand_ins.V4l2Camera, auto, step)
        launch(driver='v4l2_camera', focus_table=str(table_file(tmp_path, (0, 250))))
        swept(observer, driver, vergence_of((0, 250)))

    def test_a_motor_with_play_comes_from_smaller_values(self, launch, drive, observer, tmp_path, sweep):
        driver = drive(stand_ins.V4l2Camera, '')
        driver.lens.play = 25  # a tenth of the range
        sweep.set_parameters([Parameter('pattern', value='ping_pong')])
        launch(driver='v4l2_camera', focus_table=str(table_file(tmp_path, (0, 250), hysteresis=25)))
        swept(observer, driver, lambda value: vergence_of((0, 250))(value + 25), far=25 / 37.5)
        assert any(a > b for a, b in pairwise(value for value, _ in driver.truth.values()))

    def test_camera_aravis2(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.Aravis)
        launch(driver='camera_aravis2', focus_table=str(table_file(tmp_path, (-1.5, 2.5))))
        swept(observer, driver, vergence_of((-1.5, 2.5)))

    def test_spinnaker(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.Spinnaker)
        launch(driver='spinnaker', focus_table=str(table_file(tmp_path, (-1.5, 2.5))))
        swept(observer, driver, vergence_of((-1.5, 2.5)))

    def test_axis_camera(self, launch, drive, observer, tmp_path):
        if importlib.util.find_spec('axis_msgs'):
            from axis_msgs.srv import SetInt

            driver = drive(stand_ins.Axis, SetInt, lambda request: request.data)
            name = 'axis_camera'
        else:  # a service of an installed package, with a whole number in its request and `success` in its answer
            driver = drive(stand_ins.Axis, SetCameraInfo, lambda request: request.camera_info.binning_x)
            changes = {'command__type': 'sensor_msgs/srv/SetCameraInfo', 'command__field': 'camera_info.binning_x'}
            name = str(changed_copy(tmp_path, 'axis_camera', **changes))
        launch(driver=name, focus_table=str(table_file(tmp_path, (1000, 9000))))
        swept(observer, driver, vergence_of((1000, 9000)))

    def test_any_driver_by_topics(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.TopicLens)
        # On a busy machine reports without a stamp come late.
        launch(driver=str(changed_copy(tmp_path, 'any_topic', report__latency_s=0.5, report__wait_s=1.5)))
        swept(observer, driver, lambda value: value)

    def test_any_parameter_by_a_file_of_ones_own(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.Aravis)
        changes = {'node': '/camera_driver_gv', 'command__parameter': 'FocalPower', 'command__unit': 'dioptre'}
        limits = {'command__minimum': 0.5, 'topics__camera_info': '~/camera_info'}
        launch(driver=str(changed_copy(tmp_path, 'any_parameter', **changes, **limits)))
        swept(observer, driver, lambda value: value, near=1 / 3, far=2.0)


def test_pipelined_labels_are_right(launch, drive, observer, tmp_path):
    """A command each frame, while the driver's queue is four frames long: the lens moves in every exposure, and
    settled frames have the middle of its way."""
    overrides = {'pipelined': True, 'steps': 31, 'pattern': 'ping_pong', 'timeout': 60.0}
    sweep = SweepNode(parameter_overrides=[Parameter(key, value=value) for key, value in overrides.items()])
    sweep.start()
    driver = drive(stand_ins.CameraRos, rate=5.0)  # slow: a busy machine simulates it too
    Calibration(motion=FocusMotion(report_latency_frames=1)).write(tmp_path / 'calibration.yaml')
    launch(driver='camera_ros', max_travel='0.035', calibration=str(tmp_path / 'calibration.yaml'))
    states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)

    def moved():
        foci = [1 / state.focus_distance for state in states if state.settled]
        return sum(0.2 < abs(b - a) < 0.8 for a, b in pairwise(foci)) > 12

    try:
        with spinning(sweep):
            wait_until(moved, 'settled frames of a lens that moves')
            got = list(states)
    finally:
        observer.silence('/lens_state')
        sweep.destroy_node()
    check_labels(got, driver, lambda value: value, near=1 / 15)


class TestADriverThatComesAndGoes:
    @pytest.mark.usefixtures('sweep')
    def test_the_bridge_waits_names_it_and_picks_it_up_again(self, launch, drive, observer):
        bridge = launch(driver='camera_ros')
        wait_until(lambda: 'waiting for the driver: the node /camera is not there' in bridge.output, 'a warning')
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        first = drive(stand_ins.CameraRos)
        wait_until(lambda: any(state.settled for state in states), 'a settled frame')
        first.end()
        wait_until(lambda: 'the focus is set up again when the driver is there' in bridge.output, 'a warning')
        first.end = lambda: None
        states.clear()
        second = drive(stand_ins.CameraRos)
        wait_until(lambda: sum(state.settled for state in states) > 5, 'settled frames')
        observer.silence('/lens_state')
        check_labels([state for state in states if key(state) in second.truth], second, lambda value: value, 1 / 15)

    @pytest.mark.usefixtures('sweep')
    def test_a_driver_that_refuses_once(self, launch, drive, observer):
        driver = drive(stand_ins.CameraRos)
        bridge = launch(driver='camera_ros')
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        wait_until(lambda: sum(state.settled for state in states) > 5, 'settled frames')
        driver.refusals = 1
        wait_until(lambda: 'refuses AfMode = 0, LensPosition' in bridge.output, 'a warning')
        states.clear()
        wait_until(lambda: is_enough([state for state in states if state.settled]), 'settled frames of four foci')
        observer.silence('/lens_state')
        check_labels(list(states), driver, lambda value: value, 1 / 15)
        assert bridge.output.count('refuses') == 1

    @pytest.mark.usefixtures('sweep')
    def test_manual_focus_is_asserted_again(self, launch, drive, observer):
        driver = drive(stand_ins.CameraRos, topic='/diagnostics')  # not remapped
        bridge = launch(driver='camera_ros')
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        wait_until(lambda: sum(state.settled for state in states) > 5, 'settled frames')
        assert observer.set_parameter('/camera', 'AfMode', 2).successful
        wait_until(lambda: 'AfMode of /camera was changed to 2 by somebody else' in bridge.output, 'a warning')
        states.clear()
        wait_until(lambda: sum(state.settled for state in states) > 10, 'settled frames')
        observer.silence('/lens_state')
        assert driver.get_parameter('AfMode').value == 0
        check_labels(list(states), driver, lambda value: value, 1 / 15)


class Unstamped(stand_ins.Aravis):
    """Its stamps are all 0."""

    def _finish(self, exposed):
        self._clock_off = -exposed
        super()._finish(exposed)


def lasting(observer, launch, expected, *, seconds=2.0, **arguments):
    """The bridge says `expected`, and in all this time no frame is settled, and each has its lens state."""
    states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
    bridge = launch(**arguments)
    commands = observer.publisher(FocusCommand, '/focus_command', qos.COMMAND)
    wait_until(lambda: re.search(expected, bridge.output), f'a warning of {expected}')
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        commands.publish(FocusCommand(focus_distance=0.5, command_id=1))
        time.sleep(0.1)
    wait_until(lambda: states, 'lens states')
    observer.silence('/lens_state')
    assert not any(state.settled for state in states)
    lines = [line for line in bridge.output.splitlines() if re.search(expected, line)]
    assert lines and 'Traceback' not in bridge.output
    return bridge


class TestBadInput:
    def test_no_such_parameter(self, launch, drive, observer, tmp_path):
        drive(stand_ins.V4l2Camera)
        own = changed_copy(tmp_path, 'v4l2_camera', command__parameter='focus_abs')
        table = table_file(tmp_path, (0, 250))
        lasting(observer, launch, "/v4l2_camera has no parameter 'focus_abs'", driver=str(own), focus_table=str(table))

    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            ({'kind': ParameterType.PARAMETER_STRING, 'value': 'near'}, 'FocalPower of /camera_driver_gv is a string'),
            ({'read_only': True}, 'FocalPower of /camera_driver_gv is read-only'),
        ],
    )
    def test_a_parameter_that_cannot_be_set(self, launch, drive, observer, tmp_path, options, expected):
        drive(stand_ins.Aravis, **options)
        table = table_file(tmp_path, (-1.5, 2.5))
        lasting(observer, launch, expected, driver='camera_aravis2', focus_table=str(table))

    def test_a_table_outside_the_range(self, launch, drive, observer, tmp_path):
        drive(stand_ins.Aravis)
        expected = 'focus table has values from -4 to 2.5, and the driver takes -2 to 3'
        table = table_file(tmp_path, (-4, 2.5))
        lasting(observer, launch, expected, driver='camera_aravis2', focus_table=str(table))

    def test_the_drivers_own_reason(self, launch, drive, observer, tmp_path):
        drive(stand_ins.CameraRos)
        own = changed_copy(tmp_path, 'camera_ros', command__together={'AfMode': 0.5})
        expected = "refuses .*AfMode: parameter types mismatch, expected 'integer', got 'double'"
        lasting(observer, launch, expected, driver=str(own))

    def test_no_metadata(self, launch, drive, observer):
        drive(stand_ins.CameraRos, metadata=False)
        lasting(observer, launch, 'no LensPosition on /camera/metadata or /diagnostics', driver='camera_ros')

    def test_metadata_of_two_cameras_on_one_topic(self, launch, drive, observer):
        drive(stand_ins.CameraRos, topic='/diagnostics')
        other = observer.node.create_publisher(DiagnosticArray, '/diagnostics', 1)

        def report():
            status = DiagnosticStatus(hardware_id='imx519', values=[KeyValue(key='LensPosition', value='2.0')])
            stamp = observer.node.get_clock().now().to_msg()
            other.publish(DiagnosticArray(header=Header(stamp=stamp), status=[status]))

        timer = observer.node.create_timer(0.02, report)
        try:
            lasting(observer, launch, "LensPosition comes from 'imx.*' and 'imx.*': give", driver='camera_ros')
        finally:
            observer.thread.run(functools.partial(observer.node.destroy_timer, timer))

    @pytest.mark.usefixtures('sweep')
    def test_a_driver_that_does_not_do_what_it_has_accepted(self, launch, drive, observer):
        driver = drive(stand_ins.CameraRos, obeys=False)
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        bridge = launch(driver='camera_ros')
        wait_until(lambda: re.search('has accepted .* and reports ', bridge.output), 'a warning')
        observer.silence('/lens_state')
        check_labels(list(states), driver, lambda value: value, 1 / 15)
        assert not any(state.settled and state.command_id for state in states)

    @pytest.mark.parametrize('off', [-40.0, 7.0])
    def test_a_clock_apart(self, launch, drive, observer, tmp_path, off):
        drive(stand_ins.Aravis, clock_off=off)
        table = table_file(tmp_path, (-1.5, 2.5))
        expected = f'camera_info is stamped .* s {"before" if off < 0 else "after"} its arrival: the clocks'
        lasting(observer, launch, expected, driver='camera_aravis2', focus_table=str(table))

    def test_stamps_that_do_not_rise(self, launch, drive, observer, tmp_path):
        driver = drive(Unstamped)
        expected = 'camera_info: a frame is stamped 0 s after the one before it: the stamps of a camera have to rise'
        table = table_file(tmp_path, (-1.5, 2.5))
        lasting(observer, launch, expected, driver='camera_aravis2', focus_table=str(table))
        assert set(driver.truth) == {0}

    def test_reports_in_another_unit(self, launch, drive, observer, tmp_path):
        drive(stand_ins.TopicLens)
        expected = 'has accepted /lens/command = 3, and reports 0.9, or in another unit'
        own = changed_copy(tmp_path, 'any_topic', command__unit='metre', command__minimum=0.5, command__maximum=3.0)
        content = yaml.safe_load(own.read_text())
        content['report'] |= {'topic': 'lens/metres', 'latency_s': 0.5, 'wait_s': 1.5}
        own.write_text(yaml.safe_dump(content))
        telling = observer.node.create_publisher(Float64, 'lens/metres', 10)
        timer = observer.node.create_timer(0.02, lambda: telling.publish(Float64(data=0.9)))
        try:
            lasting(observer, launch, expected, driver=str(own))
        finally:
            observer.thread.run(functools.partial(observer.node.destroy_timer, timer))

    def test_a_focus_that_was_sent_before_and_is_now_set_by_somebody_else(self, launch, drive, observer, tmp_path):
        driver = drive(stand_ins.Aravis)
        bridge = launch(driver='camera_aravis2', focus_table=str(table_file(tmp_path, (-1.5, 2.5))))
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        commands = observer.publisher(FocusCommand, '/focus_command', qos.COMMAND)
        for number, at in enumerate((0.1, 0.2), 1):
            wait_until(lambda: any(state.settled and state.command_id == number - 1 for state in states), 'a focus')
            commands.publish(FocusCommand(focus_distance=at, command_id=number))
        wait_until(lambda: any(state.settled and state.command_id == 2 for state in states), 'the last focus')
        observer.silence('/lens_state')
        driver.set_parameters([Parameter('FocalPower', value=2.5)])
        wait_until(lambda: 'FocalPower of /camera_driver_gv was changed to 2.5 by somebody else' in bridge.output, 'it')

    def test_two_bridges_on_one_driver(self, launch, drive, observer, tmp_path, start_node):
        drive(stand_ins.CameraRos)
        expected = '2 bridges drive LensPosition of /camera: /focus_bridge, /other/focus_bridge; end all but one'
        start_node('focus_bridge', '-r', '__ns:=/other', driver='camera_ros', driver_node='/camera/')
        wait_until(lambda: observer.node.count_publishers('/other/lens_state'), 'the other bridge')
        states = observer.listen(LensStateMessage, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        bridge = launch(driver='camera_ros')
        wait_until(lambda: expected in bridge.output, 'a warning')
        states.clear()
        wait_until(lambda: len(states) > 20, 'lens states')
        observer.silence('/lens_state')
        assert not any(state.settled for state in states)

    @pytest.mark.parametrize(
        ('arguments', 'expected'),
        [
            ({'driver': 'camera_rosy'}, "error: driver 'camera_rosy': give one of any_parameter, .*, or a .yaml file"),
            ({'driver': 'depthai_ros_driver'}, 'error: parameter focus_table: the driver depthai_ros_driver'),
            ({'driver': 'any_service'}, 'error: my_msgs/srv/SetFocus: the package my_msgs is not installed'),
            ({'report__stamp': 'header'}, 'error: std_msgs/msg/Float64 has no header: give report: stamp: arrival'),
            ({'report__field': 'position'}, "error: std_msgs/msg/Float64 has no field 'position'"),
            ({'report__unit': 'table'}, 'error: parameter focus_table: the driver .* reports numbers without a unit'),
        ],
    )
    def test_what_cannot_work_ends_the_node_with_a_line(self, start_node, tmp_path, arguments, expected):
        if 'driver' not in arguments:
            arguments = {'driver': changed_copy(tmp_path, 'any_topic', **arguments)}
        node = start_node('focus_bridge', **arguments)
        assert node.wait() == 2
        assert re.search(expected, node.output.splitlines()[-1])


def test_a_node_without_its_full_name_is_refused(tmp_path):
    path = changed_copy(tmp_path, 'any_parameter', node='lens')
    with pytest.raises(launch_arguments.InputError, match="node: 'lens' has to be the full name"):
        read_driver(str(path))


@pytest.mark.parametrize(
    ('name', 'changes', 'expected'),
    [
        ('any_parameter', {'node': '/my lens'}, "node: '/my lens' is no name of a node"),
        ('any_parameter', {'command__parameter': 'focus |'}, "parameter: 'focus |' has an empty name"),
        ('any_parameter', {'command__type': 'float'}, "type 'float': that of a parameter is double or integer"),
        ('any_parameter', {'command__together': {'focus_distance': 1}}, 'has to be a parameter beside the focus'),
        ('any_parameter', {'topics__camera_info': 'a b'}, "camera_info: 'a b' is no name of a topic"),
        ('any_topic', {'command__topic': 'lens//to'}, "topic: 'lens//to' is no name of a topic"),
        ('any_topic', {'report__topic': 'position, x'}, "topic: 'position, x' is no name of a topic"),
        (
            'v4l2',
            {'setup': [{'control': 'focus_auto', 'value': 'off'}]},
            "value 'off': V4L2 controls are whole numbers",
        ),
    ],
)
def test_a_driver_file_that_cannot_work_is_refused(tmp_path, name, changes, expected):
    with pytest.raises(launch_arguments.InputError, match=re.escape(expected)):
        read_driver(str(changed_copy(tmp_path, name, **changes)))


def test_a_service_takes_no_text_for_a_switch():
    request = SetBool.Request()
    with pytest.raises(launch_arguments.InputError, match="field 'data': 'false' should be of type bool"):
        set_field(request, 'data', 'false')
    with pytest.raises(launch_arguments.InputError, match="SetBool_Request has no field 'on'"):
        set_field(request, 'on', False)


def test_a_control_that_is_not_of_the_focus_is_refused(tmp_path):
    path = changed_copy(tmp_path, 'v4l2', command__control='zoom_absolute')
    with pytest.raises(launch_arguments.InputError, match="command, control: 'zoom_absolute' should be"):
        read_driver(str(path))


def test_a_driver_beside_a_source_of_ours_is_refused():
    with pytest.raises(launch_arguments.InputError, match='source has to be external, not synthetic'):
        launch_arguments.nodes({'source': 'synthetic', 'driver': 'camera_ros'})
