"""The launch file, with real nodes. Runs where ROS 2 is installed: launch is in no wheel."""

import contextlib
import importlib.util
import re
import time
from pathlib import Path

import numpy as np
import pytest

launch_pytest = pytest.importorskip('launch_pytest')
pytest.importorskip('launch_ros')

from launch import LaunchContext, LaunchDescription, LaunchService  # noqa: E402
from launch.actions import GroupAction, IncludeLaunchDescription, RegisterEventHandler, Shutdown  # noqa: E402
from launch.event_handlers import OnProcessExit  # noqa: E402
from launch.events.process import ProcessExited  # noqa: E402
from launch.launch_description_sources import (  # noqa: E402
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)
from launch_pytest.actions import ReadyToTest  # noqa: E402
from ros_processes import Observer, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from dfd_ros.calibration.calibration_file import Calibration, Extrinsics  # noqa: E402
from dfd_ros.core import sweeps  # noqa: E402
from dfd_ros.core.errors import InputError  # noqa: E402
from dfd_ros.core.lens_state import LensState  # noqa: E402
from dfd_ros.core.optics import VergenceRange  # noqa: E402
from dfd_ros.msg import FocusCommand  # noqa: E402
from dfd_ros.msg import LensState as LensStateMessage  # noqa: E402
from dfd_ros.ros import image_messages, launch_arguments, launch_files, messages, qos  # noqa: E402
from dfd_ros.ros.nodes.camera import CameraParameters  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / 'launch' / 'depth_from_focus.launch.py'
pytestmark = pytest.mark.slow(reason='launched nodes load torch and have to find each other over DDS')
SMALL = {'image_width': '96', 'image_height': '72', 'rate': '5', 'rig': 'false'}


def launched(**arguments) -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(FILE))
    included = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([included, ReadyToTest()])


@launch_pytest.fixture
def synthetic(random_weights):
    return launched(
        **SMALL,
        source='synthetic',
        namespace='robot',
        near='1',
        far='inf',
        publish_truth='true',
        weights=str(random_weights),
    )


@pytest.mark.launch(fixture=synthetic)
def test_synthetic_gives_depth_in_its_namespace():
    with contextlib.closing(Observer()) as observer:
        depths = observer.listen(Image, '/robot/depth/image_rect', qos.SENSOR_SUBSCRIBER)
        commands = observer.listen(FocusCommand, '/robot/focus_command', qos.COMMAND)
        truths = observer.listen(Image, '/robot/truth/depth', qos.SENSOR_SUBSCRIBER)
        wait_until(lambda: len(depths) > 3 and truths, 'depth images')
        assert (depths[0].width, depths[0].height, depths[0].encoding) == (96, 72, '32FC1')
        assert depths[0].header.frame_id == CameraParameters().frame_id
        assert all(command.focus_distance >= 1.0 for command in commands)  # near:=1 has reached the sweep


@launch_pytest.fixture
def two_cameras(random_weights):
    def camera(side: str) -> GroupAction:
        arguments = SMALL | {'namespace': side, 'frame_prefix': f'{side}/', 'weights': str(random_weights)}
        source = PythonLaunchDescriptionSource(str(FILE))
        return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])

    return LaunchDescription([camera('left'), camera('right'), ReadyToTest()])


@pytest.mark.launch(fixture=two_cameras)
def test_two_cameras_of_one_launch_have_frames_of_their_own():
    with contextlib.closing(Observer()) as observer:
        sides = ('left', 'right')
        depths = {side: observer.listen(Image, f'/{side}/depth/image_rect', qos.SENSOR_SUBSCRIBER) for side in sides}
        wait_until(lambda: all(depths.values()), 'depth images of both')
        for side, images in depths.items():
            assert images[0].header.frame_id == f'{side}/{CameraParameters().frame_id}'


@launch_pytest.fixture
def external(random_weights):
    return launched(
        rig='false',
        source='external',
        image_raw='/driver/image',
        lens_state='/driver/lens',
        weights=str(random_weights),
    )


@pytest.mark.launch(fixture=external)
def test_external_listens_to_the_driver_under_its_own_names():
    range_ = VergenceRange(0.3, 3.0)
    with contextlib.closing(Observer()) as observer:
        depths = observer.listen(Image, '/depth/image_rect', qos.SENSOR_SUBSCRIBER)
        images_out = observer.publisher(Image, '/driver/image', qos.PUBLISHER)
        lens_out = observer.publisher(LensStateMessage, '/driver/lens', qos.PUBLISHER)
        focus = iter(sweeps.ramp(range_, 5) * 1000)

        def publish_and_look():
            header = Header(stamp=observer.node.get_clock().now().to_msg(), frame_id='camera')
            state = LensState(next(focus), near=range_.near, far=range_.far)
            lens_out.publish(messages.to_message(state, header))
            images_out.publish(image_messages.to_message(np.zeros((72, 96, 3), np.uint8), header))
            return depths

        wait_until(publish_and_look, 'a depth image')
        assert 'camera' not in observer.node.get_node_names()


def test_arguments_of_dfd_run_are_documented():
    description = get_launch_description_from_python_launch_file(str(FILE))
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    shared = {argument.name for argument in launch_arguments.ARGUMENTS} | set(launch_arguments.TOPICS)
    assert set(arguments) == shared | {
        'params_file',
        'namespace',
        'record',
        *launch_arguments.SWITCHES,
        *launch_arguments.OF_THE_RUN,
        *launch_arguments.ONLY_LAUNCH,
    }
    assert all(argument.description for argument in arguments.values())


def test_respawn_delays_grow_and_the_launch_stays_up():
    ends = []

    def note(event, _):
        if 'sweep' not in event.process_name:
            return None
        ends.append((time.monotonic(), event.returncode, event.cmd))
        return [Shutdown()] if len(ends) == 3 else None

    service = LaunchService()
    arguments = {'source': 'external', 'respawn': 'true', 'near': '2', 'far': '1', 'namespace': 'again'}
    service.include_launch_description(
        LaunchDescription([RegisterEventHandler(OnProcessExit(on_exit=note)), launched(**arguments)])
    )
    service.run()
    times, statuses, commands = zip(*ends)
    assert statuses == (2, 2, 2) and commands[0] == commands[1] == commands[2]
    assert times[1] - times[0] > 1.0 and times[2] - times[1] > 2.0


def test_the_rig_has_the_frame_that_the_images_are_in():
    xacro = pytest.importorskip('xacro')
    urdf = xacro.process_file(str(ROOT / 'urdf' / 'focus_rig.urdf.xacro')).toxml()
    assert CameraParameters().frame_id in re.findall(r'<link name="(\w+)"', urdf)


def launch_module():
    spec = importlib.util.spec_from_file_location('depth_from_focus_launch', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(**given):
    """Of the launch with its default arguments but those `given`."""
    context = LaunchContext()
    description = get_launch_description_from_python_launch_file(str(FILE))
    for argument in description.get_launch_arguments():
        default = ''.join(part.perform(context) for part in argument.default_value)
        context.launch_configurations[argument.name] = given.get(argument.name, default)
    return context


def test_what_may_not_be_installed_starts_first():
    started = launch_module()._start(context(rviz='true'))
    assert [node.node_executable for node in started] == ['rviz2', 'robot_state_publisher', 'camera', 'sweep', 'depth']


def test_only_the_first_node_to_end_is_named_as_the_reason():
    of_launch, event = (
        LaunchContext(),
        ProcessExited(name='sweep-2', action=None, cmd=[], cwd=None, env=None, pid=1, returncode=2),
    )
    assert isinstance(launch_files._shut_down(event, of_launch)[0], Shutdown)
    of_launch._set_is_shutdown(True)
    assert launch_files._shut_down(event, of_launch) is None


def test_a_params_file_that_is_not_there_is_refused():
    with pytest.raises(InputError, match='params_file: /nowhere.yaml: no such file'):
        launch_module()._nodes(context(params_file='/nowhere.yaml'))


@pytest.mark.parametrize('given, expected', [('', None), ('true', True), ('false', False)])
def test_use_sim_time_reaches_every_node(given, expected):
    module, of_launch = launch_module(), context(use_sim_time=given, record='out', rgbd='true', view='true')
    nodes = [*module._nodes(of_launch), *module._rig(of_launch), *module._rviz(of_launch)]
    assert len(nodes) == 8
    for node in nodes:
        name = node._Node__node_executable
        values = {k[0].text: v for d in node._Node__parameters if isinstance(d, dict) for k, v in d.items()}
        assert values.get('use_sim_time') is expected, name


@pytest.mark.parametrize(
    'source, rig, nodes',
    [('synthetic', 'auto', 1), ('external', 'auto', 0), ('external', 'true', 1), ('v4l2', 'false', 0)],
)
def test_the_rig_is_described_unless_the_robot_has_its_own(source, rig, nodes):
    assert len(launch_module()._rig(context(source=source, rig=rig))) == nodes


@pytest.mark.parametrize('folder', ['rig', 'a rig'])
def test_the_rig_is_described_from_the_calibration(folder, tmp_path):
    pytest.importorskip('xacro')
    path = tmp_path / folder / 'calibration.yaml'
    extrinsics = Extrinsics('focus_camera_optical_frame', 'measured_frame', (1.25, 0.0, 0.0), (0.0, 0.0, 0.0))
    Calibration(extrinsics=extrinsics).write(path)
    (publisher,) = launch_module()._rig(context(calibration=str(path)))
    given = {name[0].text: value for name, value in publisher._Node__parameters[0].items()}
    description = given['robot_description']
    described = description.evaluate(LaunchContext())
    assert 'link="measured_frame"' in described and 'xyz="1.25 0.0 0.0"' in described
