"""Focus distances in EXIF, XMP and maker notes, laid out as the makers do."""

import math
import struct

import numpy as np
import pytest
from focus_pictures import exif
from PIL import Image

from dfd_ros.core import maker_notes
from dfd_ros.core.exif import camera_name, lens_data

PICTURE = Image.fromarray(np.zeros((24, 32, 3), np.uint8))


def saved(tmp_path, block, **options):
    PICTURE.save(tmp_path / 'a.jpg', exif=block, **options)
    return Image.open(tmp_path / 'a.jpg')


def directory(order: str, entries: list[tuple[int, int, int, bytes]], at: int) -> bytes:
    """An image file directory at this offset: tag, type, count and value of each."""
    body, values, values_at = struct.pack(f'{order}H', len(entries)), b'', at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            value, values = struct.pack(f'{order}I', values_at + len(values)), values + value
        body += struct.pack(f'{order}HHI', tag, kind, count) + value.ljust(4, b'\0')
    return body + struct.pack(f'{order}I', 0) + values


def apple(*limits: int) -> bytes:
    """limits: numerator and denominator of each."""
    return b'Apple iOS\0\0\1MM' + directory('>', [(0x000C, 10, 2, struct.pack('>4i', *limits))], 14)


def canon(far: int, near: int, tiff_at: int = 0) -> tuple[bytes, bytes]:
    """The note, and a TIFF structure in which it lies."""
    shot_info = [0] * 33
    shot_info[19], shot_info[20] = far, near
    at = 100
    note = directory('<', [(1, 3, 1, b'\1\0'), (4, 3, 33, struct.pack('<33H', *shot_info))], at)
    return note, b'II*\0'.ljust(at, b'\0') + note


def olympus(value: int, header: bytes = b'OLYMPUS\0II\3\0') -> bytes:
    at = len(header)
    main = directory('<', [(0x2050, 13, 1, struct.pack('<I', at + 18))], at)
    assert len(main) == 18
    return header + main + directory('<', [(0x0305, 5, 1, struct.pack('<II', value, 1))], at + 18)


@pytest.mark.parametrize(
    'limits, metres',
    [
        ((54, 100, 68, 100), 2 / (1 / 0.54 + 1 / 0.68)),
        ((68, 100, 54, 100), 2 / (1 / 0.54 + 1 / 0.68)),
        ((0, 1, 1, 1), math.nan),
        ((-1, 1, 1, 1), math.nan),
        ((1, 0, 1, 1), math.nan),
    ],
)
def test_apple_has_the_limits_of_focus(limits, metres):
    assert maker_notes.focus_distance('Apple', apple(*limits), b'') == pytest.approx(metres, nan_ok=True)


@pytest.mark.parametrize(
    'far, near, metres',
    [(142, 119, 2 / (1 / 1.42 + 1 / 1.19)), (0xFFFF, 546, 10.92), (0xFFFF, 0xFFFF, math.inf), (0, 546, math.nan)],
)
def test_canon_has_the_limits_of_focus(far, near, metres):
    assert maker_notes.focus_distance('Canon', *canon(far, near)) == pytest.approx(metres, nan_ok=True)


@pytest.mark.parametrize('header', [b'OLYMPUS\0II\3\0', b'OM SYSTEM\0\0\0II\4\0'])
@pytest.mark.parametrize('value, metres', [(705, 0.705), (0xFFFFFFFF, math.inf), (0, math.nan)])
def test_olympus_has_the_distance(header, value, metres):
    found = maker_notes.focus_distance('OLYMPUS', olympus(value, header), b'')
    assert found == pytest.approx(metres, nan_ok=True)


def test_damaged_and_unknown_notes_are_unknown():
    draw = np.random.default_rng(0)
    canon_note, tiff = canon(142, 119)
    for make, note in (('Apple', apple(1, 2, 1, 3)), ('Canon', canon_note), ('OLYMPUS', olympus(700))):
        for length in range(len(note)):
            maker_notes.focus_distance(make, note[:length], tiff)
        for _ in range(300):
            damaged = bytearray(note)
            damaged[int(draw.integers(len(note)))] = int(draw.integers(256))
            distance = maker_notes.focus_distance(make, bytes(damaged), tiff.replace(canon_note, bytes(damaged)))
            assert math.isnan(distance) or distance > 0
    assert math.isnan(maker_notes.focus_distance('NIKON', b'Nikon\0\2\0\0', b''))


def test_a_maker_note_counts_where_exif_has_no_distance(tmp_path):
    block = exif(Make='Apple', FocalLength=(4, 1))
    block.get_ifd(0x8769)[0x927C] = apple(1, 2, 1, 2)
    assert lens_data(saved(tmp_path, block))['focus_distance'] == 0.5
    block.get_ifd(0x8769)[0x9206] = 3.0
    assert lens_data(saved(tmp_path, block))['focus_distance'] == 3.0


@pytest.mark.parametrize(
    'text, metres',
    [
        ('exif:SubjectDistance="150/100"', 1.5),
        ('<exif:SubjectDistance>3/2</exif:SubjectDistance>', 1.5),
        ('aux:ApproximateFocusDistance="7/1"', 7.0),
        ('aux:ApproximateFocusDistance="4294967295/1"', math.inf),
        ('exif:SubjectDistance="0/0"', math.nan),
        ('exif:SubjectDistance="near"', math.nan),
    ],
)
def test_distances_in_xmp(tmp_path, text, metres):
    image = saved(tmp_path, Image.Exif(), xmp=f'<x:xmpmeta><rdf:Description {text}/></x:xmpmeta>'.encode())
    assert lens_data(image)['focus_distance'] == pytest.approx(metres, nan_ok=True)


def test_the_name_of_the_camera(tmp_path):
    assert camera_name(saved(tmp_path, exif(Make='Maker ', Model='One\0'))) == 'Maker One'
    assert camera_name(saved(tmp_path, Image.Exif())) == ''
