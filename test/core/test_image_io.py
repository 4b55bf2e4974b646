"""The one reader of image files."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from odd_images import png_header
from PIL import Image, ImageOps

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
    depth[0, 0] = 0
    unknown = depth.copy()
    unknown[0, 0] = 65535  # of some sensors, and 0 of others
    for name, stored in (('a.png', PICTURE), ('b.png', unknown)):
        Image.fromarray(stored).save(tmp_path / name, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), np.rot90(PICTURE, -1))
    np.testing.assert_array_equal(read_depth_image(tmp_path / 'b.png'), np.rot90(depth, -1))
    with pytest.raises(InputError, match='a.png: cannot be read as an image: must be of one channel of 16 bits'):
        read_depth_image(tmp_path / 'a.png')


def test_what_is_too_large_is_refused_in_one_line(tmp_path, monkeypatch):
    Image.fromarray(PICTURE).save(tmp_path / 'a.png')
    monkeypatch.setattr(image_io, 'MAX_PIXELS', 32 * 24 - 1)
    with pytest.raises(InputError, match='a.png: cannot be read as an image: 32x24 pixels, more than') as error:
        read_image(tmp_path / 'a.png')
    assert '\n' not in str(error.value)
    (tmp_path / 'b.png').write_bytes(png_header(50000, 50000))  # more than Pillow opens
    with pytest.raises(InputError, match='b.png: cannot be read as an image: more than 0 million pixels$'):
        read_image(tmp_path / 'b.png')


def test_all_eight_orientations_are_those_of_pillow(tmp_path):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(PICTURE).save(tmp_path / 'a.png', exif=exif)
        with Image.open(tmp_path / 'a.png') as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened))
        np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), expected)


@pytest.mark.parametrize(
    'suffix, mode', [('png', 'RGB'), ('tif', 'RGB'), ('tif', 'L'), ('tif', 'I;16'), ('tif', 'deep'), ('png', 'deep')]
)
@pytest.mark.parametrize('orientation', [1, 4, 6, 7])
def test_every_reader_has_one_view_of_an_orientation(tmp_path, suffix, mode, orientation):
    path, exif = tmp_path / f'a.{suffix}', Image.Exif()
    exif[ORIENTATION] = orientation
    picture = np.kron(PICTURE, np.ones((4, 4, 1), np.uint8))
    if mode in ('L', 'I;16'):
        picture = np.repeat(picture[..., :1], 3, 2)
    if mode == 'deep':
        cv2.imwrite(str(path), picture[..., ::-1].astype(np.uint16) * 257)
        (set_orientation_of_tiff if suffix == 'tif' else set_orientation_of_png)(path, orientation)
    else:
        grey = picture[..., 0]
        stored = {'RGB': picture, 'L': grey, 'I;16': grey.astype(np.uint16) * 257}[mode]
        Image.fromarray(stored).save(path, exif=exif)
    as_stored = Image.fromarray(picture)
    as_stored.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(as_stored))
    np.testing.assert_array_equal(read_image(path), upright)
    np.testing.assert_array_equal(read_image(path, as_stored=True), picture)
    files = image_io.StackFiles([path] * 2, [''] * 2, 'stack')
    small = files.small(0, 32)
    assert small.stored_size == image_io.image_size(path) == (128, 96)
    assert np.abs(image_io.to_8_bits([small.pixels])[0].astype(int) - upright[2::4, 2::4]).mean() < 1
    for image in files.read():
        np.testing.assert_array_equal(image.pixels, upright)
        assert image.stored_width == image_io.read_image_and_lens(path).stored_width == 128


def test_pages_are_turned_each_as_it_says(tmp_path):
    tag = {ORIENTATION: 6}
    turned = Image.fromarray(np.rot90(PICTURE))  # counter-clockwise; 6 turns it clockwise
    turned.save(tmp_path / 'a.tif', save_all=True, append_images=[turned], tiffinfo=tag)
    for page in image_io.read_pages(tmp_path / 'a.tif'):
        np.testing.assert_array_equal(page, PICTURE)


def set_orientation_of_tiff(path, orientation):
    """Add a tag to a TIFF file without one: its directory is written anew, at the end."""
    data = path.read_bytes()
    start = struct.unpack_from('<I', data, 4)[0]
    count = struct.unpack_from('<H', data, start)[0]
    entries = [data[start + 2 + 12 * i :][:12] for i in range(count)]
    entries.append(struct.pack('<HHIHH', ORIENTATION, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from('<H', entry)[0])
    directory = struct.pack('<H', len(entries)) + b''.join(entries) + bytes(4)
    path.write_bytes(data[:4] + struct.pack('<I', len(data)) + data[8:] + directory)


def set_orientation_of_png(path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    block = b'eXIf' + exif.tobytes().removeprefix(b'Exif\0\0')
    data = path.read_bytes()
    chunk = struct.pack('>I', len(block) - 4) + block + struct.pack('>I', zlib.crc32(block))
    path.write_bytes(data[:33] + chunk + data[33:])


def stack(folder, images, orientations=(), **options):
    for i, image in enumerate(images):
        exif = Image.Exif()
        if orientations:
            exif[ORIENTATION] = orientations[i]
        Image.fromarray(image).save(folder / f'{i}.png', exif=exif)
    paths = [folder / f'{i}.png' for i in range(len(images))]
    return [image.pixels for image in image_io.StackFiles(paths, ['stack.yaml'] * len(paths), 'stack').read()]


def test_a_stack_is_turned_as_its_first_image(tmp_path, capsys):
    for orientations in ((1, 3, 1), (3, 1, 1), (6, 1, 8)):
        expected = np.rot90(PICTURE, {1: 0, 3: 2, 6: -1}[orientations[0]])
        for image in stack(tmp_path, [PICTURE] * 3, orientations):
            np.testing.assert_array_equal(image, expected)
        assert 'stack: the EXIF orientation of its images differs' in capsys.readouterr().err
    turned = stack(tmp_path, [PICTURE, np.rot90(PICTURE)], (1, 6))  # another program has turned one of them
    assert turned[0].shape == turned[1].shape and capsys.readouterr().err == ''


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_bits_in_sixteen_are_those_that_the_stack_uses(tmp_path, capsys, bits):
    ramp = np.linspace(0, 2**bits - 1, 24 * 32).reshape(24, 32).astype(np.uint16)
    dark, bright = stack(tmp_path, [ramp // 3, ramp])
    assert bright.max() == 255 and 80 <= dark.max() <= 90
    assert (f'the 16-bit images use {bits} bits' in capsys.readouterr().err) == (bits < 16)
    assert read_image(tmp_path / '1.png').max() == 255


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bits_of_colour_are_read(tmp_path, suffix):
    deep = PICTURE.astype(np.uint16) * 4
    cv2.imwrite(str(tmp_path / f'a.{suffix}'), deep[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / f'a.{suffix}'), PICTURE)


@pytest.mark.parametrize('suffix, mode', [('jpg', 'RGB'), ('png', '1'), ('png', 'P'), ('png', 'RGBA'), ('png', 'I;16')])
def test_a_large_stack_is_reduced(tmp_path, capsys, monkeypatch, suffix, mode):
    monkeypatch.setattr(image_io, 'MAX_STACK', 4 * 60 * 80)
    picture = np.kron(PICTURE, np.ones((10, 10, 1), np.uint8))
    deep = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    (deep if mode == 'I;16' else Image.fromarray(picture).convert(mode)).save(tmp_path / f'a.{suffix}')
    read = image_io.StackFiles([tmp_path / f'a.{suffix}'] * 4, [''] * 4, 'stack').read()
    assert {image.pixels.shape for image in read} == {(60, 80, 3)} and read[0].stored_width == 80
    assert 'stack: 4 images of 320x240 are read at 1/4 of their size' in capsys.readouterr().err
    assert read[0].pixels[:20, :40, 0].mean() > 40 and read[0].pixels[40:].mean() < 10


@pytest.mark.parametrize('suffix, decoded', [('png', 1), ('tif', 1), ('jpg', 2)])
def test_an_image_that_was_looked_at_in_small_is_not_decoded_again(tmp_path, monkeypatch, suffix, decoded):
    monkeypatch.setattr(image_io, 'MAX_STACK', 2 * 120 * 160)
    picture = Image.fromarray(np.kron(PICTURE, np.ones((10, 10, 1), np.uint8)))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    paths = [tmp_path / f'{i}.{suffix}' for i in range(2)]
    for path in paths:
        picture.save(path, exif=exif)
    expected = [image.pixels for image in image_io.StackFiles(paths, ['', ''], 'stack').read()]
    calls, pixels = [], image_io._pixels
    monkeypatch.setattr(image_io, '_pixels', lambda image, factor: calls.append(factor) or pixels(image, factor))
    files = image_io.StackFiles(paths, ['', ''], 'stack')
    small = files.small(0, 40)
    assert small.pixels.shape == (40, 30, 3) and small.stored_size == (320, 240)
    read = files.read()
    assert len(calls) == decoded + 1
    assert [image.stored_width for image in read] == [160, 160]
    for image, other in zip(read, expected):
        np.testing.assert_array_equal(image.pixels, other)


@pytest.mark.parametrize('cut', [0, 1, 30, 60, 200])
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp', 'ppm'])
def test_damaged_images_are_one_line(tmp_path, suffix, cut):
    path = tmp_path / f'a.{suffix}'
    draw = np.random.default_rng(cut)
    Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:cut], *(bytes(b ^ (draw.random() < 0.02) * 255 for b in whole) for _ in range(5))):
        path.write_bytes(damaged)
        try:
            read_image(path)
        except InputError as error:
            assert str(error).startswith(str(path)) and '\n' not in str(error) and len(str(error)) < 500
    for size in ((30_000, 30_000), (2**31 - 1, 2**31 - 1)):
        path.write_bytes(png_header(*size))
        with pytest.raises(InputError, match='a..*: cannot be read as an image'):
            read_image(path)


def test_the_first_of_several_frames_is_used_and_reported(tmp_path, capsys):
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    for suffix in ('png', 'tif', 'webp'):
        frames[0].save(tmp_path / f'a.{suffix}', save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_array_equal(read_image(tmp_path / f'a.{suffix}'), PICTURE)
        assert f'a.{suffix}: has several frames, the first one is used' in capsys.readouterr().err
