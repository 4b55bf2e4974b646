"""A camera and a network of one's own, by module:Class, in real nodes: the examples of the documents."""

import math
import os

import numpy as np
import pytest

pytest.importorskip('rclpy')

from documents import example
from ros_processes import wait_until
from sensor_msgs.msg import Image

from dfd_ros import networks
from dfd_ros.msg import FocusCommand, LensState
from dfd_ros.ros import qos


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """The examples of the documents, where Python finds them, here and in the nodes."""
    (tmp_path / 'mycam.py').write_text(example('cameras.md', 'A camera of your own', 'python'))
    (tmp_path / 'mynet.py').write_text(example('networks.md', 'A network of your own', 'python'))
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    monkeypatch.syspath_prepend(tmp_path)


def test_own_camera_and_own_network_give_depth(modules, start_node, observer, tmp_path):
    networks.save(tmp_path / 'tiny.safetensors', networks.create('mynet:TinyNet', channels=4))
    images, depths = (
        observer.listen(Image, f'/own/{topic}', qos.SENSOR_SUBSCRIBER) for topic in ('image_raw', 'depth/image_rect')
    )
    states = observer.listen(LensState, '/own/lens_state', qos.LENS_STATE_SUBSCRIBER)
    camera = start_node('camera', '-r', '__ns:=/own', source='mycam:MyCamera', source_options='{width: 64}', rate=5.0)
    depth = start_node(
        'depth',
        '-r',
        '__ns:=/own',
        network='mynet:TinyNet',
        weights=tmp_path / 'tiny.safetensors',
        device='cpu',
        confidence_threshold=0.0,
    )
    command = observer.publisher(FocusCommand, '/own/focus_command', qos.COMMAND)
    command.publish(FocusCommand(focus_distance=0.5, command_id=3))
    wait_until(lambda: images and states and states[-1].command_id == 3, 'an answer')
    assert (states[-1].focus_distance, states[-1].near_distance, states[-1].far_distance) == (0.5, 0.2, 2.0)
    assert math.isnan(states[-1].f_number) and (images[-1].width, images[-1].height) == (64, 480)
    wait_until(lambda: depths or depth.process.poll() is not None, 'depth')
    assert depths, depth.output
    assert (depths[0].width, depths[0].height, depths[0].encoding) == (64, 480, '32FC1')
    # The images do not change with the focus distance: there is no evidence of depth.
    assert np.isnan(np.frombuffer(depths[0].data, np.float32)).all()
    assert camera.stop() == depth.stop() == 0, camera.output + depth.output


@pytest.mark.parametrize('options', ['{height: 5}', '[3', 'width', f'{{width: {"1" * 5000}}}'])
def test_options_that_its_constructor_does_not_take(modules, options):
    from dfd_ros.core.errors import InputError
    from dfd_ros.ros.nodes.camera import CameraParameters, make_source

    with pytest.raises(InputError, match='parameter source_options: .* are no arguments of mycam:MyCamera'):
        make_source(CameraParameters(source='mycam:MyCamera', source_options=options))
