"""Renders views of a world with several processes, one file per view; resumable."""

from __future__ import annotations

import contextlib
import glob
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfd_ros.core import provenance
from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.files import changed_value, read_bytes, read_json, write_json, write_text
from dfd_ros.core.shares import share_of
from dfd_ros.datasets.rendering.job_log import JobLog, jobs_row, read_log
from dfd_ros.datasets.rendering.workers import BlenderWorkers, Job, Machine
from dfd_ros.drawing import visualise
from dfd_ros.synthesis.worlds.view import View, views

WORKER = 'dfd_ros.synthesis.worlds.view_worker'
SHEET_VIEWS = 8
TEXTURES = ('.jpg', '.jpeg', '.png')
MESHES = ('.obj', '.glb', '.ply')
MAX_OBJECT = 3 * 2**20  # bytes: a room has dozens of objects


@dataclass(frozen=True)
class WorldTask:
    """A world and how to render its views.

    Attributes:
        world: FILE.world, SDF; None = generated rooms.
        models: folders with models of the world, or with mesh files to furnish generated rooms.
        exclude: name patterns of models to skip.
        textures: folder of images for materials, which change between views, or None.
        height, width: of the views, px.
        samples: paths per pixel, before denoising.
        bare: share of views of bare floors and walls, see `ViewSettings`.
    """

    world: Path | None
    models: tuple[Path, ...] = ()
    exclude: tuple[str, ...] = ()
    textures: Path | None = None
    height: int = 360
    width: int = 480
    samples: int = 4
    bare: float = 0.0

    def message(self) -> dict:
        """The message that starts the worker."""
        models = self.models if self.world else self._meshes()
        return {
            'world': self.world and str(self.world),
            'models': [str(path) for path in models],
            'exclude': list(self.exclude),
            'textures': [str(file) for file in self._textures()],
            'settings': {'height': self.height, 'width': self.width, 'samples': self.samples, 'bare': self.bare},
        }

    @property
    def name(self) -> str:
        return self.world.stem if self.world else 'room'

    def _meshes(self) -> list[Path]:
        found = []
        for folder in self.models:
            meshes = sorted(
                file
                for file in folder.rglob('*')
                if file.suffix.lower() in MESHES and file.stat().st_size <= MAX_OBJECT
            )
            if not meshes:
                raise InputError(f'--models {folder}: no meshes ({" ".join(MESHES)}) in it')
            found += meshes
        return found

    def _textures(self) -> list[Path]:
        if self.textures is None:
            return []
        found = sorted(file for file in self.textures.rglob('*') if file.suffix.lower() in TEXTURES)
        if not found:
            raise InputError(f'--textures {self.textures}: no images ({" ".join(TEXTURES)}) in it')
        return found

    def fingerprint(self) -> dict:
        """Everything that the views depend on, except the content of the models."""
        content = read_bytes(self.world) if self.world else '\n'.join(map(str, self._meshes())).encode()
        names = [str(file.relative_to(self.textures)) for file in self._textures()] if self.textures else []
        return {
            'world': hashlib.sha256(content).hexdigest(),
            'exclude': list(self.exclude),
            'textures': hashlib.sha256('\n'.join(names).encode()).hexdigest() if names else None,
            'settings': self.message()['settings'],
        }


def render_views(
    folder: Path,
    task: WorldTask,
    seeds: range,
    machine: Machine,
    progress: Callable[[int, int], contextlib.AbstractContextManager] | None = None,
    job: str = '1/1',
) -> tuple[int, int, list[str]]:
    """Render a job's share of the views of these seeds into a folder, except existing ones. It may hold views of other
    worlds too. Two processes that render the same view do no harm: it is a file, written whole.

    Args:
        job: I/N, of N that render into the folder; see `share_of`.
        progress: called with (existing views, all views); returns a context whose `update()` is called for each view.

    Returns:
        How many of the views are there, how many were rendered now, and a line for each part of the world that could
        not be read.

    Raises:
        InputError: the world cannot be read or shows nothing, the folder holds views of it with other settings, or
            Blender is missing.
        BlenderCrashed: Blender crashed twice on one view.
    """
    name, settings = task.name, task.fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    if other := changed_value(folder / f'{name}.json', settings):
        raise InputError(
            f'{folder}: holds views of {name} with other settings ({other[0]}: {shortened(other[1])}, not '
            f'{shortened(other[2])}); give a new folder, or the same settings'
        )
    every = [Job(f'{name}-{seed:06d}', seed, folder / f'{name}-{seed:06d}.npz') for seed in seeds]
    jobs = share_of(every, job)
    wanted = [view for view in jobs if not view.path.exists()]
    write_json(folder / f'{name}.json', settings)
    with (
        BlenderWorkers(WORKER, task.message(), machine) as workers,
        progress(len(jobs) - len(wanted), len(jobs)) if progress else contextlib.nullcontext() as bar,
        JobLog(folder / f'{name}.jsonl', job) as log,
    ):
        for view, about in workers.render(wanted):
            log.write(view=view.path.name, **about)
            if bar is not None:
                bar.update()
    return sum(view.path.exists() for view in every), len(wanted), workers.left_out


def write_view_card(folder: Path) -> Path:
    """Write README.md: the views of each world, and what each job did."""
    size = sum(path.stat().st_size for path in views(folder))
    text = [f'# Path-traced views: {len(views(folder))}, {size / 1e6:.1f} MB', '']
    text += ['| world | views | size | jobs |', '| --- | --- | --- | --- |']
    for path in sorted(folder.glob('*.json')):
        settings, log = read_json(path), read_log(path.with_suffix('.jsonl'), 'view')
        there = {name: line for name, line in log.items() if (folder / name).exists()}
        number = len(list(folder.glob(f'{glob.escape(path.stem)}-*.npz')))
        shape = settings['settings'] if isinstance(settings, dict) and 'settings' in settings else {}
        text.append(
            f'| {path.stem} | {number} | {shape.get("width", "?")}x{shape.get("height", "?")} px | '
            f'{jobs_row(there, "views")} |'
        )
    card = folder / 'README.md'
    write_text(card, '\n'.join([*text, '', f'Made by {provenance.described()}.', '']))
    return card


def write_view_sheet(folder: Path) -> Path:
    """Write a picture of some views: image, depth, and the second layer behind the edges."""
    paths = views(folder)
    rows = []
    for i in range(min(SHEET_VIEWS, len(paths))):
        view = View.read(paths[i * len(paths) // min(SHEET_VIEWS, len(paths))])
        behind, colour = np.full_like(view.depth, np.nan), view.colour
        if view.behind_depth is not None and view.behind_colour is not None:
            behind = view.behind_depth
            colour = np.where(np.isfinite(behind)[..., None], view.behind_colour, view.colour)
        nearest, farthest = np.nanquantile(1 / view.depth, [0.99, 0.01])  # 0 where a view looks out of the world
        far = f'{1 / farthest:.2f} m' if farthest else 'infinity'
        rows.append(
            [
                visualise.Panel(_picture(view.colour), view.about.get('world', '')),
                visualise.Panel(_picture(colour), 'second layer'),
                *(
                    visualise.Panel(visualise.colour((1 / depth - farthest) / max(nearest - farthest, 1e-9)), title)
                    for depth, title in (
                        (view.depth, f'vergence, {1 / nearest:.2f} m to {far}'),
                        (behind, 'of the second layer'),
                    )
                ),
            ]
        )
    path = folder / 'contact_sheet.png'
    visualise.write_picture(path, visualise.sheet(rows, 'path-traced views', f'{len(paths)} views'))
    return path


def _picture(linear: np.ndarray) -> np.ndarray:
    import torch

    white = max(float(np.quantile(linear, 0.97)), 1e-6)
    return (255 * srgb_encode(torch.from_numpy(np.clip(0.8 * linear / white, 0, 1)).float()).numpy()).astype(np.uint8)
