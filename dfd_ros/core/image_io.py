"""Image files: upright images, and what they say of the lens."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dfd_ros.core.camera_files import CAMERA_SUFFIXES, open_camera_file
from dfd_ros.core.errors import InputError, reason, warn
from dfd_ros.core.exif import camera_name, lens_data
from dfd_ros.core.files import require_file
from dfd_ros.core.image_encodings import NO_DEPTH
from dfd_ros.core.significant_bits import SignificantBits, in_8_bits, scaling
from dfd_ros.core.tiff_orientation import without_orientation

FORMATS = ('PNG', 'JPEG', 'TIFF', 'WEBP', 'PPM')
SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pnm')
MAX_PIXELS = 200_000_000  # px
# px of one and of all images of a stack; larger ones are reduced. Estimating takes some 50 bytes for each pixel of an
# image and 13 for each of the stack: within 2 GB.
MAX_STACK_IMAGE, MAX_STACK = 12_500_000, 64_000_000
MAX_FILE = 2 * 2**30  # bytes
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # else Pillow warns of less, and refuses less
_DEEP = 'dfd_ros: the file, if it has 16 bits of colour'
_TURNS = 'dfd_ros: orientations of the pages, if they were taken out of the file'
_REDUCED_BY_DECODER = ('JPEG', 'MPO')
_LOOKED_AT = 500  # images of a recording, for the bits that they use


class StackImage(NamedTuple):
    """An upright image of a stack; its stored width (px), which corresponds to the width of the sensor; and its
    `lens_data`."""

    pixels: np.ndarray
    stored_width: int
    lens: dict[str, float]


class _Decoded(NamedTuple):
    """What `_pixels` gives of an image that is not turned yet; its width before that; `lens_data`; orientation."""

    pixels: np.ndarray
    stored_width: int
    lens: dict[str, float]
    orientation: int


class SmallImage(NamedTuple):
    """An upright image, reduced; and what its file says: size as stored (width, height), `lens_data`, and camera."""

    pixels: np.ndarray
    stored_size: tuple[int, int]
    lens: dict[str, float]
    camera: str


def read_image(path: Path, as_stored: bool = False, bits: int = 0) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file, upright. Of 16 bits, the 8 highest that it uses are taken.

    Args:
        as_stored: ignore the EXIF orientation, which depends on how the camera was held. Intrinsics and extrinsics
            refer to the sensor.
        bits: that 16-bit images of its recording use, by `used_bits`, so that all have one exposure; 0 = this image.

    Raises:
        InputError: the file does not exist or is not an image of 8 or 16 bits; names the file.
    """
    with _opened(path, path) as image:
        pixels = _pixels(image)
        return _in_8_bits(pixels if as_stored else _turned(pixels, _orientation(image)), bits)


def used_bits(paths: Sequence[Path], name: str) -> int:
    """The bits that the 16-bit images of a recording use, one number for all of them; 0 if all are of 8 bits.

    Files that cannot be read are left to their reader. name: of the recording, for the line on stderr that says so.
    """
    bits = SignificantBits()
    for path in paths[:: math.ceil(len(paths) / _LOOKED_AT) or 1]:
        with contextlib.suppress(InputError, OSError), _opened(path, path) as image:
            if _is_deep(image):
                bits.look(_pixels(image))
    if line := scaling(name, bits.bits):
        warn(line)
    return bits.bits


def read_image_and_lens(path: Path, named_by: str = '', bits: int = 0) -> StackImage:
    """As `read_image`, with the lens data."""
    with _opened(path, path, named_by) as image:
        pixels = _in_8_bits(_turned(_pixels(image), _orientation(image)), bits)
        return StackImage(pixels, image.width, lens_data(image))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """As `read_image`, of the bytes of a file, but uint16 of 16 bits: see `to_8_bits`. name: for messages."""
    with _opened(data, name) as image:
        return _turned(_pixels(image), _orientation(image))


def to_8_bits(images: Sequence[np.ndarray], name: str = '') -> list[np.ndarray]:
    """(H, W, 3) uint8 RGB of each image of a set that `decode_image` gives; of 16 bits, the 8 highest that the set
    uses are taken. name: of the set, for the line on stderr that says so; '' = none."""
    bits = SignificantBits.of_images(images).bits
    if name and (line := scaling(name, bits)):
        warn(line)
    return [_rgb(pixels, bits) for pixels in images]


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) as they are stored. Raises as `read_image`; only the header is read."""
    with _opened(path, path) as image:
        return image.size


def read_small_image(path: Path, longest: int) -> SmallImage:
    """As `StackFiles.small`."""
    return StackFiles([path], [''], str(path)).small(0, longest)


def read_pages(path: Path) -> list[np.ndarray]:
    """The pages of a TIFF file, (H, W, 3) uint8 RGB each, reduced and scaled like `StackFiles.read`.

    Raises:
        InputError: as `read_image`, or the pages differ in size.
    """
    with _opened(path, path, has_pages=True) as image:
        sizes = []
        for i in range(getattr(image, 'n_frames', 1)):
            image.seek(i)
            sizes.append(image.size)
            if sizes[i] != sizes[0]:
                raise ValueError(
                    f'page {i + 1} is {sizes[i][0]}x{sizes[i][1]}, page 1 {sizes[0][0]}x{sizes[0][1]}; '
                    'give pages of one size'
                )
            if _is_deep_colour(image) and not image.mode.startswith('I'):
                raise ValueError('pages of 16-bit colour, give 8 bit, grey, or one file for each page')
        factor = stack_factor(sizes)
        if line := reduction(sizes, factor):
            warn(f'{path}: {line}')
        pages = []
        for i in range(len(sizes)):
            image.seek(i)
            pages.append(_turned(_pixels(image, factor), _orientation(image)))
    return to_8_bits(pages, str(path))


class StackFiles:
    """The image files of a stack, to be looked at in small and then read.

    Args:
        named_by: origin of each file name, for the message if the file does not exist.
        name: of the stack, for messages.
    """

    def __init__(self, paths: Sequence[Path], named_by: Sequence[str], name: str) -> None:
        self._paths, self._named_by, self._name = paths, named_by, name
        self._decoded: dict[int, _Decoded] = {}

    def small(self, index: int, longest: int) -> SmallImage:
        """An image reduced to about `longest` px, as fast as its format allows. Raises as `read_image`.

        Its pixels are as they are stored, see `to_8_bits`. Where the whole of it has to be decoded for that, `read`
        does not decode it again.
        """
        with self._opened(index) as image:
            size, lens, camera, turn = image.size, lens_data(image), camera_name(image), _orientation(image)
            factor = max(1, max(size) // longest)
            if image.format in _REDUCED_BY_DECODER:
                pixels = _pixels(image, factor)
            else:
                pixels = _pixels(image, min(factor, self._factor))
                if self._factor <= factor:
                    self._decoded[index] = _Decoded(pixels, size[0], lens, turn)
                pixels = reduced(pixels, max(1, size[0] // factor), max(1, size[1] // factor))
        return SmallImage(_turned(pixels, turn), size, lens, camera)

    def read(self) -> list[StackImage]:
        """The images. All are rotated like the first one, since EXIF orientations are unstable when a camera looks
        straight down. 16-bit images are scaled by the bits that the stack uses. Images with more than
        `MAX_STACK_IMAGE` or `MAX_STACK` pixels are reduced, with a line on stderr.

        Raises:
            InputError: as `read_image`, or the images differ in size.
        """
        if line := reduction(self._sizes, self._factor):
            warn(f'{self._name}: {line}')
        images, orientations = [], []
        for i in range(len(self._paths)):
            pixels, stored_width, lens, turn = self._decoded.pop(i) if i in self._decoded else self._decode(i)
            lens = {**lens, 'pixel_pitch': lens['pixel_pitch'] * stored_width / pixels.shape[1]}
            images.append(StackImage(pixels, pixels.shape[1], lens))
            orientations.append(turn)
        if len(set(self._sizes)) == 1 and len(set(orientations)) > 1:
            warn(f'{self._name}: the EXIF orientation of its images differs; all are turned as the first one is')
            orientations = orientations[:1] * len(images)
        images = [read._replace(pixels=_turned(read.pixels, turn)) for read, turn in zip(images, orientations)]
        for path, read in zip(self._paths, images):
            if read.pixels.shape[:2] != images[0].pixels.shape[:2]:
                raise InputError(
                    f'{path}: {_size(read.pixels)} pixels, but {self._paths[0].name} has {_size(images[0].pixels)}; '
                    'give images of one size'
                )
        scaled = to_8_bits([read.pixels for read in images], self._name)
        return [read._replace(pixels=pixels) for read, pixels in zip(images, scaled)]

    @functools.cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        sizes = []
        for i in range(len(self._paths)):
            with self._opened(i) as image:
                sizes.append(image.size)
        return sizes

    @property
    def _factor(self) -> int:
        return stack_factor(self._sizes)

    def _decode(self, index: int) -> _Decoded:
        with self._opened(index) as image:
            # First, as draft mode changes the size of the image, which the lens data refer to.
            stored_width, lens, turn = image.width, lens_data(image), _orientation(image)
            return _Decoded(_pixels(image, self._factor), stored_width, lens, turn)

    def _opened(self, index: int) -> contextlib.AbstractContextManager[Image.Image]:
        return _opened(self._paths[index], self._paths[index], self._named_by[index])


def stack_factor(sizes: Sequence[tuple[int, int]]) -> int:
    """By how much images of a stack have to be reduced."""
    pixels_of = [width * height for width, height in sizes]
    return math.ceil(math.sqrt(max(sum(pixels_of) / MAX_STACK, max(pixels_of) / MAX_STACK_IMAGE)))


def reduction(sizes: Sequence[tuple[int, int]], factor: int) -> str:
    """For people; empty if they are not reduced."""
    width, height = sizes[0]
    return f'{len(sizes)} images of {width}x{height} are read at 1/{factor} of their size' if factor > 1 else ''


def _size(pixels: np.ndarray) -> str:
    return f'{pixels.shape[1]}x{pixels.shape[0]}'


def read_depth_image(path: Path) -> np.ndarray:
    """(H, W) uint16, in the unit of the file, 0 = none, of an upright 16-bit image with one channel. Raises as
    `read_image`."""
    with _opened(path, path) as image:
        if not image.mode.startswith('I'):
            raise ValueError('must be of one channel of 16 bits')
        depth = _turned(_pixels(image), _orientation(image))
    return np.where(depth == NO_DEPTH, np.uint16(0), depth)


@contextlib.contextmanager
def _opened(file: Path | bytes, name: object, named_by: str = '', has_pages: bool = False) -> Iterator[Image.Image]:
    if isinstance(file, Path):
        try:
            require_file(file, f', named by {named_by}' if named_by else '', MAX_FILE)
        except InputError as error:
            raise InputError(str(error).replace(': no such file', ': no such image', 1)) from None
    try:
        with (
            warnings.catch_warnings(action='ignore'),  # of Pillow, about what is damaged
            contextlib.ExitStack() as opened,
        ):
            image = opened.enter_context(_open(file))
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f'{image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} million')
            # Previews, in the MPO files of phones, and thumbnails, in HEIC.
            if image.format not in ('MPO', 'HEIF') and getattr(image, 'n_frames', 1) > 1 and not has_pages:
                warn(f'{name}: has several frames, the first one is used')
                image.seek(0)
            if image.format == 'TIFF' and _is_turned(image, has_pages):
                file, turns = without_orientation(file if isinstance(file, bytes) else file.read_bytes())
                image = opened.enter_context(_open(file))
                image.info[_TURNS] = turns
            if _is_deep_colour(image):  # which cannot be seen any more once it is decoded
                image.info[_DEEP] = file
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError:
        most = MAX_PIXELS // 10**6
        raise InputError(f'{name}: cannot be read as an image: more than {most} million pixels') from None
    except UnidentifiedImageError:
        raise InputError(f'{name}: cannot be read as an image, give PNG, JPEG, TIFF, WebP or PNM') from None
    except Exception as error:  # Pillow's decoders raise many types on broken files
        raise InputError(f'{name}: cannot be read as an image: {reason(error)}') from None


def _open(file: Path | bytes) -> Image.Image:
    if isinstance(file, bytes):
        return Image.open(io.BytesIO(file), formats=FORMATS)
    # RAW files are TIFF files with a preview.
    return open_camera_file(file) if file.suffix.lower() in CAMERA_SUFFIXES else Image.open(file, formats=FORMATS)


def _is_turned(image: Image.Image, has_pages: bool) -> bool:
    """Whether a TIFF file, or one of its pages, is not upright."""
    for i in range(getattr(image, 'n_frames', 1) if has_pages else 1):
        image.seek(i)
        if _orientation(image) != 1:
            return True
    image.seek(0)
    return False


def _in_8_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    return _rgb(pixels, bits or SignificantBits.of_images([pixels]).bits)


def _orientation(image: Image.Image) -> int:
    """1 (upright) to 8."""
    if _TURNS in image.info:
        return image.info[_TURNS][image.tell()]
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels of an image with an EXIF orientation, upright: mirrored, then turned by 90 degrees, if need be."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    return np.rot90(pixels, {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0))


def _pixels(image: Image.Image, factor: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 RGB, or uint16 (H, W) or (H, W, 3), as they are stored, reduced by a factor."""
    if image.mode == 'F':
        raise ValueError('its pixels are floating-point numbers, give 8 or 16 bit')
    width, height = max(image.width // factor, 1), max(image.height // factor, 1)
    if _is_deep(image):
        return reduced(_sixteen_bits(image), width, height)
    if factor > 1:
        image.draft('RGB', (width, height))  # a JPEG is reduced while it is decoded
        opaque = image if image.mode in ('L', 'RGB') else image.convert('L' if image.mode == '1' else 'RGB')
        image = opaque.resize((width, height), Image.Resampling.BOX, reducing_gap=1.0)  # takes a third of the time
    return np.array(image.convert('RGB'))  # one that may be written to


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith('I') or _DEEP in image.info


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow would leave out the lower 8 of 16 bits, as it does of images with several channels."""
    tiles = getattr(image, 'tile', [])
    return bool(tiles) and ';16' in str(tiles[0][3])


def _sixteen_bits(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I'):
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    import cv2  # here, as Blender's Python lacks it

    file = image.info[_DEEP]
    data = file if isinstance(file, bytes) else file.read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError('16-bit colour that OpenCV cannot read, give 8 bit')
    return pixels if pixels.ndim == 2 else pixels[..., 2::-1]


def reduced(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) at another size, each pixel the mean of those that it covers."""
    if pixels.shape[:2] == (height, width):
        return pixels
    import cv2

    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)


def _rgb(pixels: np.ndarray, bits: int) -> np.ndarray:
    """uint8 RGB of what `_pixels` gives; of uint16 the 8 upper ones of `bits`."""
    if pixels.dtype == np.uint16:
        pixels = in_8_bits(pixels, bits)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2))
