"""Every encoding of an image message gives the same picture."""

from types import SimpleNamespace

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')

from dfd_ros.core.image_encodings import COLOUR, to_rgb  # noqa: E402
from dfd_ros.core.significant_bits import SignificantBits  # noqa: E402


def message(encoding, rows, height):
    rows = np.ascontiguousarray(rows).reshape(len(rows), -1)
    width = rows.shape[1] // COLOUR[encoding].channels
    data = rows.view(np.uint8)
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=data.shape[1], is_bigendian=0, data=data.reshape(-1)
    )


@pytest.mark.parametrize('encoding', COLOUR)
def test_grey_is_grey(encoding):
    _, kind, conversion, bits, rows = COLOUR[encoding]
    if conversion.startswith('YUV'):  # 126 of 16 to 235 is as bright as 128 of 0 to 255; no colour is 128
        data = np.full((int(8 * rows), 8, COLOUR[encoding].channels), 128, kind)
        if rows > 1:
            data[:8] = 126
        else:
            data[..., 1 if 'UYVY' in conversion else 0] = 126
    else:
        data = np.full((8, 8, COLOUR[encoding].channels), 128 << (bits - 8), kind)
    image = to_rgb(message(encoding, data, 8), 'image', SignificantBits(16))
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.abs(image.astype(int) - 128).max() <= (1 if conversion.startswith('YUV') else 0)


def test_nv24_has_the_colour_of_every_pixel():
    draw = np.random.default_rng(0)
    luma, colour = draw.integers(60, 200, (4, 6), np.uint8), draw.integers(90, 160, (4, 6, 2), np.uint8)
    found = to_rgb(message('nv24', np.concatenate([luma, colour.reshape(8, 6)]), 4))
    for y in range(4):
        for x in range(6):
            flat = np.dstack([np.full((2, 2), luma[y, x]), np.broadcast_to(colour[y, x, 0], (2, 2))])
            flat[:, 1, 1] = colour[y, x, 1]
            np.testing.assert_array_equal(found[y, x], cv2.cvtColor(flat, cv2.COLOR_YUV2RGB_YUYV)[0, 0])


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
@pytest.mark.parametrize('encoding', [name for name, encoding in COLOUR.items() if encoding.bits == 16])
def test_sixteen_bits_have_those_that_the_values_use(encoding, bits):
    channels = COLOUR[encoding].channels
    data = np.full((8, 8, channels), 116 << (bits - 8), np.uint16)
    data[:4] = (1 << bits) - 1
    if channels == 4:
        data[..., 3] = 65535  # opaque
    image = to_rgb(message(encoding, data, 8))
    assert image[:3].min() == 255 and (image[5:] == 116).all()


@pytest.mark.parametrize('bits', [10, 12, 16])
def test_of_more_than_8_bits_the_upper_8_are_taken(bits):
    values = np.array([[0, 1 << (bits - 8), (1 << bits) - 1]], np.uint16)
    np.testing.assert_array_equal(to_rgb(message(f'mono{bits}', values, 1))[0, :, 0], [0, 1, 255])
