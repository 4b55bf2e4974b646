"""Folders of calibration images."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from dfd_ros.calibration.board import Board, View
from dfd_ros.core.errors import InputError
from dfd_ros.core.image_io import SUFFIXES, read_image, used_bits


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name. Raises `InputError` if there are none."""
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith('.')
    )
    if not files:
        raise InputError(f'{folder}: no images ({", ".join(SUFFIXES)})')
    return files


def find_boards(folder: str | Path, board: Board, minimum: int) -> tuple[list[View], tuple[int, int]]:
    """The views of the board in a folder of images, and the images' width and height.

    Raises `InputError` where fewer than `minimum` images show it, or where the images are not of one size.
    """
    folder, views = Path(folder), []
    files = image_files(folder)
    bits = used_bits(files, str(folder))
    size: tuple[int, int] | None = None
    with tqdm(files, desc=f'board in {folder.name}', unit='image') as progress:
        for path in progress:
            image = read_image(path, as_stored=True, bits=bits)
            width, height = image.shape[1::-1]
            if size is not None and size != (width, height):
                raise InputError(
                    f'{path}: {width}x{height} pixels, but {files[0].name} has {size[0]}x{size[1]}; give '
                    'images of one camera, of one size'
                )
            size = (width, height)
            try:
                view = board.find(image, path.stem)
            except InputError as error:
                raise InputError(f'{folder}: {error}') from None
            if view is not None:
                views.append(view)
    if len(views) < minimum:
        raise InputError(
            f'{folder}: the board of {board.columns}x{board.rows} squares ({board.dictionary}) was found '
            f'in {len(views)} of {len(files)} images, at least {minimum} are needed; check --squares and '
            '--dictionary, and that the images are sharp'
        )
    assert size is not None  # there are images
    return views, size
