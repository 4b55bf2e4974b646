"""Renders a data set into shards with several processes; resumable."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.files import read_json, require_writable, write_json
from dfd_ros.datasets.rendering.workers import BlenderWorkers, Job
from dfd_ros.datasets.shards import ShardWriter
from dfd_ros.synthesis.blender.render_settings import RenderSettings

SHARD_NAME = 'blender'
WORKER = 'dfd_ros.datasets.rendering.worker'
SETTINGS_FILE = 'settings.json'
SCENES_FILE = 'scenes.jsonl'


@dataclass(frozen=True)
class Machine:
    """How to render: worker processes, threads per process, device, and the Python of an environment with bpy (None =
    this one)."""

    workers: int = 1
    threads: int = 1
    device: str = 'auto'
    python: str | None = None


def render_dataset(
    folder: Path,
    settings: RenderSettings,
    seeds: range,
    machine: Machine,
    progress: Callable[[int, int], contextlib.AbstractContextManager] | None = None,
    samples_per_shard: int = 50,
) -> int:
    """Render the scenes of these seeds into a folder, except those that it already has. Returns the number rendered.

    Args:
        progress: called with (existing scenes, all scenes); returns a context, whose `update()` is called per scene.

    Raises:
        InputError: the folder holds other scenes, another process writes there, Blender is missing, or a user's
            file cannot be read.
        BlenderCrashed: Blender crashed twice on one scene.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / SETTINGS_FILE).exists():
        if not folder.is_dir() or any(path.name != f'.{SHARD_NAME}.parts' for path in folder.iterdir()):
            raise InputError(f'--out {folder}: exists and is not a data set of this command; give a new folder')
    with ShardWriter(folder, SHARD_NAME, samples_per_shard) as writer:
        _claim(folder, settings, bool(writer.done))
        jobs = [Job(f'{seed:08d}', seed, writer.parts / f'{seed:08d}.tar') for seed in seeds]
        wanted = [job for job in jobs if job.key not in writer.done]
        with (
            BlenderWorkers(
                WORKER, {'settings': asdict(settings)}, machine.workers, machine.threads, machine.device, machine.python
            ) as workers,
            progress(len(jobs) - len(wanted), len(jobs)) if progress else contextlib.nullcontext() as bar,
            open(require_writable(folder / SCENES_FILE), 'a') as log,
        ):
            for job, about in workers.render(wanted):
                writer.take(job.key)
                log.write(
                    json.dumps(
                        {
                            'seed': job.seed,
                            **about,
                            'gpu': workers.gpu,
                            'workers': machine.workers,
                            'threads': machine.threads,
                        }
                    )
                    + '\n'
                )
                log.flush()
                if bar is not None:
                    bar.update()
    return len(wanted)


def _claim(folder: Path, settings: RenderSettings, has_scenes: bool) -> None:
    """Record the settings of the folder's scenes, or check that they match."""
    path = folder / SETTINGS_FILE
    mine = asdict(settings)
    if not has_scenes:
        (folder / SCENES_FILE).unlink(missing_ok=True)
        write_json(path, mine)
        return
    try:
        there = asdict(RenderSettings.from_json(read_json(path)))
        other = [name for name in mine if there[name] != mine[name]]
    except (ValueError, KeyError, TypeError):
        raise InputError(f'{path}: cannot be read; give a new folder') from None
    if other:
        raise InputError(
            f'--out {folder}: holds scenes with {other[0]} {quoted(there[other[0]])}, not {quoted(mine[other[0]])}; '
            'give a new folder, or the same settings to resume'
        )
