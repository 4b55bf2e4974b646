"""Renders a data set into shards with several processes; resumable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dfd_ros.core.shares import share_of
from dfd_ros.datasets.rendering.job_log import JobLog, claim_folder
from dfd_ros.datasets.rendering.workers import BlenderWorkers, Job, Machine
from dfd_ros.datasets.shared_shards import SharedShards
from dfd_ros.synthesis.blender.render_settings import RenderSettings

SHARD_NAME = 'blender'
WORKER = 'dfd_ros.datasets.rendering.worker'
SCENES_FILE = 'scenes.jsonl'


def render_dataset(
    folder: Path,
    settings: RenderSettings,
    seeds: range,
    machine: Machine,
    progress: Callable[[int, int], contextlib.AbstractContextManager] | None = None,
    job: str = '1/1',
    samples_per_shard: int = 50,
) -> tuple[int, bool]:
    """Render a job's share of the scenes of these seeds into a folder, except those that it already has. Returns how
    many of the scenes are there, and whether all are.

    Args:
        job: I/N, of N that render into the folder; see `share_of`.
        progress: called with (existing scenes, all scenes); returns a context, whose `update()` is called per scene.

    Raises:
        InputError: the folder holds other scenes, another process writes there, Blender is missing, or a user's
            file cannot be read.
        BlenderCrashed: Blender crashed twice on one scene.
    """
    folder = Path(folder)
    keys = {f'{seed:08d}': seed for seed in seeds}
    claim = partial(claim_folder, folder, SCENES_FILE, asdict(settings))
    shards = SharedShards(folder, SHARD_NAME, list(keys), samples_per_shard, not job.endswith('/1'), claim)
    with shards:
        jobs = [Job(key, keys[key], shards.part(key)) for key in share_of(list(keys), job)]
        wanted = [todo for todo in jobs if not shards.has(todo.key)]
        with (
            BlenderWorkers(WORKER, {'settings': asdict(settings)}, machine) as workers,
            progress(len(jobs) - len(wanted), len(jobs)) if progress else contextlib.nullcontext() as bar,
            JobLog(folder / SCENES_FILE, job) as log,
        ):
            for done, about in workers.render(wanted):
                shards.add(done.key)
                made_with = {'gpu': workers.gpu, 'workers': machine.workers, 'threads': machine.threads}
                log.write(seed=done.seed, **about, **made_with)
                if bar is not None:
                    bar.update()
        return shards.count(), shards.finish()
