"""dfd calibrate on photographs of a rig of which all is known, and on what cannot be calibrated."""

import math
import re
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from command_line import dfd
from fake_camera import FakeCamera
from PIL import ExifTags, Image
from simulated_rig import SimulatedRig

from dfd_ros.calibration import focus, recorded_sweep
from dfd_ros.calibration.aperture import measure_aperture
from dfd_ros.calibration.board import Board
from dfd_ros.calibration.board_images import find_boards
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.calibration.extrinsics import calibrate_extrinsics
from dfd_ros.calibration.intrinsics import calibrate_intrinsics
from dfd_ros.calibration.record import record_sweep
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import distance, magnification, vergence
from dfd_ros.core.v4l2_device import V4l2Device

pytestmark = pytest.mark.slow(reason='photographs of a simulated rig are rendered and read')

FOCUS, BOARDS = 0.5, 14
RIG = SimulatedRig(400, 300)


@pytest.fixture(scope='module')
def boards(tmp_path_factory):
    """Folder with `focus` and `rgbd`: pairs of photographs of the board."""
    folder = tmp_path_factory.mktemp('boards')
    RIG.write_boards(folder / 'focus', folder / 'rgbd', BOARDS, FOCUS)
    return folder


@pytest.fixture(scope='module')
def cameras(boards):
    """A calibration file with the intrinsics of both cameras."""
    path = boards / 'cameras.yaml'
    assert dfd('calibrate', 'intrinsics', boards / 'focus', '--focus-distance', FOCUS, '--calibration', path) == 0
    assert dfd('calibrate', 'intrinsics', boards / 'rgbd', '--camera', 'rgbd', '--calibration', path) == 0
    return path


def test_the_printed_board_is_found_where_it_is():
    board = Board(6, 5, 0.03, 0.02, '4X4_50')
    view = board.find(board.picture(60, 30), 'board')
    assert len(view.ids) == 5 * 4
    np.testing.assert_allclose(view.points[:, :2] / board.square * 60 + 29.5, view.corners, atol=0.3)
    assert board.find(np.full((200, 200, 3), 90, np.uint8)) is None


def test_intrinsics_are_found_within_half_a_percent(cameras):
    found = Calibration.read(cameras)
    for camera, true in ((found.focus_camera, RIG.at_focus(FOCUS)), (found.rgbd_camera, RIG.rgbd_camera)):
        assert camera.fx == pytest.approx(true.fx, rel=5e-3) and camera.fy == pytest.approx(true.fy, rel=5e-3)
        assert abs(camera.cx - true.cx) < 5e-3 * true.fx and abs(camera.cy - true.cy) < 5e-3 * true.fx
        assert 0 < camera.residual_px < 0.3 and camera.images == BOARDS
    assert found.focus_camera.focus_distance == FOCUS and math.isnan(found.rgbd_camera.focus_distance)
    for camera in ('focus', 'rgbd'):
        picture = np.asarray(Image.open(cameras.with_name(f'cameras_{camera}_intrinsics.png')))
        assert picture.std() > 10


def test_extrinsics_are_found_within_2_mm_and_02_degrees(boards, cameras, tmp_path, capsys):
    path = shutil.copy(cameras, tmp_path / 'calibration.yaml')
    assert dfd('calibrate', 'extrinsics', boards / 'focus', boards / 'rgbd', '--calibration', path) == 0
    found = Calibration.read(path)
    off = np.linalg.inv(RIG.extrinsics) @ found.extrinsics.matrix
    assert np.linalg.norm(found.extrinsics.matrix[:3, 3] - RIG.extrinsics[:3, 3]) < 2e-3
    assert math.degrees(math.acos((np.trace(off[:3, :3]) - 1) / 2)) < 0.2
    assert (found.extrinsics.parent, found.extrinsics.pairs) == ('focus_camera_optical_frame', BOARDS)
    assert found.focus_camera == Calibration.read(cameras).focus_camera  # what is there stays
    assert (tmp_path / 'calibration_extrinsics.png').is_file()
    assert 'residual' in capsys.readouterr().out


def test_aperture_within_5_percent_and_breathing_within_01(cameras, tmp_path, capsys):
    rig, path = SimulatedRig(400, 300, f_number=1.4), shutil.copy(cameras, tmp_path / 'calibration.yaml')
    distances = [distance(v) for v in np.linspace(1.0, 3.6, 8)]
    rig.write_stack(tmp_path / 'stack', 0.45, distances)
    assert dfd('calibrate', 'aperture', tmp_path / 'stack', '--focal-length', 16, '--calibration', path) == 0
    found = Calibration.read(path).aperture
    assert found.lens.f_number == pytest.approx(1.4, rel=0.05)
    assert found.lens.pixel_pitch == pytest.approx(rig.lens.pixel_pitch, rel=5e-3)
    for d in distances:
        assert found.magnification(d) == pytest.approx(magnification(d, 16e-3), rel=1e-3)
    assert found.magnification(math.inf) == 1
    assert (tmp_path / 'calibration_aperture.png').is_file()
    assert 'in focus at 0.45' in capsys.readouterr().out


def values_of(rig, near, far, count):
    return np.linspace(rig.control_value(far), rig.control_value(near), count)


def test_focus_map_from_sweeps_feeds_the_aperture_calibration(tmp_path, capsys):
    rig = SimulatedRig(240, 180, f_number=0.8)
    values, folders = values_of(rig, 0.24, 1.6, 12), []
    for target in (0.3, 0.45, 1.0):
        folders.append(tmp_path / f'{target}')
        rig.write_sweep(folders[-1], target, values, 'texture')
    path = tmp_path / 'calibration.yaml'
    assert dfd('calibrate', 'focus', *folders, '--calibration', path) == 0
    found = Calibration.read(path).focus
    for d in (0.3, 0.45, 0.6, 1.0):
        assert vergence(found.focus_distance(rig.control_value(d))) == pytest.approx(vergence(d), abs=0.06)
    assert found.sweeps == 3 and found.residual < 0.06
    assert (tmp_path / 'calibration_focus.png').is_file()
    capsys.readouterr()
    options = '--focal-length', 16, '--pixel-pitch', rig.lens.pixel_pitch * 1e6, '--calibration', path
    assert dfd('calibrate', 'aperture', folders[1], *options) == 0
    assert 'skipped' in capsys.readouterr().out  # beyond the nearest and the farthest target
    assert Calibration.read(path).aperture.lens.f_number == pytest.approx(0.8, rel=0.1)


def test_the_board_tells_its_own_distance():
    rig = SimulatedRig(400, 300, board=Board(10, 7, 0.04, 0.03))
    images = [rig.photograph('board', 0.35, 1 / (1 / 0.35 + step)) for step in (-1.2, -0.6, 0, 0.6, 1.2)]
    recorded = recorded_sweep.Sweep('sweep', np.arange(5.0), images)
    peak = focus.peak_of(recorded, rig.board, rig.at_focus(0.35))
    assert peak.distance == pytest.approx(0.35, rel=0.01)
    assert peak.value == pytest.approx(2, abs=0.2)
    with pytest.raises(InputError, match='needs the intrinsics of the focus camera'):
        focus.peak_of(recorded)
    with pytest.raises(InputError, match='does not show the board'):
        focus.peak_of(recorded, Board(dictionary='4X4_100'), rig.at_focus(0.35))


def test_a_sweep_is_recorded_and_read_back(tmp_path):
    recorded = record_sweep(V4l2Device('sweep', FakeCamera()), [0, 50, 100], distance=0.5, settle_time=0.0)
    recorded.write(tmp_path / 'sweep')
    read = recorded_sweep.Sweep.read(tmp_path / 'sweep')
    assert read.distance == 0.5 and list(read.values) == [0, 50, 100]
    assert [image[0, 0, 0] for image in read.images] == [0, 50, 100]


@pytest.mark.parametrize('columns, rows, is_old', [(8, 6, False), (8, 6, True), (10, 7, True)])
def test_boards_of_old_opencv_are_found_too(columns, rows, is_old):
    board = Board(columns, rows)
    printed = cv2.aruco.CharucoBoard((columns, rows), 0.025, 0.018, board._dictionary)
    printed.setLegacyPattern(is_old)
    picture = np.pad(printed.generateImage((60 * columns, 60 * rows)), 60, constant_values=255)
    view = board.find(picture)
    assert len(view.ids) == (columns - 1) * (rows - 1)
    np.testing.assert_allclose(view.corners, 60 + view.points[:, :2] / 0.025 * 60 - 0.5, atol=1.0)
    with pytest.raises(InputError, match='not as on a board of 9x6'):
        Board(9, 6).find(picture)


def test_images_are_as_the_sensor_stores_them(tmp_path):
    picture = Board().picture(60, margin=60)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    Image.fromarray(picture).save(tmp_path / 'upright.png')
    Image.fromarray(picture).save(tmp_path / 'held_upside_down.png', exif=exif)
    (held, upright), _ = find_boards(tmp_path, Board(), 2)
    np.testing.assert_allclose(held.corners, upright.corners, atol=0.01)


def test_target_is_a_picture_that_prints_to_scale(tmp_path):
    assert dfd('calibrate', 'target', '--out', tmp_path / 'board.png') == 0
    picture = Image.open(tmp_path / 'board.png')
    assert picture.width / picture.info['dpi'][0] * 25.4 == pytest.approx(250, rel=1e-3)
    assert len(Board().find(np.asarray(picture.convert('RGB'))).ids) == 9 * 6
    assert dfd('calibrate', 'target', '--texture', '--out', tmp_path / 'texture.png') == 0
    assert np.asarray(Image.open(tmp_path / 'texture.png')).std() > 20
    assert dfd('calibrate', 'target', '--out', tmp_path / 'board.pdf') == 0
    page = re.search(rb'MediaBox \[ 0 0 ([\d.]+) ', (tmp_path / 'board.pdf').read_bytes())
    assert float(page[1]) / 72 * 25.4 == pytest.approx(250, rel=1e-3)


def test_every_part_has_help_and_an_example(capsys):
    for part in ('target', 'sweep', 'intrinsics', 'extrinsics', 'focus', 'aperture'):
        assert dfd('calibrate', part, '--help') == 0
        assert f'example:\n  dfd calibrate {part} ' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['intrinsics', '{boards}/none'], 'no such folder'),
        (['intrinsics', '{empty}'], 'empty: no images'),
        (
            ['intrinsics', '{boards}/focus', '--dictionary', '4X4_100'],
            'was found in 0 of 14 images, at least 5 are needed',
        ),
        (['intrinsics', '{boards}/focus', '--squares', '9x7'], 'but not as on a board of 9x7 squares; check --squares'),
        (['intrinsics', '{boards}/focus', '--squares', 'ten'], '--squares ten: must be columns x rows'),
        (['intrinsics', '{boards}/focus', '--squares', '40x40'], 'needs 800 markers'),
        (['intrinsics', '{boards}/focus', '--dictionary', 'X'], "no marker dictionary 'X'"),
        (['intrinsics', '{boards}/focus', '--marker', '30'], 'must be smaller than the squares'),
        (['target', '--out', 'x.bmp'], 'must end in .pdf or .png'),
        (['target', '--square', 'inf', '--out', 'x.png'], 'squares of inf mm'),
        (['target', '--square', '999', '--marker', '900', '--out', 'x.png'], 'too large to be printed'),
        (['target', '--marker', '1e-30', '--out', 'x.png'], 'too small for squares of 25 mm'),
        (['sweep', '--first', '0', '--last', 'inf', '--out', 'x'], '--last inf: must be at most'),
        (['sweep', '--first', '0', '--last', '9', '--steps', '2147483648', '--out', 'x'], 'more than the integers'),
        (['intrinsics', '{boards}/focus', '--focus-distance', '0'], '--focus-distance 0.0: must be positive'),
        (
            ['extrinsics', '{boards}/focus', '{boards}/rgbd'],
            'no focus_camera; run dfd calibrate intrinsics --camera focus',
        ),
        (['focus', '{boards}/focus'], 'sweep.yaml: no such file'),
        (['aperture', '{boards}/none'], 'no such folder'),
        (['aperture', '{boards}/none', '--pixel-pitch', '-1'], '--pixel-pitch -1.0: must be positive'),
        (['sweep', '--first', '0', '--last', '9', '--steps', '20', '--out', 'x'], 'more than the integers'),
        (['sweep', '--first', '0', '--last', '99', '--device', '/dev/video77', '--out', 'x'], 'cannot open the camera'),
        ([], 'required: STEP'),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, says, boards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    assert dfd('calibrate', *(a.format(boards=boards, empty=tmp_path / 'empty') for a in arguments)) == 2
    said = capsys.readouterr()
    last = said.err.strip().splitlines()[-1]
    assert last.startswith('dfd: error: ') and says in last
    assert said.err.count('dfd: error') == 1 and 'Traceback' not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ['empty']


def test_views_that_are_all_alike_do_not_calibrate(boards):
    view = RIG.board.find(np.asarray(Image.open(boards / 'focus' / '00.png')), '00')
    rng = np.random.default_rng(0)
    facing = [
        replace(
            view,
            corners=(view.points[:, :2] * (1500 + 10 * i) + 100 + rng.normal(0, 0.1, (len(view.ids), 2))).astype(
                np.float32
            ),
        )
        for i in range(6)
    ]
    with pytest.raises(InputError, match='tilted'):
        calibrate_intrinsics(facing, (400, 300))
    with pytest.raises(InputError, match='2 views of the board, but at least 5'):
        calibrate_intrinsics(facing[:2], (400, 300))
    scrambled = [replace(view, corners=rng.uniform(0, 300, view.corners.shape).astype(np.float32)) for _ in range(6)]
    with pytest.raises(InputError, match='intrinsics: '):
        calibrate_intrinsics(scrambled, (400, 300))


def test_pairs_that_do_not_belong_together(boards, cameras):
    known, views = Calibration.read(cameras), {}
    for camera in ('focus', 'rgbd'):
        views[camera] = [
            RIG.board.find(np.asarray(Image.open(path)), path.stem) for path in sorted((boards / camera).glob('*.png'))
        ]
    settings = known.rgbd_camera, 'parent', 'child'
    renamed = [replace(view, name=f'other {view.name}') for view in views['rgbd']]
    with pytest.raises(InputError, match='0 pairs of images of one name'):
        calibrate_extrinsics(views['focus'], known.focus_camera, renamed, *settings)
    shifted = views['rgbd'][1:] + views['rgbd'][:1]
    mixed = [replace(view, name=other.name) for view, other in zip(views['rgbd'], shifted)]
    with pytest.raises(InputError, match='the corners miss by .* px, most in pair'):
        calibrate_extrinsics(views['focus'], known.focus_camera, mixed, *settings)


def test_sharpest_value_lies_between_the_steps():
    values = np.arange(0.0, 100, 10)
    for true in (31.0, 45.0, 58.0):
        sharpness = np.exp(-(((values - true) / 15) ** 2))
        assert recorded_sweep.sharpest_value(values, sharpness, 's') == pytest.approx(true, abs=0.5)
    for curve, says in (
        (np.exp(-values / 20), 'is sharpest at the end of the sweep'),
        (np.ones(10), 'is never sharp'),
        (np.ones(3), '3 frames, a sweep needs at least 5'),
    ):
        with pytest.raises(InputError, match=says):
            recorded_sweep.sharpest_value(values[: len(curve)], curve, 's')


def peaks(*pairs):
    return [focus.SweepPeak(f'{d}', np.zeros(1), np.zeros(1), value, d) for d, value in pairs]


def test_focus_map_is_monotone_or_refused():
    line = peaks((0.2, 250.0), (0.5, 100.0), (1.0, 50.0), (2.0, 25.0))
    map_ = focus.fit_focus_map(line)
    assert map_.residual < 1e-9
    assert map_.focus_distances[0] == pytest.approx(2) and map_.values[-1] == pytest.approx(250)
    assert focus.fit_focus_map(line, to_infinity=True).values[0] == pytest.approx(0, abs=1e-6)
    for given, says in (
        (line[:1], '1 sweeps'),
        (peaks((0.5, 1.0), (0.501, 2.0)), 'clearly different distances'),
        (peaks((0.2, 250.0), (0.4, 10.0), (0.8, 220.0), (2.0, 30.0)), 'found: 0.2 m at 250'),
        (peaks((0.2, 250.0), (0.4, 250.0)), 'does not rise or fall'),
    ):
        with pytest.raises(InputError, match=says):
            focus.fit_focus_map(given)
    with pytest.raises(InputError, match='too near to extend the map to infinity'):
        focus.fit_focus_map(line[:2], to_infinity=True)


def test_hysteresis_is_the_difference_of_both_directions():
    rising = peaks((0.2, 250.0), (0.5, 100.0), (1.0, 50.0))
    falling = [replace(peak, value=peak.value - 6, falling=True) for peak in peaks((0.25, 200.0), (0.4, 125.0))]
    both = focus.fit_focus_map([*rising, *falling])
    assert both.hysteresis == pytest.approx(6) and both.residual < 1e-9
    assert both.hysteresis_dioptre == pytest.approx(6 / 50)
    assert both.values == pytest.approx(focus.fit_focus_map(rising).values)
    assert math.isnan(focus.fit_focus_map(rising).hysteresis) and math.isnan(focus.fit_focus_map(falling).hysteresis)


def test_sweeps_that_show_no_blur_scale():
    flat = [np.full((120, 160, 3), 128, np.uint8)] * 5
    distances = [1.0, 0.8, 0.6, 0.5, 0.4]
    with pytest.raises(InputError, match='no texture'):
        measure_aperture(flat, distances)
    with pytest.raises(InputError, match='1 focus distances, but at least 4'):
        measure_aperture(flat, [1.0] * 5)
    rig = SimulatedRig(160, 120)
    far = [rig.photograph('texture', 0.3, d) for d in distances]
    with pytest.raises(InputError, match='is never sharp'):
        measure_aperture(far, distances)
    stopped = SimulatedRig(160, 120, f_number=16.0)
    sharp = [stopped.photograph('texture', 0.6, d) for d in distances]
    with pytest.raises(InputError, match='px are needed|is never sharp'):
        measure_aperture(sharp, distances)


@pytest.mark.parametrize(
    'text, says',
    [
        ('frames: []', ''),
        ('frames: [{file: a.png}]', 'frames[0], value: is missing'),
        ('frames: [{file: a.png, value: .nan}]', 'value: nan should be a finite number'),
        ('[', 'not YAML'),
        ('frames: [{file: ' + 300 * 'x' + ', value: 1}]', 'text should have at most 255 characters'),
        ('frames: [{file: a.png, value: 1}, {file: b.png, value: 1}]', 'every value must be unique'),
        ('distance_m: -1\nframes: [{file: a.png, value: 1}]', 'distance_m: -1 should be above 0'),
        ('frames: [{file: a.png, value: 1}]', 'a.png: no such image'),
    ],
)
def test_a_bad_sweep_names_its_file(text, says, tmp_path):
    (tmp_path / 'sweep.yaml').write_text(text)
    if not says:
        with pytest.raises(InputError, match='0 frames, a sweep needs at least 5'):
            focus.peak_of(recorded_sweep.Sweep.read(tmp_path))
        return
    with pytest.raises(InputError) as raised:
        recorded_sweep.Sweep.read(tmp_path)
    assert str(tmp_path) in str(raised.value) and says in str(raised.value) and '\n' not in str(raised.value)
