"""The launch file of the recorder, with the real node. Runs where ROS 2 is installed: launch is in no wheel."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

launch_pytest = pytest.importorskip('launch_pytest')
pytest.importorskip('launch_ros')

from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_pytest.actions import ReadyToTest  # noqa: E402
from ros_processes import Observer, wait_until  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from dfd_ros.bags.bag_reader import Bag  # noqa: E402
from dfd_ros.ros import image_messages, qos  # noqa: E402

FILE = Path(__file__).resolve().parents[2] / 'launch' / 'record.launch.py'
pytestmark = pytest.mark.slow(reason='launched nodes load torch and have to find each other over DDS')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('recordings')


@launch_pytest.fixture
def recorder(folder):
    source = PythonLaunchDescriptionSource(str(FILE))
    arguments = {'folder': str(folder), 'namespace': 'robot', 'image_raw': '/driver/image'}
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items()), ReadyToTest()])


@launch_pytest.fixture
def compressing(tmp_path_factory):
    folder = tmp_path_factory.mktemp('compressed')
    (folder / 'params.yaml').write_text('/**/recorder:\n  ros__parameters: {compressed: true}\n')
    arguments = {
        'folder': str(folder / 'bags'),
        'params_file': str(folder / 'params.yaml'),
        'image_raw': '/driver/image',
        'depth': '/driver/depth',
    }
    source = PythonLaunchDescriptionSource(str(FILE))
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items()), ReadyToTest()])


@pytest.mark.launch(fixture=compressing)
def test_compressed_images_go_by_the_names_they_are_given():
    with contextlib.closing(Observer()) as observer:
        for topic in ('/driver/image/compressed', '/driver/depth/compressedDepth'):
            observer.publisher(CompressedImage, topic, qos.PUBLISHER)  # waits for a subscription


@pytest.mark.launch(fixture=recorder)
def test_it_records_the_topics_by_the_names_they_are_given(folder):
    with contextlib.closing(Observer()) as observer:
        publisher = observer.publisher(Image, '/driver/image', qos.PUBLISHER)

        def publish_and_look():
            header = Header(stamp=observer.node.get_clock().now().to_msg(), frame_id='camera')
            publisher.publish(image_messages.to_message(np.zeros((24, 32, 3), np.uint8), header))
            metadata = list(folder.glob('*/metadata.yaml'))
            return metadata and 'message_count: 0\n' not in metadata[0].read_text().partition('topics_with')[0]

        wait_until(publish_and_look, 'a bag with messages')
        (bag,) = folder.iterdir()
        assert Bag(bag).counts['/driver/image'] > 0
