"""Public test sets: small files in exactly their layouts."""

import re

import numpy as np
import public_files
import pytest
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.hdf5_files import Hdf5File
from dfd_ros.datasets.public.ddff12 import DISPARITY_TIMES_DEPTH, Ddff12
from dfd_ros.datasets.public.fod500 import Fod500
from dfd_ros.datasets.public.nyuv2_stacks import NyuV2Stacks
from dfd_ros.datasets.public.zedd import Zedd


def test_ddff12(tmp_path):
    disparity = public_files.ddff12(tmp_path / 'trainval.h5')
    stacks = Ddff12(tmp_path / 'trainval.h5')
    (first, second) = stacks
    assert len(stacks) == 2 and len(second) == 10
    np.testing.assert_array_equal(second.images[3], public_files.texture(48, 64, 1))
    np.testing.assert_allclose(
        [DISPARITY_TIMES_DEPTH / s.focus_distance for s in first.lens_states], np.linspace(0.28, 0.02, 10)
    )
    assert np.isnan(first.depth[:4]).all()
    np.testing.assert_allclose(DISPARITY_TIMES_DEPTH / first.depth[4:], disparity[4:], rtol=1e-6)


def test_ddff12_blur_is_nine_times_the_disparity_error(tmp_path):
    public_files.ddff12(tmp_path / 'trainval.h5')
    state = Ddff12(tmp_path / 'trainval.h5')[0].lens_states[0]  # focused at 0.28 px
    assert state.lens.coc_px(DISPARITY_TIMES_DEPTH / 0.08, state.focus_distance) == pytest.approx(9 * 0.2, rel=0.03)


def test_five_of_ten_slices_are_those_of_dfv_and_fossa(tmp_path):
    public_files.ddff12(tmp_path / 'trainval.h5')
    stack = Ddff12(tmp_path / 'trainval.h5', 5)[0]
    np.testing.assert_allclose(
        [DISPARITY_TIMES_DEPTH / s.focus_distance for s in stack.lens_states],
        np.linspace(0.28, 0.02, 10)[[0, 2, 4, 6, 9]],
    )
    with pytest.raises(InputError, match='its stacks have 10 slices, not 11'):
        Ddff12(tmp_path / 'trainval.h5', 11)


def test_fod500(tmp_path):
    depth = public_files.fod500(tmp_path)
    stacks = Fod500(tmp_path)
    assert len(stacks) == 2  # the first 400 are for training
    assert [s.focus_distance for s in stacks[1].lens_states] == [0.1, 0.15, 0.3, 0.7, 1.5]
    np.testing.assert_array_equal(stacks[1].images[4], public_files.texture(64, 64, 401))
    np.testing.assert_allclose(stacks[0].depth, depth, rtol=1e-3)  # half floats
    (tmp_path / '000400_04All.tif').unlink()
    with pytest.raises(InputError, match='000400_.*All.tif: 4 images, expected 5'):
        stacks[0]


@pytest.mark.parametrize(
    'reader, write, images', [(Fod500, public_files.fod500, 'TIFF'), (Zedd, public_files.zedd, 'PNG')]
)
def test_16_bit_images_of_a_set_have_one_exposure(tmp_path, capsys, reader, write, images):
    write(tmp_path)
    files = sorted([*tmp_path.glob('*All.tif'), *tmp_path.glob('val/*/focus_stack/*')])
    for i, path in enumerate(files):
        shape = np.asarray(Image.open(path)).shape[:2]
        Image.fromarray(np.full(shape, 3200 if i % 5 else 800, np.uint16)).save(path, images)
    stacks = reader(tmp_path)
    levels = {int(image.mean()) for stack in (stacks[i] for i in range(len(stacks))) for image in stack.images}
    assert levels == {50, 200}
    assert 'the 16-bit images use 12 bits' in capsys.readouterr().err


def test_zedd(tmp_path):
    public_files.zedd(tmp_path)
    stacks = Zedd(tmp_path)
    stack = stacks[0]
    assert len(stacks) == 1 and len(stack) == 5
    np.testing.assert_allclose(
        [s.focus_distance for s in stack.lens_states], [0.8 * 1.4**run for run in (1, 3, 5, 7, 9)], atol=1e-3
    )
    assert {s.f_number for s in stack.lens_states} == {2.8}
    assert stack.images[0].shape == (480, 640, 3) and stack.depth.shape == (480, 640)
    assert np.isnan(stack.depth[0]).all() and set(np.unique(stack.depth[10:])) == {1.5, 6.0}
    assert stack.depth[100, 319] == 1.5 and stack.depth[100, 320] == 6.0  # the middle stays the middle


def test_nyuv2_is_sharp_where_the_focus_is(tmp_path):
    public_files.nyuv2(tmp_path / 'nyu.mat', 1)
    (stack,) = NyuV2Stacks(tmp_path / 'nyu.mat')
    assert [s.focus_distance for s in stack.lens_states] == [1, 1.5, 2.5, 4, 6]
    contrast = np.array([[half.std() for half in (image[:, :200], image[:, -200:])] for image in stack.images])
    assert contrast.argmax(0).tolist() == [0, 3]  # planes at 1 and 4 m


@pytest.mark.slow(reason='a data set is written')
def test_the_test_images_of_nyuv2_are_those_of_its_splits(tmp_path):
    io = pytest.importorskip('scipy.io')
    public_files.nyuv2(tmp_path / 'nyu.mat', 3)
    assert len(NyuV2Stacks(tmp_path / 'nyu.mat')) == 3
    io.savemat(tmp_path / 'splits.mat', {'testNdxs': np.array([[3]]), 'trainNdxs': np.array([[1], [2]])})
    stacks = NyuV2Stacks(tmp_path / 'nyu.mat', 2)
    assert len(stacks) == 1 and stacks[0].name.endswith('image 2')
    io.savemat(tmp_path / 'splits.mat', {'testNdxs': np.array([[4]])})
    with pytest.raises(InputError, match='splits.mat: testNdxs must be within 1 to 3'):
        NyuV2Stacks(tmp_path / 'nyu.mat')


def test_a_wrong_file_layout_is_named_with_the_right_one(tmp_path):
    path = tmp_path / 'a.h5'
    public_files.hdf5(path, stack_test=np.zeros((1, 10, 4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=re.escape(f'{path}: no data set "stack_val" in it')):
        Ddff12(path)
    public_files.hdf5(path, stack_val=np.zeros((1, 10, 4, 4, 3), np.uint8), disp_val=np.zeros((1, 4, 5)))
    with pytest.raises(InputError, match=r'"disp_val" is \(1, 4, 5\), it should be \(1, 4, 4\)'):
        Ddff12(path)
    with pytest.raises(InputError, match='not FoD500: expected 000400Dpt.exr'):
        Fod500(tmp_path)
    with pytest.raises(InputError, match='metadata.txt: no such file, a folder of ZEDD has one'):
        Zedd(tmp_path)
    (tmp_path / 'metadata.txt').write_text('run_1 6D3E 0.8\n')
    with pytest.raises(InputError, match='metadata.txt: expected lines of'):
        Zedd(tmp_path)


def test_data_sets_beyond_the_memory_limit_are_refused_unread(tmp_path):
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'large.h5'
    with h5py.File(path, 'w') as file:  # a few kilobytes: nothing is written
        file.create_dataset('depth', (3, 20_000, 20_000), 'f4', chunks=(1, 100, 100))
    with Hdf5File(path) as file, pytest.raises(InputError, match='large.h5: "depth" has 1526 MB'):
        file.read('depth', 0)
