"""HEIC and RAW: read where the package is installed, and one line that names it elsewhere."""

import builtins
import importlib
import math

import numpy as np
import pytest
from focus_pictures import exif
from PIL import Image
from tiny_dng import write_dng

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.image_io import read_image, read_image_and_lens, read_small_image

PICTURE = np.full((64, 96, 3), 60, np.uint8)
PICTURE[:32, :48] = 200, 30, 30


def is_red(pixel):
    return pixel[0] > 2 * max(int(pixel[1]), int(pixel[2]), 1)


@pytest.mark.parametrize('suffix, kind, package', [('.heic', 'HEIC', 'pillow-heif'), ('.DNG', 'RAW', 'rawpy')])
def test_without_the_package_its_name_is_told(tmp_path, monkeypatch, suffix, kind, package):
    def not_installed(name, *rest):
        raise ImportError(name)

    monkeypatch.setattr(importlib, 'import_module', not_installed)
    path = tmp_path / f'a{suffix}'
    path.write_bytes(b'whatever')
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f'{path}: reading {kind} needs the package {package}: pip install {package}'
    assert builtins.__import__  # the rest of the system is as it was


def test_heic_is_read_with_its_lens(tmp_path):
    pytest.importorskip('pillow_heif').register_heif_opener()
    path = tmp_path / 'a.HEIC'
    block = exif(FocalLength=(43, 10), FNumber=(18, 10), SubjectDistance=(3, 2))
    Image.fromarray(PICTURE).save(path, format='HEIF', exif=block, quality=90)
    read = read_image_and_lens(path)
    assert read.pixels.shape == PICTURE.shape and is_red(read.pixels[8, 8]) and not is_red(read.pixels[40, 60])
    assert read.lens['focus_distance'] == 1.5 and read.lens['f_number'] == pytest.approx(1.8)


def test_a_damaged_heic_file_is_told_from_a_kind_that_is_not_read(tmp_path):
    pytest.importorskip('pillow_heif')
    path = tmp_path / 'a.heic'
    path.write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f'{path}: cannot be read as an image: damaged, or no HEIC file'


@pytest.mark.parametrize(
    'orientation, shape, corner',
    [(1, (64, 96), (8, 8)), (3, (64, 96), (-8, -8)), (6, (96, 64), (8, -8)), (8, (96, 64), (-8, 8))],
)
def test_raw_is_developed_upright_with_its_lens(tmp_path, orientation, shape, corner):
    pytest.importorskip('rawpy')
    write_dng(tmp_path / 'a.dng', PICTURE, orientation)
    read = read_image_and_lens(tmp_path / 'a.dng')
    assert read.pixels.shape == (*shape, 3) and is_red(read.pixels[corner])
    assert not is_red(read.pixels[-corner[0], -corner[1]])
    assert read.lens['focus_distance'] == 1.5 and read.lens['focal_length'] == pytest.approx(4.3e-3)


def test_raw_is_read_smaller_and_as_part_of_a_stack(tmp_path):
    pytest.importorskip('rawpy')
    for i, distance in enumerate([(0xFFFFFFFF, 1), (2, 1)]):
        write_dng(tmp_path / f'{i}.dng', PICTURE, focus_distance=distance)
    small = read_small_image(tmp_path / '0.dng', 32)
    assert small.pixels.shape[:2] == (21, 32) and small.stored_size == (96, 64) and small.camera == 'Tiny Raw'
    (tmp_path / 'stack.yaml').write_text('frames:\n- {file: 0.dng}\n- {file: 1.dng}\n')
    stack = FocalStack.read(tmp_path)
    assert [state.focus_distance for state in stack.lens_states] == [math.inf, 2.0]


def test_damaged_camera_files_are_one_line(tmp_path):
    pytest.importorskip('rawpy')
    pytest.importorskip('pillow_heif')
    write_dng(tmp_path / 'whole.dng', PICTURE)
    whole = (tmp_path / 'whole.dng').read_bytes()
    for name, data in (('a.heic', b'no'), ('a.dng', b'no'), ('b.dng', whole[:300]), ('a.cr3', whole[:9])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f'{name}: cannot be read as an image') as error:
            read_image(tmp_path / name)
        assert '\n' not in str(error.value) and "b'" not in str(error.value)
