"""dfd stack init, and dfd estimate on what has no stack.yaml."""

import json

import cv2
import numpy as np
import pytest
import yaml
from command_line import dfd
from focus_pictures import HEIGHT, WIDTH, photograph, save_all, sweep

from dfd_ros.cli._estimate_files import FILES
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.photographs import read_focal_stack

pytestmark = pytest.mark.slow(reason='whole commands, one after the other')

PHONE = {'FocalLength': (43, 10), 'FNumber': (18, 10), 'FocalLengthIn35mmFilm': 26}


@pytest.fixture
def photographs(tmp_path):
    return save_all(tmp_path / 'desk', sweep(5, breathing=0.05)[::-1], **PHONE)


def test_the_file_has_what_is_known_and_says_what_is_not(photographs, capsys):
    assert dfd('stack', 'init', photographs) == 0
    said = capsys.readouterr().out
    assert 'complete it, then: dfd estimate' in said and 'order of sharpness' in said
    text = (photographs / 'stack.yaml').read_text()
    content = yaml.safe_load(text)
    assert content['lens'] == pytest.approx(
        {'focal_length_mm': 4.3, 'f_number': 1.8, 'sensor_width_mm': 5.72}, abs=0.01
    )
    assert content['order'] == 'far_to_near'
    assert [frame['file'] for frame in content['frames']] == [f'IMG_{i}.jpg' for i in (5, 4, 3, 2, 1)]
    assert {frame['focus_distance_m'] for frame in content['frames']} == {None}
    for part in ('from EXIF', '# null means unknown', '1 / dioptres', 'docs/focal_stacks.md'):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120


def test_it_is_relative_until_it_is_completed(photographs):
    assert dfd('stack', 'init', photographs) == 0
    direct = read_focal_stack(photographs)
    assert not direct.is_metric and 'stack.yaml, far to near' in direct.focus_source
    path = photographs / 'stack.yaml'
    for distance in ('.inf', '2.0', '1.0', '0.67', '0.5'):
        path.write_text(path.read_text().replace('focus_distance_m: null', f'focus_distance_m: {distance}', 1))
    stack = FocalStack.read(photographs)
    assert stack.is_metric and (stack.range.near, stack.range.far) == (0.5, np.inf)


def test_nothing_is_overwritten_unasked(photographs, capsys):
    (photographs / 'stack.yaml').write_text('mine')
    assert dfd('stack', 'init', photographs) == 2
    assert 'stack.yaml: already exists; edit it, or replace it with --overwrite' in capsys.readouterr().err
    assert (photographs / 'stack.yaml').read_text() == 'mine'


def test_what_lacks_for_metres_is_said_of_a_stack_yaml_too(photographs, tmp_path, capsys):
    assert dfd('stack', 'init', photographs) == 0
    assert dfd('estimate', photographs, '--out', tmp_path / 'out', '--network', 'best_focus') == 0
    assert f'no metres: give the focus distances in {photographs}/stack.yaml\n' in capsys.readouterr().out
    assert dfd('stack', 'init', photographs, '--overwrite', '--order', 'far_to_near') == 0
    content = yaml.safe_load((photographs / 'stack.yaml').read_text())
    assert [frame['file'] for frame in content['frames']] == [f'IMG_{i}.jpg' for i in range(1, 6)]


def test_distances_of_exif_are_filled_in(tmp_path):
    distances = [(0xFFFFFFFF, 1), (2, 1), (1, 1), (1, 2)]
    folder = save_all(tmp_path / 'a "quoted" name', sweep(4), distances)
    assert dfd('stack', 'init', folder) == 0
    content = yaml.safe_load((folder / 'stack.yaml').read_text())
    assert [frame['focus_distance_m'] for frame in content['frames']] == [np.inf, 2.0, 1.0, 0.5]
    assert 'order' not in content and content['lens']['focal_length_mm'] is None


def test_frames_of_a_video_are_written(tmp_path, capsys):
    path, out = tmp_path / 'pull.mp4', tmp_path / 'stacks' / 'desk'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 30, (WIDTH, HEIGHT))
    for focus in np.linspace(0, 1, 30):
        writer.write(photograph(float(focus))[..., ::-1])
    writer.release()
    assert dfd('stack', 'init', path) == 2
    assert '--out: give a new folder for the frames of' in capsys.readouterr().err
    assert dfd('stack', 'init', path, '--out', out) == 0
    assert len(list(out.glob('*.png'))) == 10
    again, direct = read_focal_stack(out), read_focal_stack(path)
    assert not again.is_metric
    for (image, state), (image_again, state_again) in zip(direct, again, strict=True):
        np.testing.assert_array_equal(image, image_again)
        assert state.focus_distance == state_again.focus_distance
    assert dfd('stack', 'init', path, '--out', out) == 2
    assert 'desk: already exists' in capsys.readouterr().err


def test_a_damaged_video_is_an_error_without_warnings_of_opencv(tmp_path, capfd):
    path = tmp_path / 'pull.mp4'
    path.write_bytes(bytes(range(256)) * 20)
    assert dfd('stack', 'init', path, '--out', tmp_path / 'desk') == 2
    said = capfd.readouterr().err
    assert 'pull.mp4: cannot be read as a video; convert it to MP4 with H.264\n' in said and 'WARN' not in said


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['nowhere'], 'nowhere: no such file or folder'),
        (['notes.txt'], 'notes.txt: give a folder of images, a video of a focus pull, or a TIFF file'),
        (['.', '--out', 'x'], '--out: the stack.yaml of a folder is written into it'),
        (['.'], 'no focal stack: no photographs in it'),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').touch()
    assert dfd('stack', 'init', *arguments) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1


def test_estimates_of_photographs_without_distances_are_relative(photographs, tmp_path, capsys):
    out = tmp_path / 'out'
    assert dfd('estimate', photographs, '--out', out, '--network', 'best_focus', '--field-of-view', 60) == 0
    said = capsys.readouterr().out
    for part in ('order of sharpness', 'lens       unknown', 'range      unknown', 'relative, known for', 'no metres'):
        assert part in said
    assert f'a stack.yaml: dfd stack init {photographs}\n' in said
    assert {path.name for path in out.iterdir()} == set(FILES) - {'depth.npy', 'depth_mm.png', 'cloud.ply', 'cloud.glb'}
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['metric'] is False and summary['range_m'] is None and summary['focus_distances_m'] is None
    assert summary['depth']['median_m'] is None and not summary['lens']['known']
    depth = np.load(out / 'relative_depth.npy')
    assert depth.dtype == np.float32 and np.nanmin(depth) >= 0 and np.nanmax(depth) <= 1
    # The columns of the scene come nearer from left to right.
    columns = [np.nanmedian(column) for column in np.array_split(depth, 4, 1)]
    assert (np.diff(columns) > 0).all()


def test_the_order_can_be_turned_round(photographs, tmp_path):
    medians = []
    for order in ('far_to_near', 'near_to_far'):
        out = tmp_path / order
        assert dfd('estimate', photographs, '--out', out, '--network', 'best_focus', '--order', order) == 0
        depth = np.load(out / 'relative_depth.npy')
        medians.append([np.nanmedian(column) for column in np.array_split(depth, 4, 1)])
    assert (np.diff(medians[0]) < 0).all() and (np.diff(medians[1]) > 0).all()


def test_files_with_metres_of_an_earlier_run_do_not_stay(photographs, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    depth, summary = tmp_path / 'out' / 'depth.npy', tmp_path / 'out' / 'summary.json'
    np.save(depth, np.zeros(3))
    command = 'estimate', photographs, '--out', tmp_path / 'out', '--network', 'best_focus'
    for text in ('', '[]', '{"files": 3}', '{"files": ["cloud.ply"]}'):  # it may be anybody's
        summary.write_text(text)
        assert dfd(*command) == 2
        assert f'{depth}: would be taken for a result' in capsys.readouterr().err and depth.exists()
    summary.write_text('{"files": ["depth.npy"]}')
    assert dfd(*command) == 0
    assert not depth.exists()


@pytest.mark.parametrize('command', ['estimate', 'refocus'])
def test_what_needs_metres_says_so(photographs, tmp_path, capsys, command):
    options = ['--near', 0.5] if command == 'estimate' else ['--focus', 1]
    assert dfd(command, photographs, '--out', tmp_path / 'out', *options) == 2
    said = capsys.readouterr().err
    assert 'no focus distances' in said and 'dfd stack init' in said and said.count('\n') == 1
