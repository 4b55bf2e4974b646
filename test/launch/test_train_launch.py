"""The launch file of the trainer, with the real node. Runs where ROS 2 is installed: launch is in no wheel."""

import contextlib
from pathlib import Path

import pytest

launch_pytest = pytest.importorskip('launch_pytest')
pytest.importorskip('launch_ros')

from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_pytest.actions import ReadyToTest  # noqa: E402
from ros_processes import Observer, wait_until  # noqa: E402
from tiny_training import ENDLESS  # noqa: E402

from dfd_ros.msg import TrainingProgress  # noqa: E402
from dfd_ros.ros.nodes.trainer import LATCHED  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / 'launch' / 'train.launch.py'
pytestmark = pytest.mark.slow(reason='launched nodes load torch and have to find each other over DDS')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('training')
    (folder / 'config.yaml').write_text(ENDLESS)
    return folder


@launch_pytest.fixture
def trainer(folder):
    source = PythonLaunchDescriptionSource(str(FILE))
    arguments = {
        'data': str(ROOT / 'test' / 'data' / 'blender'),
        'config': str(folder / 'config.yaml'),
        'output': str(folder / 'runs'),
        'name': 'launched',
        'device': 'cpu',
        'namespace': 'robot',
    }
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items()), ReadyToTest()])


@pytest.mark.launch(fixture=trainer)
def test_it_trains_as_its_arguments_say(folder):
    with contextlib.closing(Observer()) as observer:
        heard = observer.listen(TrainingProgress, '/robot/trainer/progress', LATCHED)
        wait_until(lambda: heard and heard[-1].step > 3, 'steps')
        assert heard[-1].run == str(folder / 'runs' / 'launched') and heard[-1].steps == 1000000
