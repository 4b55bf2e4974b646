"""RGB-D images as a focus camera: the blur is that of the lens, edges hide what is behind, holes stay holes."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ros.cameras.rgbd_source import RgbdSource
from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.rgbd_scene import RgbdScene, fill_depth

LENS = Lens(0.05, 1.4, 0.05 / 100)
SIZE = 64, 96


def noise(seed=0):
    """(H, W, 3) uint8 with texture in every pixel."""
    return np.random.default_rng(seed).integers(30, 226, (*SIZE, 3), np.uint8)


def dot():
    """A bright pixel in the middle of a dark wall."""
    color = np.zeros((*SIZE, 3), np.uint8)
    color[SIZE[0] // 2, SIZE[1] // 2] = 255
    return color


@settings(max_examples=15)
@given(st.floats(0.8, 4.0), st.floats(0.5, 8.0))
def test_a_flat_wall_is_blurred_as_the_lens_formula_says(distance, focus_distance):
    """Second moment of the light of a point: that of a disc with the circle of confusion."""
    scene = RgbdScene(dot(), np.full(SIZE, distance, np.float32))
    light = scene.photograph(LENS, focus_distance)[0, 0].double()
    y, x = torch.meshgrid(torch.arange(SIZE[0]) - SIZE[0] // 2, torch.arange(SIZE[1]) - SIZE[1] // 2, indexing='ij')
    diameter = math.sqrt(8 * (light * (x**2 + y**2)).sum() / light.sum())
    assert diameter == pytest.approx(LENS.coc_px(distance, focus_distance), rel=0.02, abs=0.02)
    assert light.sum() == pytest.approx(1.0, rel=5e-3)


def test_only_points_out_of_focus_change():
    depth = np.full(SIZE, 3.0, np.float32)
    depth[:, :48] = 1.0
    color = noise()
    scene = RgbdScene(color, depth)
    sharp = srgb_decode(torch.from_numpy(color).permute(2, 0, 1)[None].float() / 255)
    reach = 8
    for focus, here, there in (
        (1.0, slice(0, 48 - reach), slice(48 + reach, 96)),
        (3.0, slice(48 + reach, 96), slice(0, 48 - reach)),
    ):
        error = (scene.photograph(LENS, focus) - sharp).abs()
        assert error[..., here].max() < 1e-3 < 0.05 < error[..., there].mean()


@pytest.mark.slow(reason='two photographs of a wide aperture are rendered')
def test_a_sharp_near_edge_is_not_blurred_by_its_background():
    depth, color = np.full(SIZE, 3.0, np.float32), np.zeros((*SIZE, 3), np.uint8)
    depth[:, :48], color[:, :48] = 1.0, 255
    near_in_focus = RgbdScene(color, depth).photograph(LENS, 1.0)[0, 0, 32]
    torch.testing.assert_close(near_in_focus, (torch.arange(96) < 48).float(), rtol=0, atol=1e-3)
    far_in_focus = RgbdScene(color, depth).photograph(LENS, 3.0)[0, 0, 32]
    assert 0.5 < far_in_focus[47] < 0.95 and 0.05 < far_in_focus[48] < 0.5  # the near light spreads over the wall


def test_a_slanted_wall_has_no_seams():
    """One colour everywhere stays that colour, whatever the slices."""
    depth = np.broadcast_to(np.linspace(0.8, 4.0, SIZE[1], dtype=np.float32), SIZE)
    image = RgbdScene(np.full((*SIZE, 3), 128, np.uint8), depth).photograph(LENS, 1.3)
    assert (image - image.median()).abs().max() < 0.01


def test_holes_are_filled_with_what_is_farther():
    nan = np.nan
    depth = np.array([[nan, nan, nan, nan], [1.0, nan, nan, 3.0], [nan, 2.0, nan, nan]], np.float32)
    np.testing.assert_array_equal(fill_depth(depth), [[1, 3, 3, 3], [1, 3, 3, 3], [2, 2, 2, 2]])
    with pytest.raises(InputError, match='no pixel has a depth'):
        fill_depth(np.full((2, 2), nan, np.float32))


@pytest.fixture
def folder(tmp_path):
    for i in range(2):
        depth = np.full(SIZE, 1500 + 100 * i, np.uint16)
        depth[:, :40], depth[10:20, 60:70] = 1000, 0
        cv2.imwrite(str(tmp_path / f'color_{i}.png'), noise(i)[..., ::-1])
        cv2.imwrite(str(tmp_path / f'depth_{i}.png'), depth)
    return tmp_path


def test_a_frame_is_that_of_a_whole_rig(folder):
    (folder / 'intrinsics.yaml').write_text('{fx: 100, fy: 101, cx: 47.0, cy: 31.0}')
    source = RgbdSource(folder, settle_time=0.1)
    source.focus(1.0, 5.0)
    assert not source.capture(5.05).lens_state.settled
    frame = source.capture(5.2)
    state = frame.lens_state
    assert state.settled and state.focus_distance == 1.0 and state.focal_length / state.pixel_pitch == 100
    assert state.near == pytest.approx(1 / 1.1) and state.far == pytest.approx(1.6 * 1.1)
    assert frame.rgbd.camera.fy == 101 and (frame.rgbd.depth[10:20, 60:70] == 0).all()
    assert np.isnan(frame.depth[10:20, 60:70]).all() and frame.depth[0, 0] == 1.0
    near = np.abs(frame.image[8:-8, 8:28].astype(int) - noise(0)[8:-8, 8:28])
    far = np.abs(frame.image[24:-8, 50:88].astype(int) - noise(0)[24:-8, 50:88])
    assert near.mean() < 6 < 10 < far.mean()  # 1.2 px of blur
    assert (source.capture(5.2).image != frame.image).any()  # the noise is new
    assert source.capture(7.2).rgbd.depth[0, 95] == 1600  # the next image
    assert source.capture(9.2).rgbd.depth[0, 95] == 1500  # and back


def test_resized_with_its_intrinsics(folder):
    source = RgbdSource(folder, width=48)
    frame = source.capture(0.0)
    assert frame.image.shape == (32, 48, 3) and frame.rgbd.depth.shape == (32, 48)
    assert set(np.unique(frame.rgbd.depth)) <= {0, 1000, 1500} and frame.rgbd.camera.fx == pytest.approx(525 * 48 / 640)
    assert frame.lens_state.focal_length / frame.lens_state.pixel_pitch == pytest.approx(525 * 48 / 640)


@pytest.mark.parametrize(
    'break_it, words',
    [
        (lambda f: (f / 'depth_1.png').unlink(), 'depth_1.png: no such file'),
        (lambda f: cv2.imwrite(str(f / 'depth_1.png'), np.zeros(SIZE, np.uint8)), 'must be of one channel of 16 bits'),
        (lambda f: cv2.imwrite(str(f / 'depth_1.png'), np.zeros(SIZE, np.uint16)), 'depth_1.png: no pixel has a depth'),
        (lambda f: (f / 'color_1.png').write_bytes(b'no image'), 'color_1.png: cannot be read as an image'),
        (
            lambda f: cv2.imwrite(str(f / 'depth_1.png'), np.ones((9, 9), np.uint16)),
            'depth_1.png: .* register the depth',
        ),
        (
            lambda f: [
                cv2.imwrite(str(f / name), np.ones((9, 9), np.uint16).astype(kind))
                for name, kind in (('color_1.png', np.uint8), ('depth_1.png', np.uint16))
            ],
            'color_1.png: of 9x9 pixels, but the first image has 96x64',
        ),
        (lambda f: cv2.imwrite(str(f / 'depth_0.png'), np.ones((9, 9), np.uint16)), 'register the depth to the colour'),
        (lambda f: (f / 'intrinsics.yaml').write_text('fx: 1'), 'must give fx, fy, cx and cy'),
        (
            lambda f: (f / 'intrinsics.yaml').write_text('{fx: 1e9, fy: 101, cx: 47.0, cy: 31.0}'),
            'intrinsics.yaml: fx, fy, cx, cy of 1e.09, 101, 47, 31 px are of no camera of 96x64 px',
        ),
        (lambda f: [p.unlink() for p in f.iterdir()], 'no color_N.jpg'),
    ],
)
def test_what_is_broken_is_told_in_one_line(folder, break_it, words):
    break_it(folder)
    with pytest.raises(InputError, match=words) as error:
        RgbdSource(folder)
    assert '\n' not in str(error.value)
