"""The description of the rig, with and without a calibration. Needs xacro, which an installed ROS 2 has."""

import math
import xml.etree.ElementTree as xml
from pathlib import Path

import numpy as np
import pytest

from dfd_ros.calibration.calibration_file import Calibration, Extrinsics
from dfd_ros.core.geometry import matrix_from_rpy
from dfd_ros.core.resources import resource
from dfd_ros.ros import launch_arguments

ROOT = Path(__file__).resolve().parents[2]
OPTICAL = 'focus_camera_optical_frame'
CALIBRATED = Extrinsics(OPTICAL, 'camera_color_optical_frame', (0.05, -0.01, 0.002), (0.1, -0.2, 0.03))


def described(**arguments) -> xml.Element:
    xacro = pytest.importorskip('xacro')
    arguments = {name: str(value) for name, value in arguments.items()}
    return xml.fromstring(xacro.process_file(str(ROOT / 'urdf' / 'focus_rig.urdf.xacro'), mappings=arguments).toxml())


def pose(rig: xml.Element, frame: str) -> np.ndarray:
    """(4, 4) of a link in base_link."""
    matrix = np.eye(4)
    joints = {joint.find('child').get('link'): joint for joint in rig.findall('joint')}
    while frame in joints:
        joint = joints[frame]
        origin = np.eye(4)
        origin[:3, :3] = matrix_from_rpy(*map(float, joint.find('origin').get('rpy').split()))
        origin[:3, 3] = [float(x) for x in joint.find('origin').get('xyz').split()]
        matrix, frame = origin @ matrix, joint.find('parent').get('link')
    assert frame == 'base_link'
    return matrix


def test_the_nominal_rig_is_a_calibration_file():
    assert Calibration.read(resource('config/nominal_rig.yaml')).extrinsics.parent == OPTICAL


def test_the_rig_as_it_is_drawn():
    rig = described()
    right = pose(rig, 'rgbd_camera_color_optical_frame')[:3, 3]
    np.testing.assert_allclose(right, [0, -0.05, 0], atol=1e-12)  # base_link: x forward, y left, z up
    np.testing.assert_allclose(pose(rig, 'rgbd_camera_link')[:3, :3], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(pose(rig, OPTICAL)[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_the_rig_as_it_is_calibrated(tmp_path):
    path = tmp_path / 'calibration.yaml'
    Calibration(extrinsics=CALIBRATED).write(path)
    rig = described(calibration=path)
    between = np.linalg.inv(pose(rig, OPTICAL)) @ pose(rig, CALIBRATED.child)
    np.testing.assert_allclose(between, CALIBRATED.matrix, atol=1e-8)
    angle = math.acos(np.clip(pose(rig, 'rgbd_camera_link')[0, 0], -1, 1))
    assert angle < 0.3  # its body looks where its camera does


def test_no_second_camera_where_it_is_not_known_or_not_wanted(tmp_path):
    path = tmp_path / 'calibration.yaml'
    Calibration().write(path)
    null = tmp_path / 'null.yaml'
    null.write_text('format: dfd_ros-calibration-1\nextrinsics: null\n')
    for rig in (described(calibration=path), described(calibration=null), described(rgbd='false')):
        assert {link.get('name') for link in rig.findall('link')} == {'base_link', 'focus_camera_link', OPTICAL}


@pytest.mark.parametrize(
    'given, arguments',
    [
        ({}, {'rgbd': 'false'}),
        ({'source': 'external'}, None),
        ({'rig': 'false'}, None),
        ({'source': 'external', 'rig': 'true'}, {'rgbd': 'false'}),
        ({'source': 'rgbd'}, {'rgbd': 'true'}),
        ({'rgbd': 'true'}, {'rgbd': 'true'}),
        ({'calibration': '/lab.yaml'}, {'rgbd': 'true', 'calibration': '/lab.yaml'}),
        ({'calibration': '/lab.yaml', 'rig_rgbd': 'false'}, {'rgbd': 'false', 'calibration': '/lab.yaml'}),
        ({'rig_rgbd': 'true'}, {'rgbd': 'true'}),
    ],
)
def test_the_launch_file_describes_what_there_is(given, arguments):
    defaults = {'source': 'synthetic', 'rig': 'auto', 'rig_rgbd': 'auto', 'rgbd': 'false', 'calibration': ''}
    assert launch_arguments.rig(defaults | given) == arguments
