"""A stack.yaml to be completed: what is known of photographs, with comments that say what is missing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import folder_written_atomically, require_output_folder, require_writable, write_text
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.image_io import read_small_image
from dfd_ros.photographs.focus_order import ORDERS
from dfd_ros.photographs.photograph_folder import SMALL, read_photographs
from dfd_ros.photographs.stack_input import read_focal_stack

_WIDTH = 24  # of a key and its value, before the comment


def describe_folder(folder: Path, order: str | None = None, overwrite: bool = False) -> tuple[Path, str]:
    """Write a stack.yaml beside the photographs of a folder. Returns its path and where the focus is from.

    Raises:
        InputError: there is one already (and it is not to be overwritten), or the folder is no focal stack.
    """
    path = folder / 'stack.yaml'
    if path.exists() and not overwrite:
        raise InputError(f'{path}: already exists; edit it, or replace it with --overwrite')
    require_writable(path)
    found = read_photographs(folder, order)
    first = read_small_image(found.paths[0], SMALL)
    lens = {
        'focal_length_mm': first.lens['focal_length'] * 1e3,
        'f_number': first.lens['f_number'],
        'sensor_width_mm': first.lens['pixel_pitch'] * 1e3 * first.stored_size[0],
    }
    if found.focus_distances is None:
        frames = [(found.paths[i].name, math.nan) for i in found.order.order]
    else:
        frames = [(path.name, distance) for path, distance in zip(found.paths, found.focus_distances)]
    write_text(path, description(lens, frames, found.focus_source))
    return path, found.focus_source


def extract(source: Path, folder: Path, order: str | None = None) -> tuple[Path, str]:
    """Write the frames of a video or the pages of a TIFF file into a new folder, with a stack.yaml. Returns as
    `describe_folder`.

    Raises:
        InputError: the folder exists, or the file is no focal stack.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder}: already exists; choose another folder or remove it')
    require_output_folder(folder)
    stack: FocalStack = read_focal_stack(source, order)
    digits = max(2, len(str(len(stack) - 1)))
    names = [f'{i:0{digits}d}.png' for i in range(len(stack))]
    unknown = {'focal_length_mm': math.nan, 'f_number': math.nan, 'sensor_width_mm': math.nan}
    with folder_written_atomically(folder) as temporary:
        for name, image in zip(names, stack.images):
            Image.fromarray(image).save(temporary / name)
        text = description(unknown, [(name, math.nan) for name in names], stack.focus_source)
        (temporary / 'stack.yaml').write_text(text)
    return folder / 'stack.yaml', stack.focus_source


def description(lens: dict[str, float], frames: Sequence[tuple[str, float]], source: str) -> str:
    """The text of a stack.yaml.

    Args:
        lens: by key; NaN is unknown.
        frames: file name and focus distance (m) of each. Either none is NaN, or all are, and the frames go from
            the farthest focus to the nearest.
        source: where the focus distances or their order are from.
    """
    is_relative = all(math.isnan(distance) for _, distance in frames)
    comments = {
        'focal_length_mm': 'not the 35 mm equivalent; phones: about 4 to 7',
        'f_number': '1.8 for f/1.8',
        'sensor_width_mm': 'along the width of the image as stored in the file',
    }
    lines = ['# null means unknown. docs/focal_stacks.md explains the keys.', 'lens:']
    for key, value in lens.items():
        entry = f'  {key}: {_number(value)}'
        lines.append(f'{entry:{_WIDTH + 6}}# {comments[key] if math.isnan(value) else "from EXIF"}')
    if is_relative:
        lines += [
            '# How the focus goes through the frames, far_to_near or near_to_far. It counts while the focus distances',
            '# are null: depth is then relative, without metres.',
            f'order: {ORDERS[0]}',
        ]
        lines.append('# Focus distances are in metres from the lens: 1 / dioptres; infinity is .inf, with the dot.')
    lines += textwrap.wrap(f'Focus: {source}.', 100, initial_indent='# ', subsequent_indent='# ')
    lines.append('frames:')
    for name, distance in frames:
        # A quoted name cannot be taken for anything else, whatever it has in it.
        quoted = yaml.safe_dump(name, default_style='"', width=math.inf, allow_unicode=True).strip()
        lines.append(f'- {{file: {quoted}, focus_distance_m: {_number(distance)}}}')
    return '\n'.join(lines) + '\n'


def _number(value: float) -> str:
    if math.isnan(value):
        return 'null'
    return '.inf' if math.isinf(value) else f'{value:.6g}'
