"""The calibration file: what is written is read back, and what cannot be is refused in one line."""

import math

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dfd_ros.calibration.calibration_file import Aperture, Calibration, CameraModel, Extrinsics, FocusMap
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import matrix_from_rpy, rpy_from_matrix
from dfd_ros.core.optics import Lens

CAMERA = CameraModel(
    640, 480, 800.0, 801.0, 320.5, 239.0, (-0.1, 0.05, 1e-3, -2e-3, 0.0), focus_distance=0.5, residual_px=0.1, images=12
)
WHOLE = Calibration(
    CAMERA,
    CameraModel(1280, 720, 900.0, 900.0, 639.5, 359.5, residual_px=0.2, images=9),
    Extrinsics('focus', 'rgbd', (0.05, -0.01, 0.002), (0.1, -0.2, 3.0), residual_px=0.1, pairs=7),
    FocusMap((0.0, 120.0, 250.0), (math.inf, 0.25, 0.1), residual=0.02, sweeps=5, hysteresis=6.0),
    Aperture(640, Lens(4.3e-3, 1.8, 2e-6), (math.inf, 1.0, 0.1), (1.0, 1.0045, 1.05), residual=0.01, frames=9),
)

SECTIONS = {
    'focus_camera': {
        'width': 640,
        'height': 480,
        'fx': 800.0,
        'fy': 801.0,
        'cx': 320.5,
        'cy': 239.0,
        'distortion': [-0.1, 0.05, 0.001, -0.002, 0.0],
        'focus_distance_m': 0.5,
        'residual_px': 0.1,
        'images': 12,
    },
    'extrinsics': {
        'parent': 'focus',
        'child': 'rgbd',
        'translation_m': [0.05, -0.01, 0.002],
        'rotation_rpy_rad': [0.1, -0.2, 3.0],
        'residual_px': 0.1,
        'pairs': 7,
    },
    'aperture': {
        'width': 640,
        'focal_length_mm': 4.3,
        'pixel_pitch_um': 2.0,
        'f_number': 1.8,
        'breathing': [
            {'focus_distance_m': math.inf, 'magnification': 1.0},
            {'focus_distance_m': 1.0, 'magnification': 1.0045},
            {'focus_distance_m': 0.1, 'magnification': 1.05},
        ],
        'residual': 0.01,
        'frames': 9,
    },
}
"""As the file has them."""


def test_comes_back_as_it_was(tmp_path):
    WHOLE.write(tmp_path / 'calibration.yaml')
    assert Calibration.read(tmp_path / 'calibration.yaml') == WHOLE
    written = yaml.safe_load((tmp_path / 'calibration.yaml').read_text())
    assert {name: written[name] for name in SECTIONS} == SECTIONS
    assert [path.name for path in tmp_path.iterdir()] == ['calibration.yaml']


def test_sections_are_optional(tmp_path):
    for calibration in (Calibration(), Calibration(focus=WHOLE.focus), Calibration(extrinsics=WHOLE.extrinsics)):
        calibration.write(tmp_path / 'calibration.yaml')
        assert Calibration.read(tmp_path / 'calibration.yaml') == calibration
    assert Calibration.read_or_empty(tmp_path / 'none.yaml') == Calibration()
    names = 'focus_camera', 'rgbd_camera', 'extrinsics', 'focus_table', 'focus', 'aperture'
    (tmp_path / 'null.yaml').write_text(yaml.safe_dump({'format': 'dfd_ros-calibration-1', **dict.fromkeys(names)}))
    assert Calibration.read(tmp_path / 'null.yaml') == Calibration()


def test_the_v4l2_source_reads_its_focus_table_from_it(tmp_path):
    WHOLE.write(tmp_path / 'calibration.yaml')
    table = FocusTable.load(tmp_path / 'calibration.yaml')
    # The smallest values are for the way that avoids the hysteresis.
    far = WHOLE.focus.focus_distance(9)
    assert (table.range.near, table.range.far) == pytest.approx((0.1, far)) and table.limits == (0, 250)
    assert table.value(0.25) == pytest.approx(120)
    for value in (9, 60, 120, 200, 250):
        assert table.value(WHOLE.focus.focus_distance(value)) == pytest.approx(value)


def test_intrinsics_follow_image_size_and_focus():
    small = WHOLE.camera_at(0.5, 320, 240)
    assert (small.fx, small.fy) == (400.0, 400.5)
    assert small.cx == pytest.approx((320.5 + 0.5) / 2 - 0.5)  # pixel centres are at whole numbers
    near = WHOLE.camera_at(0.1, 640, 480)
    assert near.fx / 800 == pytest.approx(1.05 / WHOLE.aperture.magnification(0.5))
    assert (near.cx, near.distortion) == (CAMERA.cx, CAMERA.distortion)
    assert Calibration().camera_at(1.0, 640, 480) is None
    with pytest.raises(InputError, match='for images of 640x480, these have 640x360, another shape'):
        WHOLE.camera_at(0.5, 640, 360)


ANGLES = st.floats(-math.pi, math.pi)


@given(ANGLES, ANGLES, ANGLES)
def test_roll_pitch_yaw_give_the_matrix_back(roll, pitch, yaw):
    matrix = matrix_from_rpy(roll, pitch, yaw)
    about = [cv2.Rodrigues(np.eye(3)[i] * angle)[0] for i, angle in enumerate((roll, pitch, yaw))]
    np.testing.assert_allclose(matrix, about[2] @ about[1] @ about[0], atol=1e-9)
    np.testing.assert_allclose(matrix_from_rpy(*rpy_from_matrix(matrix)), matrix, atol=1e-6)


@pytest.mark.parametrize(
    'change, says',
    [
        ({'format': 'other'}, 'not a calibration file'),
        ({'lens': {}}, 'no setting "lens"; there are format, focus_camera'),
        ({'focus_camera': {'width': 640}}, 'focus_camera, height: is missing'),
        ({'focus_camera': {**SECTIONS['focus_camera'], 'fx': -1}}, 'focus_camera, fx: -1 should be above 0'),
        (
            {'focus_camera': {**SECTIONS['focus_camera'], 'distortion': [1]}},
            'focus_camera: distortion: D has 1 coefficients, must be 4, 5, 8, 12, 14',
        ),
        ({'extrinsics': {**SECTIONS['extrinsics'], 'child': 3}}, 'extrinsics, child: 3 should be text'),
        (
            {'extrinsics': {**SECTIONS['extrinsics'], 'translation_m': [0, math.inf, 0]}},
            'translation_m[1]: inf should be a finite number',
        ),
        ({'focus_camera': {**SECTIONS['focus_camera'], 'width': 0}}, 'width: 0 should be above 0'),
        (
            {'focus_camera': {**SECTIONS['focus_camera'], 'focus_distance_m': -0.5}},
            'focus_distance_m: -0.5 should be at least 0.001',
        ),
        (
            {'focus_camera': {**SECTIONS['focus_camera'], 'focus_distance_m': 0}},
            'focus_distance_m: 0 should be at least 0.001',
        ),
        ({'aperture': {**SECTIONS['aperture'], 'width': 0}}, 'aperture, width: 0 should be above 0'),
        (
            {'aperture': {**SECTIONS['aperture'], 'breathing': [{'focus_distance_m': 1, 'magnification': 0}]}},
            'aperture, breathing[0], magnification: 0 should be at least 0.1',
        ),
        (
            {'aperture': {**SECTIONS['aperture'], 'breathing': [{'focus_distance_m': 1, 'magnification': 1e30}]}},
            'aperture, breathing[0], magnification: 1e+30 should be at most 10',
        ),
        (
            {'aperture': {**SECTIONS['aperture'], 'focal_length_mm': 1e30}},
            'aperture, focal_length_mm: 1e+30 should be at most 10000',
        ),
        (
            {'focus_camera': {**SECTIONS['focus_camera'], 'fx': 1e30}},
            'focus_camera: fx, fy, cx, cy of 1e+30, 801, 320.5, 239 px are of no camera of 640x480 px',
        ),
        (
            {'rgbd_camera': {**SECTIONS['focus_camera'], 'distortion': [1e9, 0, 0, 0, 0]}},
            'rgbd_camera: D is of no camera, it moves',
        ),
        ({'aperture': {**SECTIONS['aperture'], 'f_number': None}}, 'aperture, f_number: None should be a number'),
        ({'focus_table': [{'value': 1}]}, 'focus_table[0], focus_distance_m: is missing'),
        (
            {'focus_table': [{'value': 1, 'focus_distance_m': -1}]},
            'focus_table[0], focus_distance_m: -1 should be at least 0.001',
        ),
        ({'aperture': []}, 'aperture: [] should be a mapping'),
        ({'aperture': {**SECTIONS['aperture'], 'f_number': 'wide'}}, "f_number: 'wide' should be a number"),
    ],
)
def test_what_is_wrong_is_named(change, says, tmp_path):
    path = tmp_path / 'calibration.yaml'
    path.write_text(yaml.safe_dump({'format': 'dfd_ros-calibration-1', **change}))
    with pytest.raises(InputError) as raised:
        Calibration.read(path)
    assert str(raised.value).startswith(str(path)) and says in str(raised.value)
    assert '\n' not in str(raised.value)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        Calibration.read(tmp_path / 'none.yaml')
    (tmp_path / 'bad.yaml').write_text('a: [')
    with pytest.raises(InputError, match='bad.yaml: not YAML'):
        Calibration.read(tmp_path / 'bad.yaml')
