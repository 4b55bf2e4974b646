"""Calibrations of camera_calibration, Kalibr and OpenCV: what they say, which camera they are of, what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import dfd

from dfd_ros.calibration.calibration_file import Aperture, Calibration, CameraModel
from dfd_ros.calibration.calibration_import import CalibrationSource, read_rig
from dfd_ros.calibration.foreign_calibration import read_foreign
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens

FILES = Path(__file__).resolve().parents[1] / 'data' / 'calibrations'
"""As the programs write them."""
EQUIDISTANT, PLUMB_BOB = 'equidistant', 'plumb_bob'


def rig(*texts, **options):
    return read_rig([CalibrationSource.parsed(str(text)) for text in texts], **options)


@pytest.mark.parametrize(
    'name, kind, size, focal, distortion, model',
    [
        ('ost.yaml', 'camera_calibration', (640, 480), (612.34471, 613.07942), (-0.284512, 0.0), PLUMB_BOB),
        (
            'ost_fisheye.yaml',
            'camera_calibration',
            (640, 480),
            (286.18132, 286.37719),
            (-0.008137, 0.007512),
            EQUIDISTANT,
        ),
        ('camchain.yaml', 'Kalibr', (752, 480), (458.654, 457.296), (-0.28340811, 1.7619e-05), PLUMB_BOB),
        ('opencv.yml', 'OpenCV', (640, 480), (532.79536563, 532.91928339), (-0.28108, 0.16343), PLUMB_BOB),
        ('opencv_fisheye.json', 'OpenCV', (640, 480), (268.70083, 268.41759), (0.0218, -0.0019), EQUIDISTANT),
        ('opencv_stereo.xml', 'OpenCV', (640, 480), (532.79536563, 532.91928339), (-0.28108, 0.16343), PLUMB_BOB),
    ],
)
def test_the_first_camera_of_each_layout(name, kind, size, focal, distortion, model):
    found = read_foreign(FILES / name)
    camera = found.cameras[0].raw
    assert (found.kind, camera.distortion_model, (camera.width, camera.height)) == (kind, model, size)
    assert (camera.fx, camera.fy) == pytest.approx(focal)
    assert (camera.distortion[0], camera.distortion[-1]) == pytest.approx(distortion)


def test_the_matrix_of_rectified_images():
    camera = read_foreign(FILES / 'ost.yaml').cameras[0]
    assert (camera.rectified.fx, camera.rectified.cy) == (531.82104, 244.95381) and not any(camera.rectified.distortion)
    assert read_foreign(FILES / 'camchain.yaml').cameras[0].rectified is None


def test_a_point_of_one_camera_of_kalibr_is_in_the_other():
    """T_cn_cnm1 takes points of cam0 to cam1; extrinsics take those of the RGB-D camera, cam1, to the focus camera."""
    transform = np.array(
        [
            [0.9999972563, -0.0023175421, 0.0003760010, 0.0401739988],
            [0.0023120691, 0.9998980485, 0.0140898358, -0.0002127766],
            [-0.0004086140, -0.0140889713, 0.9999006631, 0.0008097633],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    point = np.array([0.2, -0.1, 1.5, 1.0])
    found = rig(FILES / 'camchain.yaml').calibration
    np.testing.assert_allclose(found.extrinsics.matrix @ transform @ point, point, atol=1e-6)
    assert found.rgbd_camera.distortion_model == EQUIDISTANT and found.focus_camera.fx == 458.654


def test_the_pose_of_opencv_is_that_of_stereo_calibrate():
    found = rig(FILES / 'opencv_stereo.xml').calibration
    turn, shift = cv2.Rodrigues(np.array([0.011, -0.027, 0.004]))[0], np.array([-0.0641, 0.0009, -0.0013])
    point = np.array([0.2, -0.1, 1.5])
    in_focus = found.extrinsics.matrix @ np.append(turn @ point + shift, 1)
    np.testing.assert_allclose(in_focus[:3], point, atol=1e-6)


def test_the_pose_along_a_chain_of_three(tmp_path):
    steps = [np.eye(4), np.eye(4)]
    steps[0][:3] = np.hstack([cv2.Rodrigues(np.array([0.1, 0.2, -0.1]))[0], [[0.1], [0.0], [0.02]]])
    steps[1][:3] = np.hstack([cv2.Rodrigues(np.array([-0.3, 0.1, 0.1]))[0], [[0.0], [-0.2], [0.01]]])
    lines = []
    for number in range(3):
        lines.append(f'cam{number}: {{camera_model: pinhole, intrinsics: [400.0, 400.0, 320.0, 240.0], ')
        lines.append('  distortion_model: none, distortion_coeffs: [], resolution: [640, 480]')
        lines.append(f', T_cn_cnm1: {steps[number - 1].tolist()}}}' if number else '}')
    path = tmp_path / 'camchain.yaml'
    path.write_text('\n'.join(lines))
    found = read_foreign(path)
    np.testing.assert_allclose(found.pose('cam2', 'cam0'), steps[1] @ steps[0], atol=1e-12)
    np.testing.assert_allclose(found.pose('cam0', 'cam2') @ found.pose('cam2', 'cam0'), np.eye(4), atol=1e-12)
    with pytest.raises(
        InputError, match='has the cameras cam0, cam1, cam2; say which is which: focus=.*cam0 and rgbd='
    ):
        rig(path)
    assert rig(f'focus={path}:cam2', f'depth={path}:cam0').depth.fx == 400


def test_which_camera_is_which(tmp_path):
    chain, ost = FILES / 'camchain.yaml', FILES / 'ost.yaml'
    swapped = rig(chain, focus_topic='/rgbd/color/image_raw/compressed')
    assert swapped.calibration.focus_camera.fx == 461.629 and 'cam1 (/rgbd/color/image_raw)' in swapped.lines[0]
    assert rig(f'focus={chain}:cam1').calibration.focus_camera.fx == 461.629
    assert rig(f'focus={chain}:cam1').calibration.extrinsics is None
    both = rig(f'focus={chain}:cam1', f'rgbd={chain}:cam0')
    forward = rig(chain).calibration.extrinsics.matrix
    np.testing.assert_allclose(both.calibration.extrinsics.matrix, np.linalg.inv(forward), atol=1e-9)
    depth = rig(f'depth={ost}')
    assert depth.depth.fx == 612.34471 and depth.depth_rectified.fx == 531.82104
    assert depth.calibration == Calibration()
    to_depth = rig(f'focus={chain}:cam0', f'depth={chain}:cam1')
    assert to_depth.child == 'depth' and to_depth.calibration.extrinsics is not None
    odd = tmp_path / 'focus=a:b.yaml'
    odd.write_text(ost.read_text())
    assert CalibrationSource.parsed(str(odd)) == CalibrationSource(odd)


def test_stereo_files_of_opencv_that_are_two(tmp_path):
    """As its sample stereo_calib writes them: intrinsics.yml and extrinsics.yml."""
    whole = rig(FILES / 'opencv_stereo.xml').calibration
    storage = cv2.FileStorage(str(FILES / 'opencv_stereo.xml'), cv2.FILE_STORAGE_READ)
    for name, keys in (('intrinsics.yml', ('M1', 'D1', 'M2', 'D2')), ('extrinsics.yml', ('R', 'T'))):
        out = cv2.FileStorage(str(tmp_path / name), cv2.FILE_STORAGE_WRITE)
        for key in keys:
            out.write(key, storage.getNode(key).mat())
        out.release()
    intrinsics, extrinsics = tmp_path / 'intrinsics.yml', tmp_path / 'extrinsics.yml'
    with pytest.raises(InputError, match=f'^{intrinsics}: no image_width and image_height; add them'):
        rig(intrinsics, extrinsics)
    intrinsics.write_text(f'{intrinsics.read_text()}image_width: 640\nimage_height: 480\n')
    assert rig(intrinsics, extrinsics).calibration == whole
    swapped = rig(f'focus={intrinsics}:2', f'rgbd={intrinsics}:1', extrinsics).calibration
    np.testing.assert_allclose(swapped.extrinsics.matrix @ whole.extrinsics.matrix, np.eye(4), atol=1e-9)


def test_other_files_add_to_our_own(tmp_path):
    aperture = Aperture(640, Lens(0.004, 1.8, 2e-6), (1.0,), (1.0,))
    Calibration(aperture=aperture, focus_camera=CameraModel(640, 480, 600.0, 600.0, 320.0, 240.0)).write(
        tmp_path / 'rig.yaml'
    )
    found = rig(tmp_path / 'rig.yaml', FILES / 'ost.yaml').calibration
    assert found.aperture == aperture and found.focus_camera.fx == 612.34471
    with pytest.raises(InputError, match=r'rig.yaml: .* is given as FILE alone$'):
        rig(f'focus={tmp_path}/rig.yaml')


def test_an_empty_file_of_our_own_is_our_own(tmp_path):
    Calibration().write(tmp_path / 'calibration.yaml')
    assert rig(tmp_path / 'calibration.yaml').calibration == Calibration()


def test_import_writes_the_calibration_file(tmp_path, capsys):
    path = tmp_path / 'calibration.yaml'
    Calibration(aperture=Aperture(640, Lens(0.004, 1.8, 2e-6), (1.0,), (1.0,))).write(path)
    arguments = FILES / 'camchain.yaml', '--focus-distance', 0.6, '--child', 'color'
    assert dfd('calibrate', 'import', *arguments, '--calibration', path) == 0
    said = capsys.readouterr().out
    assert "cam1 (/rgbd/color/image_raw) of Kalibr is the RGB-D sensor's colour camera" in said
    found = Calibration.read(path)
    assert found.aperture.width == 640 and found.focus_camera.focus_distance == 0.6
    assert found.rgbd_camera == read_foreign(FILES / 'camchain.yaml').cameras[1].raw
    assert (found.extrinsics.parent, found.extrinsics.child) == ('focus_camera_optical_frame', 'color')
    assert path.read_text().count('distortion_model') == 1  # older versions do not know the key
    assert dfd('calibrate', 'import', path, '--calibration', path) == 2
    assert 'is already of dfd calibrate' in capsys.readouterr().err


def changed(name, *pairs):
    text = (FILES / name).read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    'text, said',
    [
        (changed('ost.yaml', ('plumb_bob', 'division')), "^PATH: distortion model 'division' is not known; there are"),
        (changed('ost.yaml', ('plumb_bob', 'fisheye')), 'PATH: D has 5 coefficients, must be 4 of the model equidist'),
        (changed('ost.yaml', ('612.34471', '-612.0')), r'PATH, fx: -612'),
        (
            changed('ost.yaml', ('318.21906', '1000.0')),
            r'PATH: the principal point \(1000, 243.7\) is outside the image',
        ),
        (changed('ost.yaml', ('-0.284512', '900.0')), 'PATH: D is of no camera'),
        (changed('ost.yaml', ('-0.284512', '.nan')), 'PATH, distortion'),
        (changed('ost.yaml', ('image_width: 640', '')), 'PATH, image_width: is missing'),
        (changed('ost.yaml', ('cols: 4', 'cols: 3')), 'PATH, projection_matrix: 3x3 with 12 numbers, must be 3x4'),
        (changed('camchain.yaml', (': pinhole', ': omni')), 'PATH, cam0: 4 intrinsics of the model omni, must be 5'),
        (changed('camchain.yaml', ('radtan', 'fov')), 'PATH, cam0: 4 coefficients of the distortion fov, must be 1'),
        (changed('camchain.yaml', ('0.0401739988', '40.17')), 'PATH, cam1, T_cn_cnm1: the cameras are 40.17 m apart; '),
        (changed('camchain.yaml', ('[0.9999972563', '[2.0')), 'PATH, cam1, T_cn_cnm1: its 3x3 part is not a rotation'),
        (changed('camchain.yaml', ('  - [0.0, 0.0, 0.0, 1.0]\n', '')), 'PATH, cam1, T_cn_cnm1: not a 4x4 matrix'),
        (changed('opencv_stereo.xml', ('-0.0641', '-64.1')), 'PATH, R and T: the cameras are 64.1 m apart; '),
        (
            changed('opencv_fisheye.json', ('"fisheye_model": 1,', '')),
            'PATH: 4 distortion_coefficients may be of a fish',
        ),
        ('%YAML:1.0\n---\na: 3\n', 'PATH: no calibration: neither camera_matrix, M1 nor R and T'),
        ('%YAML:1.0\n---\na: [', 'PATH: not a file of OpenCV: '),
        ('{"a": {"type_id": "opencv-matrix", ', 'PATH: not a file of OpenCV: '),
        (
            'format: something\n',
            'PATH: not a calibration file, its first line must be "format: .*; dfd calibrate import',
        ),
        ('[', 'PATH: not YAML'),
    ],
)
def test_what_is_refused(tmp_path, text, said):
    path = tmp_path / 'given.yaml'
    path.write_text(text)
    with pytest.raises(InputError, match=said.replace('PATH', str(path))) as error:
        rig(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'texts, said',
    [
        (('none.yaml',), 'none.yaml: no such file'),
        (('left={ost}',), 'left=.*: there is no such file, and no camera left; there are focus, rgbd, depth'),
        (('{ost}', 'focus={chain}:cam0'), 'focus=.*:cam0: the focus camera is that of .*ost.yaml already'),
        (('{chain}:cam7',), 'camchain.yaml:cam7: no camera cam7 in it; there are cam0, cam1'),
        (('rgbd={chain}',), 'camchain.yaml: has the cameras cam0, cam1; say which, rgbd=.*camchain.yaml:cam0'),
    ],
)
def test_files_that_do_not_fit_together(texts, said):
    with pytest.raises(InputError, match=said):
        rig(*(text.format(ost=FILES / 'ost.yaml', chain=FILES / 'camchain.yaml') for text in texts))


WIDE = """cam0:
  camera_model: {camera}
  intrinsics: {intrinsics}
  distortion_model: {distortion}
  distortion_coeffs: {coefficients}
  resolution: {size}
"""


def radtan(x, y, k1, k2, p1, p2):
    square = x * x + y * y
    radial = 1 + k1 * square + k2 * square**2
    return (
        x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
    )


@pytest.mark.parametrize(
    'camera, own, distortion, coefficients, pinhole, size, within',
    [
        ('omni', [0.80065662], 'radtan', [-0.3351875, 0.13211436, 0.00055967, 0.00057686], 833.0, (752, 480), 0.7),
        ('omni', [0.80065662], 'none', [], 833.0, (752, 480), 0.01),
        ('eucm', [0.62, 1.08], 'none', [], 190.0, (640, 480), 0.01),
        ('ds', [-0.1996, 0.5925], 'none', [], 316.0, (1440, 1080), 0.01),
        ('pinhole', [], 'fov', [0.93], 400.0, (640, 480), 0.01),
    ],
)
def test_wide_angle_cameras_of_kalibr_see_points_where_their_formulas_say(
    tmp_path, camera, own, distortion, coefficients, pinhole, size, within
):
    """The formulas of Kalibr's aslam_cameras, written down once more."""
    intrinsics = [*own, pinhole, pinhole - 1, size[0] / 2 + 3, size[1] / 2 - 2]
    path = tmp_path / 'camchain.yaml'
    values = {'camera': camera, 'intrinsics': intrinsics, 'distortion': distortion, 'coefficients': coefficients}
    path.write_text(WIDE.format(**values, size=list(size)))
    found = rig(path)
    draw = np.random.default_rng(0)
    x, y, z = draw.uniform(-3, 3, 4000), draw.uniform(-2, 2, 4000), draw.uniform(0.3, 3, 4000)
    norm = np.sqrt(x * x + y * y + z * z)
    if camera == 'omni':
        scale = z + own[0] * norm
    elif camera == 'eucm':
        scale = own[0] * np.sqrt(own[1] * (x * x + y * y) + z * z) + (1 - own[0]) * z
    elif camera == 'ds':
        shifted = own[0] * norm + z
        scale = own[1] * np.sqrt(x * x + y * y + shifted**2) + (1 - own[1]) * shifted
    else:
        scale = z
    mx, my = x / scale, y / scale
    if distortion == 'radtan':
        keep = np.hypot(mx, my) < 0.6  # the polynomial turns back there
        mx, my = radtan(mx, my, *coefficients)
    else:
        keep = np.full(len(x), True)
    if distortion == 'fov':
        radius, (w,) = np.hypot(mx, my), coefficients
        factor = np.arctan(2 * radius * np.tan(w / 2)) / (radius * w)
        mx, my = mx * factor, my * factor
    pixels = np.stack([mx, my], -1) * intrinsics[-4:-2] + intrinsics[-2:]
    keep &= ((pixels > 0) & (pixels < np.array(size) - 1)).all(1)
    assert keep.sum() > 500
    model = found.calibration.focus_camera
    seen = model.projection.pixels(np.stack([x / z, y / z], -1)[keep])
    assert np.linalg.norm(seen - pixels[keep], axis=1).max() < within
    assert (model.width, model.height) == size and model.distortion_model == EQUIDISTANT
    assert f'is the focus camera; {camera}-{distortion} as equidistant, within 0.' in found.lines[0]


@pytest.mark.parametrize(
    'changes, said',
    [
        ({'camera': 'scaramuzza'}, "the camera model 'scaramuzza' is not known; there are pinhole, omni, eucm, ds$"),
        ({'distortion': 'thin_prism'}, "the distortion model 'thin_prism' is not known; there are radtan, "),
        ({'intrinsics': [0.8, 400, 400, 320]}, '4 intrinsics of the model omni, must be 5$'),
        ({'coefficients': [0.1]}, '1 coefficients of the distortion radtan, must be 4$'),
        ({'distortion': 'none', 'coefficients': [0.1, 0, 0, 0]}, '4 coefficients of the distortion none, must be 0$'),
        ({'intrinsics': [-1.5, 400, 400, 320, 240]}, 'no camera has these intrinsics and this distortion; calibrate'),
        ({'intrinsics': [0.8, '.nan', 400, 320, 240]}, 'no camera has these intrinsics'),
        ({'coefficients': [-0.2, 0.05, 0.02, 0.02]}, 'no equidistant camera is within 1.0 px of this omni cam'),
        ({'camera': 'pinhole', 'intrinsics': [400, 400, 320, 240], 'distortion': 'fov', 'coefficients': [0]}, 'no'),
    ],
)
def test_wide_angle_cameras_that_are_refused(tmp_path, changes, said):
    path = tmp_path / 'camchain.yaml'
    values = {
        'camera': 'omni',
        'intrinsics': [0.8, 400, 400, 320, 240],
        'distortion': 'radtan',
        'coefficients': [-0.2, 0.05, 0.0, 0.0],
        'size': [640, 480],
    }
    path.write_text(WIDE.format(**{**values, **changes}).replace("'", ''))
    with pytest.raises(InputError, match=f'^{path}, cam0: {said}'):
        rig(path)
