"""The RViz configuration and the Foxglove layout show topics, types and fields that the nodes really publish."""

import json

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy')

from ros_processes import wait_until

from dfd_ros import msg
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.resources import resource

TYPES = {  # that a panel or display can show
    'Image': 'sensor_msgs/msg/Image',
    'CameraInfo': 'sensor_msgs/msg/CameraInfo',
    'PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'DiagnosticArray': 'diagnostic_msgs/msg/DiagnosticArray',
    'LensState': 'dfd_ros/msg/LensState',
    'FocusCommand': 'dfd_ros/msg/FocusCommand',
}


def foxglove():
    return json.loads(resource('config/depth_from_focus.foxglove.json').read_text())


def foxglove_topics():
    """Topic -> type of all that the layout shows, without the description of the rig, which another node publishes."""
    topics = {}
    for name, panel in foxglove()['configById'].items():
        kind = name.split('!')[0]
        if kind == 'Image':
            topics[panel['imageMode']['imageTopic']] = TYPES['Image']
            topics[panel['imageMode']['calibrationTopic']] = TYPES['CameraInfo']
        elif kind == '3D':
            assert panel['topics'].keys() == {'/points', '/depth/camera_info', '/robot_description'}
            topics['/points'] = TYPES['PointCloud2']
        elif kind == 'Plot':
            for path in panel['paths']:
                topic, field = path['value'].split('.')
                message = {'/lens_state': 'LensState', '/focus_command': 'FocusCommand'}[topic]
                assert hasattr(getattr(msg, message)(), field), path
                topics[topic] = TYPES[message]
        else:
            assert kind == 'DiagnosticSummary', f'{name}: this test does not know such panels'
            topics[panel['topicToRender']] = TYPES['DiagnosticArray']
    return topics


def rviz_topics():
    """Topic -> type of all that RViz shows in a root namespace, without the description of the rig."""
    displays = yaml.safe_load(resource('config/depth_from_focus.rviz').read_text())
    topics = {}
    for display in displays['Visualization Manager']['Displays']:
        kind = display['Class'].removeprefix('rviz_default_plugins/')
        if kind == 'Image':
            topics[f'/{display["Topic"]["Value"]}'] = TYPES['Image']
        elif kind == 'DepthCloud':
            topics[f'/{display["Depth Map Topic"]}'] = topics[f'/{display["Color Image Topic"]}'] = TYPES['Image']
        else:
            assert kind in ('Grid', 'TF', 'RobotModel'), f'{kind}: this test does not know such displays'
    return topics


def panels(layout):
    """The panels of a layout, which is a panel or two halves."""
    return [layout] if isinstance(layout, str) else panels(layout['first']) + panels(layout['second'])


def test_foxglove_shows_every_panel_once():
    layout = foxglove()
    assert sorted(panels(layout['layout'])) == sorted(layout['configById'])


@pytest.mark.slow(reason='starts three nodes')
def test_rviz_and_foxglove_show_what_the_nodes_publish(start_node, observer, tmp_path, random_weights):
    image = np.zeros((64, 96, 3), np.uint8)
    FocalStack([image, image], [LensState(2.0), LensState(0.5)]).write(tmp_path / 'stack')
    start_node('camera', source='stack', stack=tmp_path / 'stack')
    start_node('sweep')
    start_node('depth', weights=random_weights)
    shown = foxglove_topics() | rviz_topics()
    assert len(shown) >= 11

    def published():
        return {
            topic: [info.topic_type for info in observer.node.get_publishers_info_by_topic(topic)] for topic in shown
        }

    wait_until(lambda: all(published().values()), f'a publisher for each of {sorted(shown)}')
    assert {topic: set(types) for topic, types in published().items()} == {t: {kind} for t, kind in shown.items()}
