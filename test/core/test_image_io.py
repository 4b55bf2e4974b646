"""The one reader of image files."""

import numpy as np
import pytest
from PIL import Image

from dfd_ros.core import image_io
from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import read_depth_image, read_image

PICTURE = np.zeros((24, 32, 3), np.uint8)
PICTURE[:8, :16] = 255, 0, 0
ORIENTATION = 0x0112


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp', 'ppm'])
def test_the_kinds_that_are_read(tmp_path, suffix):
    Image.fromarray(PICTURE).save(tmp_path / f'a.{suffix}', quality=100)
    assert np.abs(read_image(tmp_path / f'a.{suffix}').astype(int) - PICTURE).mean() < 2


@pytest.mark.parametrize('suffix', ['bmp', 'gif'])
def test_other_kinds_are_refused(tmp_path, suffix):
    Image.fromarray(PICTURE).save(tmp_path / f'a.{suffix}')
    with pytest.raises(InputError, match=f'a.{suffix}: cannot be read as an image, give PNG, JPEG, TIFF, WebP or PNM'):
        read_image(tmp_path / f'a.{suffix}')


def test_colour_and_depth_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    depth = PICTURE[..., 0].astype(np.uint16) * 10
    for name, stored in (('a.png', PICTURE), ('b.png', depth)):
        Image.fromarray(stored).save(tmp_path / name, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), np.rot90(PICTURE, -1))
    np.testing.assert_array_equal(read_depth_image(tmp_path / 'b.png'), np.rot90(depth, -1))
    with pytest.raises(InputError, match='a.png: cannot be read as an image: must be of one channel of 16 bits'):
        read_depth_image(tmp_path / 'a.png')


def test_what_is_too_large_is_refused_in_one_line(tmp_path, monkeypatch):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    monkeypatch.setattr(image_io, 'LARGEST', 32 * 24 - 1)
    with pytest.raises(InputError, match='a.png: cannot be read as an image: 32x24 pixels, more than') as error:
        read_image(tmp_path / 'a.png')
    assert '\n' not in str(error.value)
