"""Renders procedural focal stacks into folders or shards; resumable, by any number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dfd_ros.core import provenance
from dfd_ros.core.files import output_folder, write_text
from dfd_ros.core.machine import device_name
from dfd_ros.core.sample import Sample
from dfd_ros.core.shared_lock import SharedLock
from dfd_ros.core.shares import share_of
from dfd_ros.datasets.rendering.job_log import JobLog, claim_folder, jobs_row, read_log
from dfd_ros.datasets.shared_shards import SharedShards, unless
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.drawing import visualise
from dfd_ros.drawing.visualise import Bar, Panel, coc_picture, depth_picture, nice_limit, with_unit
from dfd_ros.synthesis import procedural
from dfd_ros.synthesis.procedural import StackBatch, StackSettings

LOG_FILE = 'stacks.jsonl'
SHEET_FILE = 'contact_sheet.png'
CARD_FILE = 'README.md'
NAME = 'procedural'
STACKS_PER_SHARD = 100
SHEET_STACKS = 8
SHEET_FRAMES = 7
FRAME_RATE = 30.0


@dataclass(frozen=True)
class ProceduralSet:
    """What to render.

    Attributes:
        preset, split: what the settings come from, for the card and the samples.
        settings: of the stacks.
        seeds: of the stacks.
        shards: write shards; otherwise folders 0000, 0001, ...
    """

    preset: str
    split: str
    settings: StackSettings
    seeds: range
    shards: bool

    def described(self, device: torch.device) -> dict:
        """What all stacks of a folder have in common."""
        first = {} if self.shards else {'seed': self.seeds.start}  # folders are counted from it
        return {
            'format': 'shards' if self.shards else 'folders',
            'preset': self.preset,
            **first,
            'device': device.type,
            'settings': asdict(self.settings),
        }


def render_procedural(
    folder: Path,
    what: ProceduralSet,
    device: torch.device,
    job: str,
    command: str,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> int:
    """Render the stacks of a job that are not there yet; the last job also writes the contact sheet and the card.

    Args:
        job: I/N, of N that render into the folder; see `share_of`.
        command: for the card.
        progress: wraps the indices of the seeds, such as in a progress bar.

    Returns:
        How many stacks of the set are there.

    Raises:
        InputError: the folder holds something else, or another process writes there alone.
    """
    described = what.described(device)
    output_folder(folder, SHEET_FILE, CARD_FILE)

    claim = partial(claim_folder, folder, LOG_FILE, described)
    output: SharedShards | _Folders
    if what.shards:
        keys = [f'{seed:08d}' for seed in what.seeds]
        output = SharedShards(folder, NAME, keys, STACKS_PER_SHARD, not job.endswith('/1'), claim)
    else:
        output = _Folders(folder, len(what.seeds), not job.endswith('/1'), claim)
    about = {'preset': what.preset, 'split': what.split, 'settings': asdict(what.settings)}
    rows: dict[int, list[Panel]] = {}
    rendered = 0
    with output, JobLog(folder / LOG_FILE, job) as log:
        for i in progress(share_of(range(len(what.seeds)), job)):
            if output.has(output.keys[i]):
                continue
            began, seed = time.monotonic(), what.seeds[i]
            batch = procedural.render_stack(seed, what.settings, device).to('cpu')
            if i < SHEET_STACKS:
                rows[i] = _row(batch)
            if what.shards:
                sample = to_sample(
                    batch, f'seed {seed}', with_magnification=True, frame_rate=FRAME_RATE, seed=seed, about=about
                )
            else:
                sample = to_sample(batch, f'seed {seed}')
            output.write(output.keys[i], sample)
            log.write(seed=seed, seconds=round(time.monotonic() - began, 3), device=device_name(device))
            rendered += 1
        count = output.count()
        if output.finish() and (rendered or not (folder / CARD_FILE).exists()):
            _write_sheet(folder, what, device, rows)
            _write_card(folder, what, command)
    return count


class _Folders:
    """Stacks as folders 0000, 0001, ..., with the interface of `SharedShards`."""

    def __init__(self, folder: Path, count: int, shares: bool, claim: Callable[[bool], None]):
        self.folder, self.keys = folder, [f'{i:04d}' for i in range(count)]
        self._lock = SharedLock(folder, shares)
        try:
            claim(self._lock.is_first and not self.count())
        except BaseException:
            self._lock.close()
            raise
        self._lock.share()

    def has(self, key: str) -> bool:
        return (self.folder / key).exists()

    def count(self) -> int:
        return sum(map(self.has, self.keys))

    def write(self, key: str, sample: Sample) -> None:
        with unless(partial(self.has, key)):
            sample.to_focal_stack().write(self.folder / key)

    def finish(self) -> bool:
        return self.count() == len(self.keys)

    def __enter__(self) -> _Folders:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _write_sheet(folder: Path, what: ProceduralSet, device: torch.device, rows: dict[int, list[Panel]]) -> None:
    """A picture of the first stacks. rows: those at hand; the others, of earlier or other processes, are rendered."""
    shown = []
    for i, seed in enumerate(what.seeds[:SHEET_STACKS]):
        shown.append(rows.get(i) or _row(procedural.render_stack(seed, what.settings, device).to('cpu')))
    subtitle = (
        f'{what.preset}, {what.split} split, seed {what.seeds.start}; frames in the order of their focus, '
        'depth and circle of confusion of the frame taken last'
    )
    visualise.write_picture(folder / SHEET_FILE, visualise.sheet(shown, 'procedural focal stacks', subtitle))


def _write_card(folder: Path, what: ProceduralSet, command: str) -> None:
    """README.md: content, seeds, what made it, and what each job did."""
    lines = read_log(folder / LOG_FILE, 'seed')
    wanted = {seed: line for seed, line in lines.items() if seed in what.seeds}
    size = sum(path.stat().st_size for path in folder.glob('**/*') if path.is_file())
    settings = what.settings
    text = [
        f'# Procedural focal stacks: {what.preset}, {what.split} split',
        '',
        f'Made by `{command}` ({provenance.described()}).',
        '',
        '| | |',
        '| --- | --- |',
        f'| stacks | {len(what.seeds)} of {settings.frames} frames, {settings.width}x{settings.height} px, '
        f'{size / 1e6:.1f} MB |',
        f'| seeds | {what.seeds.start} to {what.seeds.stop - 1} |',
        f'| jobs | {jobs_row(wanted, "stacks")} |',
        f'| machines | {", ".join(sorted({line.get("device", "unknown") for line in wanted.values()})) or "unknown"} |',
        '',
    ]
    write_text(folder / CARD_FILE, '\n'.join(text))


def _row(batch: StackBatch) -> list[Panel]:
    """One stack on the contact sheet."""
    range_, focus = batch.ranges()[0], batch.focus[0]
    order = focus.argsort(stable=True).tolist()
    shown = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(len(order), SHEET_FRAMES))})
    distances = [with_unit(range_.denormalise(v.item())) for v in focus]
    panels = [
        Panel(batch.images[0, t].permute(1, 2, 0).numpy(), f'focus {distances[t]}') for t in (order[i] for i in shown)
    ]
    coc = batch.coc[0, -1, 0].abs().numpy()
    largest = nice_limit(coc)
    depth = range_.denormalise(batch.vergence[0, -1, 0].double()).numpy()
    return [
        *panels,
        Panel(depth_picture(depth, range_), 'depth', Bar.depth(range_)),
        Panel(coc_picture(coc, largest), f'CoC at {distances[-1]}', Bar.linear('magma', largest, 'px')),
    ]
