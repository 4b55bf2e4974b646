"""The encodings of sensor_msgs/Image, raw: one table for the nodes and for bags. Takes a message however it was
decoded; needs no ROS."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.significant_bits import SignificantBits, in_8_bits


class Encoding(NamedTuple):
    """Channels of a pixel, their type, what OpenCV makes RGB of them with, the bits that are used (16: at most, see
    `dfd_ros.core.significant_bits`), and the rows of data for a row of the image."""

    channels: int
    kind: str = 'u1'
    conversion: str = ''
    bits: int = 8
    rows: float = 1


# A Bayer pattern is named by its first two pixels in ROS, by the second row's second and third in OpenCV.
_BAYER = {'rggb': 'BayerBG2RGB', 'bggr': 'BayerRG2RGB', 'gbrg': 'BayerGR2RGB', 'grbg': 'BayerGB2RGB'}
_PLAIN = {'rgb': (3, ''), 'bgr': (3, 'BGR2RGB'), 'rgba': (4, 'RGBA2RGB'), 'bgra': (4, 'BGRA2RGB')}
COLOUR = {
    **{f'{name}8': Encoding(channels, 'u1', conversion) for name, (channels, conversion) in _PLAIN.items()},
    **{f'{name}16': Encoding(channels, 'u2', conversion, 16) for name, (channels, conversion) in _PLAIN.items()},
    'mono8': Encoding(1, 'u1', 'GRAY2RGB'),
    **{f'mono{bits}': Encoding(1, 'u2', 'GRAY2RGB', bits) for bits in (10, 12, 16)},
    '8UC1': Encoding(1, 'u1', 'GRAY2RGB'),
    '8UC3': Encoding(3, 'u1', 'BGR2RGB'),
    '8UC4': Encoding(4, 'u1', 'BGRA2RGB'),
    **{name: Encoding(2, 'u1', 'YUV2RGB_UYVY') for name in ('yuv422', 'uyvy')},
    **{name: Encoding(2, 'u1', 'YUV2RGB_YUYV') for name in ('yuv422_yuy2', 'yuyv')},
    'nv12': Encoding(1, 'u1', 'YUV2RGB_NV12', rows=1.5),
    'nv21': Encoding(1, 'u1', 'YUV2RGB_NV21', rows=1.5),
    'nv24': Encoding(1, 'u1', 'YUV2RGB_NV12', rows=3),
    **{
        f'bayer_{name}{bits}': Encoding(1, 'u1' if bits == 8 else 'u2', conversion, bits)
        for bits in (8, 10, 12, 16)
        for name, conversion in _BAYER.items()
    },
}
NO_DEPTH = 65535
DEPTH = {'16UC1': Encoding(1, 'u2'), 'mono16': Encoding(1, 'u2'), '32FC1': Encoding(1, 'f4')}


def to_rgb(message: Any, topic: str = 'image', bits: SignificantBits | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image. It may share the message's memory: do not write to it.

    bits: those that the 16-bit images of the stream use, of which the upper 8 are taken; None = those that this image
        needs. Encodings such as mono12 have theirs in their name.

    Raises InputError, one line that names `topic`, for an encoding that is not known, a zero size, a step shorter than
    a row, and less data than height x step.
    """
    if message.encoding not in COLOUR:
        raise InputError(f'{topic}: unknown encoding {quoted(message.encoding)}; known are {", ".join(COLOUR)}')
    encoding = COLOUR[message.encoding]
    image = pixels(message, encoding, topic)
    used = encoding.bits
    if used == 16:
        bits = SignificantBits() if bits is None else bits
        bits.look(image[..., :3] if encoding.channels == 4 else image, topic)  # without the opacity
        used = bits.bits
    if encoding.conversion:
        import cv2

        try:
            if message.encoding == 'nv24':  # as nv12 of twice the size, which has as much colour
                brightness, colour = np.split(image, [message.height])
                image = np.concatenate([brightness.repeat(2, 0).repeat(2, 1), colour.reshape(message.height, -1)])
            image = cv2.cvtColor(np.ascontiguousarray(image), getattr(cv2, f'COLOR_{encoding.conversion}'))
            image = image[::2, ::2] if message.encoding == 'nv24' else image
        except cv2.error as error:
            raise InputError(
                f'{topic}: encoding {quoted(message.encoding)} cannot be converted to rgb8: {reason(error)}'
            ) from None
    if image.dtype.itemsize == 2:
        image = in_8_bits(image, used)
    return np.ascontiguousarray(image)


def to_depth(message: Any, topic: str) -> np.ndarray:
    """(H, W) float32 m, NaN = none, of an Image (16UC1 in mm, 32FC1 in m), see `metres`.

    Raises InputError, one line that names `topic`, as `to_rgb` does.
    """
    if message.encoding not in DEPTH:
        raise InputError(f'{topic}: encoding {quoted(message.encoding)} is no depth; must be 16UC1 (mm) or 32FC1 (m)')
    return metres(pixels(message, DEPTH[message.encoding], topic))


def metres(depth: np.ndarray) -> np.ndarray:
    """float32 m, NaN = none, of depth in mm (uint16) or m (floating point).

    Values that are not positive and finite are no depth, nor is the largest of uint16, which sensors use for that too.
    """
    if depth.dtype.kind == 'f':
        return np.where((depth > 0) & (depth < np.inf), depth, np.nan).astype(np.float32)
    scaled = depth * np.float32(1e-3)
    scaled[(depth == 0) | (depth == NO_DEPTH)] = np.nan
    return scaled


def pixels(message: Any, encoding: Encoding, topic: str) -> np.ndarray:
    """(H, W[, channels]) without the padding of rows, a view of the message where it can be; of planes all rows."""
    if message.width == 0 or message.height == 0:
        raise InputError(f'{topic}: image of zero size ({message.width}x{message.height})')
    dtype = np.dtype(('>' if message.is_bigendian else '<') + encoding.kind)
    row = message.width * encoding.channels * dtype.itemsize
    if message.step < row:
        raise InputError(
            f'{topic}: step {message.step} is shorter than a row of {message.width} '
            f'{message.encoding} pixels ({row} bytes)'
        )
    data, height = np.frombuffer(message.data, np.uint8), int(message.height * encoding.rows)
    if data.size < height * message.step:
        raise InputError(
            f'{topic}: {data.size} bytes of data, expected height x step = {height} x {message.step} = '
            f'{height * message.step}'
        )
    data = data[: height * message.step].reshape(height, message.step)
    image = np.ascontiguousarray(data[:, :row]).view(dtype).reshape(height, message.width, -1)
    image = image.astype(dtype.newbyteorder('='), copy=False)
    return image[..., 0] if encoding.channels == 1 else image
