"""The files of dfd estimate: depth in several formats, the summary, and what is left out."""

import argparse
import json
import math

import numpy as np
import pytest
from command_line import dfd
from PIL import Image

from dfd_ros.cli._estimate_files import FILES, write_millimetres
from dfd_ros.cli.estimate import _warning
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState

pytestmark = pytest.mark.slow(reason='whole commands read and write files')

SIZE = 48, 64
LENS = {'focal_length': 0.005, 'f_number': 2.0, 'pixel_pitch': 5e-6}


def write_stack(folder, foci=(math.inf, 2.0, 0.5), **lens):
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in foci]
    FocalStack(images, [LensState(focus, **lens) for focus in foci]).write(folder, overwrite=True)
    return folder


def estimate(stack, out, *options):
    assert dfd('estimate', stack, '--out', out, '--network', 'best_focus', *options) == 0
    return json.loads((out / 'summary.json').read_text())


def test_the_formats_of_depth_agree(tmp_path):
    summary = estimate(write_stack(tmp_path / 'stack', (3.0, 1.0, 0.5), **LENS), tmp_path / 'out')
    depth = np.load(tmp_path / 'out' / 'depth.npy')
    millimetres = np.asarray(Image.open(tmp_path / 'out' / 'depth_mm.png'))
    assert millimetres.dtype == np.uint16 and millimetres.shape == SIZE
    np.testing.assert_allclose(millimetres, np.where(np.isnan(depth), 0, depth * 1000), atol=0.5)
    points = int((tmp_path / 'out' / 'cloud.ply').read_bytes().split(b'element vertex ')[1].split(b'\n')[0])
    assert points == np.isfinite(depth).sum()
    assert (
        set(summary['files'])
        == set(FILES) - {'relative_depth.npy'}
        == {path.name for path in (tmp_path / 'out').iterdir()}
    )


def test_sixteen_bits_hold_no_wrong_depth(tmp_path):
    depth = np.array([[math.nan, math.inf, 0.0001, 0.0005, 65.534, 65.535, 70, 1.2344]], np.float32)
    write_millimetres(tmp_path / 'depth_mm.png', depth)
    read = np.asarray(Image.open(tmp_path / 'depth_mm.png'))
    assert read.tolist() == [[0, 0, 0, 0, 65534, 0, 0, 1234]]


def test_the_summary_says_how_the_result_came_about(tmp_path, capsys):
    summary = estimate(write_stack(tmp_path / 'stack', **LENS), tmp_path / 'out', '--device', 'cpu')
    assert summary['frames'] == 3 and (summary['width'], summary['height']) == SIZE[::-1]
    assert summary['focus_distances_m'] == ['inf', 2.0, 0.5] and summary['range_m'] == {'near': 0.5, 'far': 'inf'}
    lens = {'focal_length_mm': 5.0, 'f_number': 2.0, 'pixel_pitch_um': 5.0}
    assert summary['lens'] == {'known': True, **lens, 'blur_scale_found_px': None}
    assert summary['device'] == 'cpu' and summary['precision'] in ('fp32', 'bf16') and summary['seconds'] > 0
    confidence = np.load(tmp_path / 'out' / 'confidence.npy')
    assert summary['mean_confidence'] == pytest.approx(confidence.mean(), abs=1e-4)
    depth = np.load(tmp_path / 'out' / 'depth.npy')
    assert summary['depth']['known_share'] == pytest.approx((~np.isnan(depth)).mean(), abs=1e-4)
    said = capsys.readouterr().out
    assert 'lens       known' in said and 'on cpu in' in said and 'on average' in said


@pytest.mark.parametrize(
    'given, said',
    [
        ({'mean_confidence': 0.39}, 'low: plain surfaces, little blur, or lens states that do not fit'),
        ({'mean_confidence': 0.41, 'known_share': 0.04}, 'little depth is left: confidence is below 0.5'),
        ({'mean_confidence': 0.41, 'known_share': 0.06}, None),
        ({'mean_confidence': 0.0, 'known_share': 0.0, 'unknown_because': 'the focus has not moved'}, None),
    ],
)
def test_little_depth_and_low_confidence_are_remarked_on(given, said):
    depth = {'known_share': 1.0, 'unknown_because': None} | given
    warning = _warning(argparse.Namespace(confidence=0.5), depth | {'depth': depth})
    assert warning is said is None or warning.startswith(said)


def test_low_confidence_is_printed(tmp_path, random_weights, capsys):
    stack = write_stack(tmp_path / 'stack', **LENS)
    assert dfd('estimate', stack, '--out', tmp_path / 'out', '--weights', random_weights) == 0
    assert '\n           low: plain surfaces' in capsys.readouterr().out


def test_no_cloud_without_a_field_of_view(tmp_path, capsys):
    stack, out = write_stack(tmp_path / 'stack'), tmp_path / 'out'
    estimate(stack, out, '--field-of-view', 60)
    assert (out / 'cloud.ply').exists() and (out / 'cloud.glb').exists()
    summary = estimate(stack, out)
    assert not summary['lens']['known'] and 'cloud.ply' not in summary['files']
    assert not (out / 'cloud.ply').exists() and not (out / 'cloud.glb').exists(), 'those of the earlier run'
    said = capsys.readouterr().out
    assert 'unknown except for the focus distances' in said and 'give it with --field-of-view' in said


def test_field_of_view_is_the_angle_of_the_cloud(tmp_path):
    out = tmp_path / 'out'
    estimate(write_stack(tmp_path / 'stack', (3.0, 1.0)), out, '--field-of-view', 90)
    body = (out / 'cloud.ply').read_bytes().partition(b'end_header\n')[2]
    points = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3), ('confidence', '<f4')])['xyz']
    # 90 degrees reach from the left edge of the image to the right one; the points are half a pixel inside.
    assert np.abs(points[:, 0] / points[:, 2]).max() == pytest.approx(1 - 1 / SIZE[1], abs=1e-5)


@pytest.mark.parametrize('command', [['estimate'], ['refocus', '--focus', '1', '--f-number', '2']])
def test_results_do_not_go_into_the_folder_that_is_read(command, tmp_path, capsys):
    """There they would replace the true depth of a rendered stack, or be read as photographs the next time."""
    stack = write_stack(tmp_path / 'stack', **LENS)
    before = sorted(path.name for path in stack.iterdir())
    command, *options = command
    assert dfd(command, stack, '--out', tmp_path / 'x' / '..' / 'stack', '--network', 'best_focus', *options) == 2
    assert 'is the folder that is read; give another' in capsys.readouterr().err
    assert sorted(path.name for path in stack.iterdir()) == before
