"""The bits that 16-bit images use are found once for a stream, and do not flicker."""

import numpy as np
import pytest

from dfd_ros.core.errors import InputError
from dfd_ros.core.significant_bits import DEPTHS, SignificantBits, needed_bits

SHAPE = 40, 50


def image(bits, share=1.0):
    """Of which a share uses so many bits, and the rest almost none."""
    pixels = np.zeros(SHAPE, np.uint16)
    pixels.reshape(-1)[: round(share * pixels.size)] = 2**bits - 1
    return pixels


def test_the_fewest_bits_that_hold_the_values():
    for bits in DEPTHS:
        assert needed_bits(image(bits)) == bits
    assert needed_bits(image(9)) == 10 and needed_bits(image(11)) == 12
    assert needed_bits(np.zeros(SHAPE, np.uint16)) == needed_bits(np.zeros(0, np.uint16)) == 8


def test_a_thousandth_of_the_pixels_does_not_count():
    pixels = image(12)
    pixels[0, :2] = 65535
    assert needed_bits(pixels) == 12
    assert SignificantBits().reduced(pixels).max() == 255
    pixels[0, :3] = 65535
    assert needed_bits(pixels) == 16


def test_bits_only_grow_and_are_said_once():
    lines = []
    stream = SignificantBits(say=lines.append)
    found = []
    for bits in (10, 8, 10, 12, 12, 10, 8, 12, 10):
        stream.look(image(bits), '/image_raw')
        found.append(stream.bits)
    assert found == [10, 10, 10, 10, 12, 12, 12, 12, 12]
    assert lines == [
        '/image_raw: the 16-bit images use 10 bits, and are scaled accordingly',
        '/image_raw: the 16-bit images use 12 bits, not 10, and are darker from here on',
    ]


def test_one_broken_image_does_not_darken_the_stream():
    stream = SignificantBits()
    for bits in (12, 12, 16, *[12] * 20, 16, 12):
        stream.look(image(bits))
    assert stream.bits == 12
    for bits in (16, 12, 16):  # of images that alternate in exposure, both count
        stream.look(image(bits))
    assert stream.bits == 16


def test_a_dark_beginning_is_left_behind():
    stream = SignificantBits()
    levels = [stream.reduced(np.full(SHAPE, value, np.uint16)).mean() for value in (100, 100, 1850, 1850, 1850, 100)]
    assert levels == [100, 100, 255, 115, 115, 6]


def test_bits_that_are_given_stay():
    stream = SignificantBits(12)
    stream.look(image(16))
    stream.look(image(16))
    assert stream.bits == 12 and stream.reduced(image(16)).max() == 255
    with pytest.raises(InputError, match='image_bits: 11 must be one of 8, 10, 12, 14, 16, or 0 to find them'):
        SignificantBits(11)


def test_a_set_has_those_of_its_brightest_image():
    assert SignificantBits.of_images([image(10), image(12), image(8)]).bits == 12
    assert SignificantBits.of_images([np.zeros(SHAPE, np.uint8)]).bits == 0
