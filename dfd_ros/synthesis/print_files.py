"""Generated prints as image files, for renderers that read their pictures from a folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from dfd_ros.core.files import written_atomically
from dfd_ros.synthesis.blender.split_pools import split_of
from dfd_ros.synthesis.pictures import Library
from dfd_ros.synthesis.unpacked import Progress


def write_prints(folder: Path, count: int, photographs: Path | None, progress: Progress) -> None:
    """Write print-00000.png and so on to a folder. Existing ones are kept.

    The name of a file determines its split (`split_of`); those of the test split have the layouts of tests.

    Args:
        photographs: folder of photographs to print; None = illustrations.

    Raises:
        InputError: `photographs` has no usable image.
    """
    source = str(photographs) if photographs else ''
    libraries = {split: Library(source, split) for split in ('train', 'test')}
    folder.mkdir(parents=True, exist_ok=True)
    for number in progress(range(count), 'prints'):
        path = folder / f'print-{number:05d}.png'
        if path.exists():
            continue
        split = 'test' if split_of(path.name) == 'test' else 'train'
        with written_atomically(path) as temporary, temporary.open('wb') as file:
            Image.fromarray(libraries[split].numbered_print(number)).save(file, 'PNG')
