"""Focal stacks: images of one scene, the state of the lens for each, and their folder format.

A folder holds the images beside a `stack.yaml`::

    lens: {focal_length_mm: 4.3, f_number: 1.8, sensor_width_mm: 6.4}   # null = unknown
    frames:
    - {file: 00.jpg, focus_distance_m: .inf}
    - {file: 01.jpg, focus_distance_m: 2.0}
    depth: depth.npy          # optional ground truth: float32 metres, NaN = none

Also optional: `near_m` and `far_m` of the lens (the distances that it can focus), `magnification` (focus
breathing, relative to focus at infinity) and `stamp_s` of a frame. Null or absent values are taken from the
images' EXIF if it has them. docs/focal_stacks.md has a template.

A stack of which only the order of focus is known is relative: all focus distances are null, and `order` says how the
frames go, `far_to_near` or `near_to_far`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

from dfd_ros.core import provenance
from dfd_ros.core.array_files import read_array
from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.files import folder_written_atomically, read_yaml
from dfd_ros.core.image_io import StackFiles, StackImage, image_size
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.parsing import parse

if TYPE_CHECKING:
    from dfd_ros.core.stack_file import FrameEntry, StackFile

_ORDERS = ('far_to_near', 'near_to_far')


@dataclass
class FocalStack:
    """Images of one scene, and the state of the lens for each."""

    images: list[np.ndarray]
    """(H, W, 3) uint8 RGB each, all of one size."""
    lens_states: list[LensState]
    """One for each image."""
    depth: np.ndarray | None = None
    """Ground truth: (H, W) float32 metres, NaN = none."""
    name: str = 'focal stack'
    """For messages: the folder that it was read from."""
    is_metric: bool = True
    """False: only the order of focus is known, and the focus distances are those of `relative_lens_states`."""
    focus_source: str = 'stack.yaml'
    """Where the focus distances, or their order, are from; for people."""

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[np.ndarray, LensState]]:
        return zip(self.images, self.lens_states)

    @property
    def range(self) -> VergenceRange:
        """From the nearest to the farthest focus distance. Raises `InputError` if all are equal."""
        return swept_range(self.lens_states, self.name)

    @classmethod
    def read(cls, folder: str | Path, *, metric: bool = True) -> FocalStack:
        """Read a folder. Raises `InputError` that names the file and the field.

        metric: False accepts a stack none of whose focus distances is known, too. It is then relative.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f'{folder}: no such folder')
        where = f'{folder / "stack.yaml"}'
        description = _description(folder / 'stack.yaml')
        frames, foci = description.frames, dict[str, str]()
        for i, frame in enumerate(frames):
            focus = repr((frame.focus_distance_m, frame.magnification))
            if foci.setdefault(frame.file, focus) != focus:
                raise InputError(
                    f'{where}, frames[{i}], file: {quoted(frame.file)} is named before with another focus; '
                    'an image has one'
                )
        read = StackFiles(
            [folder / frame.file for frame in frames],
            [f'{where}, frames[{i}], file' for i in range(len(frames))],
            str(folder),
        ).read()
        is_relative = not metric and all(
            math.isnan(frame.focus_distance_m) and math.isnan(image.lens['focus_distance'])
            for frame, image in zip(frames, read)
        )
        if is_relative:
            lens_states = relative_lens_states(len(frames))
            if description.order == 'near_to_far':
                lens_states.reverse()
        else:
            lens_states = [
                _lens_state(description, frame, image, f'{where}, frames[{i}]')
                for i, (frame, image) in enumerate(zip(frames, read))
            ]
        images = [image.pixels for image in read]
        depth = None
        if description.depth is not None:
            with_all = image_size(folder / frames[0].file)
            depth = _read_depth(folder / description.depth, images[0].shape[:2], with_all, f'{where}, depth')
        order = (description.order or _ORDERS[0]).replace('_', ' ')
        source = f'stack.yaml, {order}' if is_relative else 'stack.yaml'
        return cls(images, lens_states, depth, str(folder), not is_relative, source)

    def write(self, folder: str | Path, *, suffix: str = '.png', overwrite: bool = False) -> None:
        """Write the folder, whole or not at all. Images are lossless by default.

        Raises `InputError` where the folder exists with something in it (unless it is a stack, to be
        overwritten), or where the lens changes within the stack, which the format cannot say.
        """
        folder = Path(folder)
        is_replaced = overwrite and (folder / 'stack.yaml').is_file()
        if folder.exists() and not is_replaced and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f'{folder}: already exists; choose another folder or remove it')
        description = self._description(suffix)
        with folder_written_atomically(folder) as temporary:
            for image, frame in zip(self.images, description['frames']):
                Image.fromarray(image).save(temporary / frame['file'], quality=95)
            if self.depth is not None:
                np.save(temporary / description['depth'], self.depth.astype(np.float32))
            text = yaml.safe_dump(description, sort_keys=False, default_flow_style=None, width=1000)
            (temporary / 'stack.yaml').write_text(text + provenance.comment())

    def _description(self, suffix: str) -> dict:
        first = self.lens_states[0]
        for i, state in enumerate(self.lens_states):
            if repr((state.lens, state.near, state.far)) != repr((first.lens, first.near, first.far)):
                raise InputError(
                    f'{self.name}: the lens of frame {i} is another than that of frame 0, a stack has one lens'
                )
        digits = max(2, len(str(len(self) - 1)))
        lens = {
            'focal_length_mm': _known(first.focal_length * 1e3),
            'f_number': _known(first.f_number),
            'sensor_width_mm': _known(first.pixel_pitch * 1e3 * self.images[0].shape[1]),
        }
        for key, value in (('near_m', first.near), ('far_m', first.far)):
            if not math.isnan(value):
                lens[key] = _known(value)
        frames: list[dict] = []
        for i, state in enumerate(self.lens_states):
            focus = _known(state.focus_distance) if self.is_metric else None
            frame: dict = {'file': f'{i:0{digits}d}{suffix}', 'focus_distance_m': focus}
            for key, value in (('magnification', state.magnification), ('stamp_s', state.stamp)):
                if not math.isnan(value):
                    frame[key] = float(value)
            frames.append(frame)
        rises = self.lens_states[0].focus_distance < self.lens_states[-1].focus_distance
        return (
            {'lens': lens}
            | ({} if self.is_metric else {'order': _ORDERS[rises]})
            | {'frames': frames}
            | ({} if self.depth is None else {'depth': 'depth.npy'})
        )


def relative_lens_states(count: int) -> list[LensState]:
    """Lens states of frames of which only the order is known, from the farthest focus to the nearest: stand-ins, evenly
    spaced in vergence, from infinity to 1 m. Vergence scaled to this range (u) then is the place in the order. The lens
    is unknown: how much blur there is across the range depends on the true distances."""
    return [LensState(math.inf if i == 0 else (count - 1) / i) for i in range(count)]


def swept_range(lens_states: Sequence[LensState], name: str) -> VergenceRange:
    """The distances from the nearest to the farthest focus of a stack of this name. Raises `InputError` where all are
    one."""
    distances = [state.focus_distance for state in lens_states]
    if min(distances) == max(distances):
        raise InputError(
            f'{name}: every frame is focused at {distances[0]:g} m, a focal stack needs at least two focus distances'
        )
    return VergenceRange(min(distances), max(distances))


def stacks_with_depth(folder: str | Path) -> list[Path]:
    """The focal stacks below a folder whose stack.yaml names true depth, in the order of their names.

    Raises:
        InputError: a stack.yaml cannot be read.
    """
    return sorted(path.parent for path in Path(folder).glob('**/stack.yaml') if _description(path).depth is not None)


def _known(value: float) -> float | None:
    """None for unknown; else without the digits that a change of unit has made up."""
    return None if math.isnan(value) else float(f'{value:.12g}')


def _size(image: np.ndarray) -> str:
    return f'{image.shape[1]}x{image.shape[0]}'


def _description(path: Path) -> StackFile:
    from dfd_ros.core.stack_file import StackFile  # here, as Blender's Python, which writes samples, lacks pydantic

    folder = shlex.quote(str(path.parent))
    content = read_yaml(path, f', a focal stack folder needs one; to write one: dfd stack init {folder}')
    return parse(StackFile, content, str(path))


def _lens_state(description: StackFile, frame: FrameEntry, image: StackImage, where: str) -> LensState:
    from dfd_ros.core.stack_file import LensEntry

    lens, exif = description.lens or LensEntry(), image.lens

    def known(value: float, otherwise: float) -> float:
        return otherwise if math.isnan(value) else value

    focus_distance = known(frame.focus_distance_m, exif['focus_distance'])
    if math.isnan(focus_distance):
        raise InputError(
            f'{where}, focus_distance_m: unknown, and {frame.file} has no EXIF subject '
            'distance; give the focus distance in metres (.inf for infinity)'
        )
    return LensState(
        focus_distance,
        focal_length=known(lens.focal_length_mm * 1e-3, exif['focal_length']),
        f_number=known(lens.f_number, exif['f_number']),
        pixel_pitch=known(lens.sensor_width_mm * 1e-3 / image.stored_width, exif['pixel_pitch']),
        magnification=frame.magnification,
        near=lens.near_m,
        far=lens.far_m,
        stamp=frame.stamp_s,
    ).checked(where)


def _read_depth(path: Path, shape: tuple[int, int], stored: tuple[int, int], where: str) -> np.ndarray:
    """Of an array of the size of the images (`shape`), or, if they were reduced, of that in which they are stored."""
    depth = read_array(path, f', named by {where}')
    if depth.shape != shape and sorted(depth.shape) == sorted(stored):
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, depth.shape))
        depth = depth[rows[:, None], columns]
    if depth.shape != shape or depth.dtype.kind != 'f':  # whole numbers are rather millimetres
        raise InputError(
            f'{path}: {depth.dtype} {depth.shape}, must be metres as float32 {shape}, the size of the images'
        )
    depth = depth.astype(np.float32)
    depth[depth <= 0] = np.nan  # some sensors write 0 for no reading
    return depth
