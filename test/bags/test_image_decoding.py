"""Image messages of bags: raw and compressed, colour and depth, and what cannot be read."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

cv2 = pytest.importorskip('cv2')

from dfd_ros.bags import image_decoding  # noqa: E402
from dfd_ros.bags.image_decoding import to_depth, to_rgb  # noqa: E402
from dfd_ros.core.errors import InputError  # noqa: E402

DRAW = np.random.default_rng(0)
RGB = cv2.resize(DRAW.integers(0, 256, (4, 5, 3), dtype=np.uint8), (20, 16), interpolation=cv2.INTER_CUBIC)
DEPTH = DRAW.integers(300, 5000, (16, 20)).astype(np.uint16)


def raw(array, encoding, *, padding=0, big=False):
    array = array.astype(array.dtype.newbyteorder('>' if big else '<'))
    rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return SimpleNamespace(
        encoding=encoding,
        height=array.shape[0],
        width=array.shape[1],
        step=rows.shape[1],
        is_bigendian=int(big),
        data=rows.reshape(-1),
    )


def compressed(data, kind):
    return SimpleNamespace(format=kind, data=np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    'message',
    [
        raw(RGB, 'rgb8'),
        raw(RGB, 'rgb8', padding=7),
        raw(RGB[..., ::-1], 'bgr8'),
        raw(RGB[..., ::-1], '8UC3'),
        raw(np.dstack([RGB, RGB[..., :1]]), 'rgba8'),
        raw(np.dstack([RGB[..., ::-1], RGB[..., :1]]), 'bgra8'),
        raw(RGB.astype(np.uint16) * 256 + 3, 'rgb16', big=True),
        compressed(cv2.imencode('.png', RGB[..., ::-1])[1].tobytes(), 'png'),
    ],
)
def test_colour(message):
    np.testing.assert_array_equal(to_rgb(message, 'image'), RGB)


def test_grey_jpeg_and_yuv():
    grey = RGB[..., 0]
    np.testing.assert_array_equal(to_rgb(raw(grey, 'mono8'), 'image'), np.dstack([grey] * 3))
    jpeg = compressed(cv2.imencode('.jpg', RGB[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes(), 'jpeg')
    assert np.abs(to_rgb(jpeg, 'image').astype(int) - RGB).mean() < 8
    yuyv = np.zeros((4, 6, 2), np.uint8)
    yuyv[..., 0], yuyv[..., 1] = 130, 128
    assert np.abs(to_rgb(raw(yuyv, 'yuv422_yuy2'), 'image').astype(int) - 133).max() < 4


def test_bayer_has_its_colours_in_their_places():
    """A red scene: only the red pixels of the pattern are bright."""
    for pattern, (y, x) in {'rggb': (0, 0), 'bggr': (1, 1), 'gbrg': (1, 0), 'grbg': (0, 1)}.items():
        mosaic = np.zeros((16, 16), np.uint8)
        mosaic[y::2, x::2] = 200
        assert to_rgb(raw(mosaic, f'bayer_{pattern}8'), 'image')[4:12, 4:12].mean((0, 1)).argmax() == 0


@pytest.mark.parametrize(
    'message',
    [
        raw(DEPTH, '16UC1'),
        raw(DEPTH, '16UC1', big=True, padding=3),
        raw(DEPTH * np.float32(1e-3), '32FC1'),
        compressed(cv2.imencode('.png', DEPTH)[1].tobytes(), '16UC1; png compressed'),
        compressed(bytes(12) + cv2.imencode('.png', DEPTH)[1].tobytes(), '16UC1; compressedDepth png'),
    ],
)
def test_depth(message):
    depth = to_depth(message, 'depth')
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, DEPTH * 1e-3, rtol=1e-6)


def test_depth_of_floats_compressed_by_its_inverse():
    """As compressed_depth_image_transport stores it: round(A / depth + B), and 0 for none."""
    a, b = np.float32(100.0 * (100.0 + 1)), np.float32(1 - 100.0 * 101 / 10.0)
    metres = np.array([[0.5, 1.0], [4.0, np.nan]], np.float32)
    stored = np.where(np.isfinite(metres), np.round(a / metres + b), 0).astype(np.uint16)
    head = np.int32(0).tobytes() + a.tobytes() + b.tobytes()
    message = compressed(head + cv2.imencode('.png', stored)[1].tobytes(), '32FC1; compressedDepth png')
    np.testing.assert_allclose(to_depth(message, 'depth'), metres, rtol=1e-3)


def rvl(depth):
    """Depth as RVL stores it: a plain encoder, after figure 2 of Wilson, "Fast Lossless Depth Image Compression"."""
    nibbles, last, values, at = [], 0, depth.reshape(-1).tolist(), 0

    def put(value):
        while True:
            value, low = value >> 3, value & 7
            nibbles.append(low | (8 if value else 0))
            if not value:
                return

    while at < len(values):
        end = at
        while end < len(values) and values[end] == 0:
            end += 1
        put(end - at)
        at = end
        while end < len(values) and values[end] != 0:
            end += 1
        put(end - at)
        for value in values[at:end]:
            difference, last = value - last, value
            put(2 * difference if difference >= 0 else -2 * difference - 1)
        at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(nibble << (28 - 4 * i) for i, nibble in enumerate(nibbles[j : j + 8])) for j in range(0, len(nibbles), 8)
    ]
    return np.array(depth.shape[::-1], '<u4').tobytes() + np.array(words, '<u4').tobytes()


def test_depth_in_rvl():
    random = np.random.default_rng(0)
    depth = random.integers(1, 65000, (24, 31)).astype(np.uint16)
    depth[random.random(depth.shape) < 0.4] = 0
    depth[0] = 0
    for case in (depth, np.zeros_like(depth), np.full_like(depth, 1234)):
        read = to_depth(compressed(bytes(12) + rvl(case), '16UC1; compressedDepth rvl'), 'depth')
        np.testing.assert_allclose(read, np.where(case > 0, case * np.float32(1e-3), np.nan))
    data = rvl(depth)
    for broken in (data[:40], data[:8], b'', data[:100] + b'\xff' * 40, np.array([60000, 60000], '<u4').tobytes()):
        with pytest.raises(InputError, match='^depth: .*RVL'):
            to_depth(compressed(bytes(12) + broken, '16UC1; compressedDepth rvl'), 'depth')


def test_png_is_found_by_its_signature():
    """Whatever the format says, and whether or not the transport's 12 bytes are before it."""
    png = cv2.imencode('.png', DEPTH)[1].tobytes()
    for data in (png, bytes(12) + png):
        for kind in ('16UC1; compressedDepth', '16UC1; compressedDepth rvl', 'png', ''):
            np.testing.assert_allclose(to_depth(compressed(data, kind), 'depth'), DEPTH * 1e-3, rtol=1e-6)


def test_an_image_that_is_too_large_is_not_decoded(monkeypatch):
    monkeypatch.setattr(image_decoding, 'MAX_PIXELS', 50)
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(InputError, match='^image: image of .* pixels, more than 0 million'):
        to_rgb(compressed(cv2.imencode('.png', RGB)[1].tobytes(), 'png'), 'image')


def test_orientation_tags_do_not_rotate_calibrated_images():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(RGB).save(buffer, 'PNG', exif=exif)
    np.testing.assert_array_equal(to_rgb(compressed(buffer.getvalue(), 'png'), 'image'), RGB)


def test_no_reading_is_nan():
    values = np.array([[0.0, -1.0, np.inf, np.nan, 2.0]], np.float32)
    np.testing.assert_array_equal(to_depth(raw(values, '32FC1'), 'd'), [[np.nan] * 4 + [2.0]])
    assert np.isnan(to_depth(raw(np.array([[0, 65535]], np.uint16), '16UC1'), 'd')).all()


@pytest.mark.parametrize(
    'read, message, said',
    [
        (to_rgb, raw(RGB, 'rgb32'), "unknown encoding 'rgb32'"),
        (to_depth, raw(RGB, 'rgb8'), "encoding 'rgb8' is no depth"),
        (
            to_rgb,
            SimpleNamespace(**{**vars(raw(RGB, 'rgb8')), 'height': 99}),
            'bytes of data, expected height x step = 99 x 60',
        ),
        (to_rgb, SimpleNamespace(**{**vars(raw(RGB, 'rgb8')), 'width': 0}), 'image of zero size'),
        (to_rgb, compressed(b'no image', 'jpeg'), '8 bytes that cannot be read as an image'),
        (to_depth, compressed(cv2.imencode('.jpg', RGB)[1].tobytes(), 'jpeg'), 'is no depth; must be PNG of 16 bits'),
        (to_depth, compressed(bytes(12) + b'RVL123', '16UC1; compressedDepth rvl'), 'cannot be RVL'),
    ],
)
def test_what_cannot_be_read_names_its_topic(read, message, said):
    with pytest.raises(InputError) as caught:
        read(message, '/the/topic')
    assert said in str(caught.value) and str(caught.value).startswith('/the/topic: ') and '\n' not in str(caught.value)
