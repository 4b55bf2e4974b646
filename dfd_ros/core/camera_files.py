"""Files of cameras that Pillow alone does not read: HEIC (HEIF, AVIF) and RAW, each by an optional package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from dfd_ros.core.errors import InputError, reason

HEIC_SUFFIXES = ('.heic', '.heif', '.hif')
RAW_SUFFIXES = ('.dng', '.nef', '.nrw', '.cr2', '.cr3', '.arw', '.raf', '.orf', '.rw2', '.pef', '.srw')
CAMERA_SUFFIXES = HEIC_SUFFIXES + RAW_SUFFIXES
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's turns as EXIF has them
_ORIENTATION = 0x0112


def open_camera_file(path: Path) -> Image.Image:
    """An HEIC or RAW file as an image; its pixels are decoded when they are needed. RAW is developed with the camera's
    white balance and the same brightness for all images, so that those of a stack stay alike.

    Raises:
        InputError: the package that reads it is not installed.
        Exception: those of the libraries, for a file that they cannot read.
    """
    if path.suffix.lower() in RAW_SUFFIXES:
        return _RawImage(path, _imported('rawpy', 'rawpy', path, 'RAW'))
    _imported('pillow_heif', 'pillow-heif', path, 'HEIC').register_heif_opener()
    try:
        return Image.open(path, formats=('HEIF', 'AVIF'))
    except UnidentifiedImageError:
        raise ValueError('damaged, or no HEIC file') from None


def _imported(module: str, package: str, path: Path, kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f'{path}: reading {kind} needs the package {package}: pip install {package}') from None


class _RawImage(Image.Image):
    """A RAW file, developed by LibRaw when its pixels are asked for."""

    format = 'RAW'

    def __init__(self, path: Path, rawpy: Any) -> None:
        super().__init__()
        self._path, self._rawpy, self._is_half, self._is_loaded = path, rawpy, False, False
        with self._opened() as raw:
            self._mode, self._size = 'RGB', (raw.sizes.width, raw.sizes.height)
            turn = _ORIENTATIONS.get(raw.sizes.flip, 1)
        data = path.read_bytes()
        exif = self.getexif()
        if data[:4] in (b'II*\0', b'MM\0*'):  # else, such as CR3 and RAF, it is not a TIFF file
            self.info['exif'] = b'Exif\0\0' + data
            exif.load(self.info['exif'])
        exif[_ORIENTATION] = turn

    def _opened(self):
        try:
            return self._rawpy.imread(str(self._path))
        except self._rawpy.LibRawError as error:
            raise ValueError(reason(error)) from None

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """LibRaw can read at half the size, in a quarter of the time."""
        width, height = self._size
        if not self._is_loaded and size is not None and width >= 2 * size[0] and height >= 2 * size[1]:
            self._is_half = True
            self._size = width // 2, height // 2

    def load(self):
        if not self._is_loaded:
            self._is_loaded = True
            with self._opened() as raw:
                pixels = raw.postprocess(
                    use_camera_wb=True, no_auto_bright=True, user_flip=0, output_bps=8, half_size=self._is_half
                )
            developed = Image.fromarray(pixels)
            self.im, self._size = developed.im, developed.size
        return super().load()
