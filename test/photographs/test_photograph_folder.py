"""Folders of photographs: the order of focus, EXIF distances, and why a folder is no focal stack."""

import math
import shutil

import numpy as np
import pytest
from focus_pictures import photograph, save, save_all, sweep
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import read_small_image, to_8_bits
from dfd_ros.photographs import read_focal_stack
from dfd_ros.photographs.photograph_folder import photograph_paths, read_photographs

PHONE = {'Make': 'Maker', 'Model': 'Phone', 'FocalLength': (43, 10), 'FNumber': (18, 10), 'FocalLengthIn35mmFilm': 26}


def test_names_are_in_natural_order_and_raw_files_beside_others_are_left_out(tmp_path):
    names = ('IMG_10.jpg', 'IMG_9.JPG', 'IMG_9.dng', 'b.heic', 'IMG_11.dng', '.hidden.jpg', 'notes.txt', 'clip.mp4')
    for name in names:
        (tmp_path / name).write_bytes(b'')
    found = [path.name for path in photograph_paths(tmp_path)]
    assert found == ['b.heic', 'IMG_9.JPG', 'IMG_10.jpg', 'IMG_11.dng']


@pytest.mark.parametrize('seed', range(4))
def test_the_order_of_focus_is_found_whatever_the_order_of_the_files(tmp_path, seed):
    images = sweep(8, seed=seed, breathing=0.05)
    shuffled = np.random.default_rng(seed).permutation(8)
    found = read_photographs(save_all(tmp_path / 'stack', [images[i] for i in shuffled]))
    assert [int(shuffled[i]) for i in found.order.order] == list(range(8))
    assert found.focus_distances is None
    assert 'no focus distances in EXIF' in found.focus_source and 'assumed to be near' in found.focus_source


def test_16_bit_photographs_are_looked_at_in_one_exposure(tmp_path):
    for i, value in enumerate((800, 3200)):
        Image.fromarray(np.full((48, 64), value, np.uint16)).save(tmp_path / f'{i}.tif')
    small = [read_small_image(tmp_path / f'{i}.tif', 64).pixels for i in range(2)]
    assert [image.max() for image in to_8_bits(small)] == [50, 200]


def test_a_hand_held_stack_is_ordered(tmp_path):
    shifts = [0, 3, -2, 5, 1, -4]
    images = [photograph(v, shift=shift) for v, shift in zip(np.linspace(0, 1, 6), shifts)]
    found = read_photographs(save_all(tmp_path / 'stack', images))
    assert found.order.order == tuple(range(6)) and found.order.is_as_given
    assert 'the first is assumed to be focused farthest' in found.focus_source


@pytest.mark.parametrize('order, first', [('far_to_near', 0), ('near_to_far', 5), (None, 5)])
def test_the_direction_is_given_or_assumed(tmp_path, order, first):
    """The files go from near to far, but the breathing is not needed where the order is given."""
    images = sweep(6, breathing=0.05)[::-1]
    found = read_photographs(save_all(tmp_path / 'stack', images), order)
    assert found.order.order[0] == first
    said = 'assumed' if order is None else f'{order.replace("_", " ")} as given'
    assert said in found.focus_source


def test_a_relative_stack_has_no_metres_and_no_lens(tmp_path):
    stack = read_focal_stack(save_all(tmp_path / 'stack', sweep(5), **PHONE))
    assert not stack.is_metric and len(stack) == 5
    assert [stack.range.normalise(state.focus_distance) for state in stack.lens_states] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    assert all(math.isnan(state.lens.blur_scale(stack.range)) for state in stack.lens_states)


def test_focus_distances_come_from_exif(tmp_path):
    distances = [(0xFFFFFFFF, 1), (2, 1), (1, 1), (1, 2)]
    stack = read_focal_stack(save_all(tmp_path / 'stack', sweep(4), distances, **PHONE))
    assert stack.is_metric and stack.focus_source == 'EXIF'
    assert [state.focus_distance for state in stack.lens_states] == [math.inf, 2.0, 1.0, 0.5]
    assert stack.lens_states[0].focal_length == pytest.approx(4.3e-3)
    assert not math.isnan(stack.lens_states[0].lens.blur_scale(stack.range))


@pytest.mark.parametrize(
    'distances, says',
    [
        ([(2, 1), (0, 1), (1, 1), (1, 2)], 'EXIF has 3 of 4 focus distances'),
        ([(2, 1)] * 4, 'EXIF has the same focus distance, 2 m, for all'),
    ],
)
def test_incomplete_distances_are_not_made_up(tmp_path, distances, says):
    stack = read_focal_stack(save_all(tmp_path / 'stack', sweep(4), distances))
    assert not stack.is_metric and says in stack.focus_source


def test_distances_against_the_sharpness_are_warned_of(tmp_path, capsys):
    distances = [(1, 1), (4, 1), (1, 2), (3, 1), (2, 3), (8, 1)]
    stack = read_focal_stack(save_all(tmp_path / 'stack', sweep(6), distances))
    assert stack.is_metric
    assert 'do not match the sharpness of the images' in capsys.readouterr().err
    distances = [(8, 1), (4, 1), (2, 1), (1, 1), (2, 3), (1, 2)]
    read_focal_stack(save_all(tmp_path / 'stack', sweep(6), distances))
    assert capsys.readouterr().err == ''


def no_stack(folder, says):
    with pytest.raises(InputError, match=says) as error:
        read_focal_stack(folder)
    assert str(error.value).startswith(f'{folder}: no focal stack: ') and '\n' not in str(error.value)


def test_holiday_photographs_are_no_focal_stack(tmp_path):
    no_stack(
        save_all(tmp_path / 'holiday', [photograph(0.5, seed=seed) for seed in range(4)]),
        r'IMG_2.jpg shows another scene than IMG_1.jpg \(correlation 0\.\d\d, 0.8 or more is needed\)',
    )


def test_one_photograph_of_another_scene_is_named(tmp_path):
    images = [*sweep(5), photograph(0.5, seed=9)]
    no_stack(save_all(tmp_path / 'stack', images), 'IMG_6.jpg shows another scene than IMG_5.jpg')


def test_a_burst_without_a_change_of_focus_is_no_focal_stack(tmp_path):
    images = [photograph(0.5 + 1e-3 * i, shift=i) for i in range(5)]
    no_stack(
        save_all(tmp_path / 'burst', images), 'the same places are sharp in all images, so the focus does not move'
    )


def test_photographs_that_cannot_be_of_one_lens(tmp_path):
    folder = save_all(tmp_path / 'stack', sweep(4), **PHONE)
    save(folder / 'IMG_3.jpg', photograph(0.5), **PHONE | {'FocalLength': (22, 10)})
    no_stack(folder, r'IMG_3.jpg was taken with another lens or zoom \(2.2 mm\) than IMG_1.jpg \(4.3 mm\); .*macro')
    save(folder / 'IMG_3.jpg', photograph(0.5), **PHONE | {'Model': 'Other'})
    no_stack(folder, r'IMG_3.jpg is from another camera \(Maker Other\) than IMG_1.jpg \(Maker Phone\)')
    save(folder / 'IMG_3.jpg', photograph(0.5)[:100], **PHONE)
    no_stack(folder, 'IMG_3.jpg has 240x100 pixels, IMG_1.jpg 240x180')


def test_too_few_and_too_many(tmp_path, monkeypatch):
    (tmp_path / 'empty').mkdir()
    no_stack(tmp_path / 'empty', 'no photographs in it, at least two are needed')
    no_stack(save_all(tmp_path / 'one', sweep(2)[:1]), '1 photograph in it')
    monkeypatch.setattr('dfd_ros.photographs.photograph_folder.MAX_PHOTOGRAPHS', 3)
    no_stack(save_all(tmp_path / 'four', sweep(4)), '4 photographs, more than 3')


def test_orientations_that_flip_when_the_camera_looks_down(tmp_path):
    folder = save_all(tmp_path / 'stack', sweep(4))
    Image.fromarray(photograph(2 / 3)).save(folder / 'IMG_3.jpg', quality=95, exif=_turned(6))
    assert read_photographs(folder).order.order == (0, 1, 2, 3)


def _turned(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def test_a_stack_yaml_goes_before_all_else(tmp_path):
    folder = save_all(tmp_path / 'stack', sweep(3), [(2, 1), (1, 1), (1, 2)])
    (folder / 'stack.yaml').write_text('frames:\n- {file: IMG_1.jpg, focus_distance_m: 7}\n- {file: IMG_3.jpg}\n')
    assert [state.focus_distance for state in read_focal_stack(folder).lens_states] == [7.0, 0.5]
    with pytest.raises(InputError, match='stack.yaml: give the order in this file'):
        read_focal_stack(folder, 'far_to_near')


def test_damaged_photographs_are_named(tmp_path):
    folder = save_all(tmp_path / 'stack', sweep(3))
    (folder / 'IMG_2.jpg').write_bytes(b'no picture')
    with pytest.raises(InputError, match='IMG_2.jpg: cannot be read as an image'):
        read_focal_stack(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match='stack: no such file or folder; give a folder of images, a video'):
        read_focal_stack(folder)
