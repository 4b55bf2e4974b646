"""Published RGB-D sets as views: small files in exactly their layouts."""

import re
import shutil
from dataclasses import replace

import numpy as np
import public_files
import pytest
import torch
from PIL import Image

from dfd_ros.core.colour import srgb_decode
from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.rgbd_sets.hypersim import exposed, planar_depth
from dfd_ros.synthesis.rgbd_sets.view_sources import open_views

SETS = {'hypersim': public_files.hypersim, 'tartanair': public_files.tartanair, 'rgbd': public_files.rgbd}


def test_hypersim_has_planar_depth_and_the_published_exposure(tmp_path):
    depth = public_files.hypersim(tmp_path)
    source = open_views(f'hypersim:{tmp_path}')
    view = source.read(0)
    assert len(source) == 1 and view.focal_length == pytest.approx(886.81 / 8)
    np.testing.assert_allclose(view.depth[1:], depth[1:], rtol=2e-3)  # half floats
    assert np.isinf(view.depth[0, 0])
    brightness = view.colour @ np.array([0.3, 0.59, 0.11])
    assert np.percentile(brightness, 90) ** (1 / 2.2) == pytest.approx(0.8, rel=1e-2)


def test_the_depth_of_a_corner_is_that_of_its_ray():
    depth = planar_depth(np.ones((768, 1024), np.float32))
    assert depth[0, 0] == pytest.approx(886.81 / np.sqrt(511.5**2 + 383.5**2 + 886.81**2))
    assert depth[384, 512] == pytest.approx(1, abs=1e-6)


def test_exposure_of_dark_and_empty_images():
    light = np.full((4, 4, 3), 1e-6, np.float32)
    assert not exposed(light, np.ones((4, 4), bool)).any()
    np.testing.assert_array_equal(exposed(light, np.zeros((4, 4), bool)), light)


@pytest.mark.parametrize('name', ['tartanair', 'rgbd'])
def test_16_bit_colour_images_of_a_set_have_one_exposure(tmp_path, name):
    SETS[name](tmp_path)
    for path in sorted(tmp_path.rglob('*')):  # two images more for each
        if path.is_file() and path.suffix != '.yaml':
            shutil.copy(path, path.with_name(path.name.replace('a.', 'b.').replace('00000', '00001')))
            shutil.copy(path, path.with_name(path.name.replace('a.', 'c.').replace('00000', '00002')))
    files = sorted([*tmp_path.rglob('image_left/*'), *tmp_path.rglob('color/*')])
    for i, path in enumerate(files):
        Image.fromarray(np.full((96, 128), 3200 if i else 800, np.uint16)).save(path)
    source = open_views(f'{name}:{tmp_path}')
    levels = [source.read(i).colour.mean() for i in range(2)]
    np.testing.assert_allclose(levels, srgb_decode(np.array([50, 200], np.float32) / 255), rtol=1e-5)


def test_tartanair(tmp_path):
    depth = public_files.tartanair(tmp_path)
    source = open_views(f'tartanair:{tmp_path}')
    view = source.read(1)
    assert len(source) == 2 and view.focal_length == 64
    np.testing.assert_array_equal(view.depth, depth)
    np.testing.assert_allclose(view.colour.max(), 1)


def test_nyuv2_is_turned_upright_and_cut_inside_its_rim(tmp_path):
    depth = public_files.nyuv2(tmp_path / 'nyu_depth_v2_labeled.mat')
    source = open_views(f'nyuv2:{tmp_path / "nyu_depth_v2_labeled.mat"}')
    colour, read = source.rgbd(1)
    assert len(source) == 2
    np.testing.assert_array_equal(colour, public_files.texture(480, 640, 1)[45:471, 41:601])
    np.testing.assert_array_equal(read, depth[45:471, 41:601])
    assert source.read(0).colour.shape == (426, 560, 3)


@pytest.mark.parametrize('suffix', ['.png', '.npy', '.exr'])
def test_a_folder_of_rgbd_images(tmp_path, suffix):
    depth = public_files.rgbd(tmp_path)
    if suffix != '.png':
        (tmp_path / 'depth' / 'a.png').unlink()
    if suffix == '.npy':
        np.save(tmp_path / 'depth' / 'a.npy', depth)
    if suffix == '.exr':
        public_files.half_exr(tmp_path / 'depth' / 'a.exr', depth)
    view = open_views(f'rgbd:{tmp_path}').read(0)
    assert view.focal_length == 110
    np.testing.assert_allclose(view.depth[depth > 0], depth[depth > 0])
    np.testing.assert_allclose(view.depth[10:20, 40:50], 0.5)  # a hole is filled


def test_no_reading_is_no_depth(tmp_path):
    """Some sensors write 65535 for it, which is not 65.5 m. Whole numbers in a NumPy file are rather millimetres."""
    depth = public_files.rgbd(tmp_path)
    path = tmp_path / 'depth' / 'a.png'
    Image.fromarray(np.where(depth > 0, np.round(depth * 1000), 65535).astype(np.uint16)).save(path)
    assert open_views(f'rgbd:{tmp_path}').read(0).depth.max() == pytest.approx(2)
    path.unlink()
    np.save(path.with_suffix('.npy'), (depth * 1000).astype(np.uint16))
    with pytest.raises(InputError, match=r'a.npy: uint16 \(96, 128\), expected metres as float32'):
        open_views(f'rgbd:{tmp_path}').read(0)


@pytest.mark.parametrize('name', SETS)
def test_a_stack_is_a_function_of_seed_and_source(tmp_path, name):
    SETS[name](tmp_path)
    settings = replace(
        StackSettings.field(), height=48, width=48, frames=3, ramp=(3, 3), views_share=1.0, views=f'{name}:{tmp_path}'
    )
    stack, same = render_stack(3, settings), render_stack(3, settings)
    torch.testing.assert_close(stack.images, same.images)
    assert stack.images.float().std() > 5 and torch.isfinite(stack.vergence).float().mean() > 0.5


@pytest.mark.parametrize('text', ['{fx: 110}', '110', '{fx: .inf, fy: 110, cx: 63.5, cy: 47.5}'])
def test_rgbd_without_intrinsics_is_named(tmp_path, text):
    public_files.rgbd(tmp_path)
    path = tmp_path / 'intrinsics.yaml'
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(f'{path}: expected {{fx: 525.0')):
        open_views(f'rgbd:{tmp_path}')
    path.unlink()
    with pytest.raises(InputError, match='intrinsics.yaml: no such file, RGB-D images need one'):
        open_views(f'rgbd:{tmp_path}')


def test_depth_of_another_size_is_named(tmp_path):
    public_files.rgbd(tmp_path)
    Image.fromarray(np.ones((48, 64), np.uint16)).save(tmp_path / 'depth' / 'a.png')
    with pytest.raises(InputError, match=r'depth/a.png: depth is 64x48, expected 128x96 like its colour image'):
        open_views(f'rgbd:{tmp_path}').read(0)


def test_depth_of_8_bit_and_no_depth_are_named(tmp_path):
    public_files.rgbd(tmp_path)
    path = tmp_path / 'depth' / 'a.png'
    Image.fromarray(np.ones((96, 128), np.uint8)).save(path)
    with pytest.raises(InputError, match=r'depth/a.png: .*must be of one channel of 16 bits'):
        open_views(f'rgbd:{tmp_path}').read(0)
    path.unlink()
    with pytest.raises(InputError, match=r'depth/a.png: no depth image for .*color/a.png'):
        open_views(f'rgbd:{tmp_path}').read(0)


@pytest.mark.parametrize(
    'name, should', [('hypersim', 'scene_cam_XX_final_hdf5'), ('tartanair', 'image_left'), ('rgbd', 'intrinsics.yaml')]
)
def test_a_wrong_folder_layout_is_named_with_the_right_one(tmp_path, name, should):
    with pytest.raises(InputError, match=should) as error:
        open_views(f'{name}:{tmp_path}')
    assert str(tmp_path) in str(error.value)
    with pytest.raises(InputError, match='no such folder'):
        open_views(f'{name}:{tmp_path / "none"}')


def test_files_that_are_no_nyuv2(tmp_path):
    path = tmp_path / 'nyu.mat'
    public_files.hdf5(path, images=np.zeros((2, 640, 480), np.uint8))
    with pytest.raises(InputError, match=r'nyu.mat: "images" is \(2, 640, 480\), it should be \(N, 3, 640, 480\)'):
        open_views(f'nyuv2:{path}')
    path.write_text('MATLAB')
    with pytest.raises(InputError, match='nyu.mat: cannot be read as HDF5'):
        open_views(f'nyuv2:{path}')


def test_hypersim_without_its_depth_is_named(tmp_path):
    public_files.hypersim(tmp_path)
    path = next(tmp_path.rglob('*.depth_meters.hdf5'))
    path.unlink()
    with pytest.raises(InputError, match=re.escape(f'{path}: no such file')):
        open_views(f'hypersim:{tmp_path}').read(0)
