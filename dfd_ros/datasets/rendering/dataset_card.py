"""Contact sheet (contact_sheet.png) and data card (README.md) of a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_json, write_text
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.rendering.job_log import SETTINGS_FILE, jobs_row, read_log
from dfd_ros.datasets.rendering.rendered_dataset import SCENES_FILE
from dfd_ros.datasets.shards import Samples
from dfd_ros.drawing import visualise
from dfd_ros.synthesis.blender.render_settings import RenderSettings

SHEET_STACKS = 8
SHEET_FRAMES = 5
PARTS = ('scene', 'truth', 'all in focus', 'frames')


def write_contact_sheet(folder: Path) -> Path:
    """Write a picture of the first stacks of a data set with their ground truth."""
    samples = Samples(folder)
    settings = _settings(folder)
    rows = [_row(samples[i], settings) for i in range(min(len(samples), SHEET_STACKS))]
    path = folder / 'contact_sheet.png'
    subtitle = (
        f'{settings.preset}, {settings.split} split, {settings.objects.replace("_", " ")} objects, motion: '
        f'{settings.motion}; truth is that of the frame taken last'
    )
    visualise.write_picture(path, visualise.sheet(rows, 'focal stacks rendered by Blender', subtitle))
    return path


def write_card(folder: Path, command: str) -> Path:
    """Write the README.md of a data set: content, size, seeds, pools, versions, time."""
    settings, samples = _settings(folder), Samples(folder)
    scenes = _scenes(folder, samples)
    lens, preset = settings.lens, settings.lens_preset
    focus = ', '.join(f'{distance:.3g}' for distance in settings.focus_distances())
    side = f'{settings.width}x{settings.height}'
    size = sum(path.stat().st_size for path in folder.glob('*.tar'))
    timed = [scene['seconds'] for scene in scenes.values() if 'seconds' in scene]
    spent = {part: [seconds[part] for seconds in timed] for part in PARTS}
    total = sum(map(sum, spent.values()))
    lines = [
        f'# Focal stacks rendered by Blender: {settings.preset}, {settings.split} split',
        '',
        f'Made by `{command}`.',
        '',
        '| | |',
        '| --- | --- |',
        f'| stacks | {len(samples)} of {settings.frames} frames, {side} px, {size / 1e6:.1f} MB |',
        f'| seeds | {_runs(sorted(scenes))} |',
        f'| lens | {lens.focal_length * 1e3:g} mm, f/{lens.f_number:g}, pixels of {lens.pixel_pitch * 1e6:.2f} um, '
        f'focus breathing: {"as of a thin lens" if settings.breathing else "none"} |',
        f'| focus | {focus} m, ramps of {settings.ramp} |',
        f'| blur scale | {lens.blur_scale(settings.range):.2f} px across the swept range |',
        f'| objects | {settings.objects.replace("_", " ")}, up to {preset.depth:g} m, '
        f'{np.mean([scene["objects"] for scene in scenes.values()]):.1f} a scene; motion: {settings.motion} |',
        f'| meshes | {_used(scenes, "meshes")} |',
        f'| textures | {_used(scenes, "textures")} |',
        f'| light | {", ".join(sorted({scene["light"] for scene in scenes.values()}))} |',
        f'| Blender | {", ".join(sorted({scene["blender"] for scene in scenes.values()}))}, '
        f'{settings.samples} samples a pixel, denoised |',
        f'| time | {total / 3600:.2f} h of one process ({_machines(scenes)}), '
        f'{total / max(len(timed), 1):.1f} s a stack: {_shares(spent, max(len(timed), 1))} |',
        f'| jobs | {jobs_row(scenes, "stacks")} |',
        '',
        "Families of meshes, textures and light, and files of the user's, belong to one split each: none of another "
        "split is in these scenes, but for the fine noise over all materials (a family of train too), the sun's lamp "
        'under the sky of test, and the panel beside HDRIs. Images are without sensor noise. Each sample has the depth '
        "along the optical axis (m), the circle of confusion (px), the background's mask and the all-in-focus image "
        'of every frame, the optical flow, lens states, intrinsics and poses: see `dfd_ros/datasets/shards.py`.',
        '',
    ]
    path = folder / 'README.md'
    write_text(path, '\n'.join(lines))
    return path


def _settings(folder: Path) -> RenderSettings:
    return RenderSettings.from_json(read_json(folder / SETTINGS_FILE))


def _scenes(folder: Path, samples: Samples) -> dict[int, dict]:
    """Content and cost of each scene by seed, from the log, or from the samples if a kill left the log incomplete."""
    scenes = read_log(folder / SCENES_FILE, 'seed')
    if len(scenes) < len(samples):
        for sample in samples:
            scenes.setdefault(sample.seed, sample.about)
    return scenes


def _runs(seeds: list[int]) -> str:
    """Sorted numbers as ranges: 0 to 99, 200, 300 to 399."""
    starts = [seed for i, seed in enumerate(seeds) if not i or seeds[i - 1] != seed - 1]
    ends = [seed for i, seed in enumerate(seeds) if i + 1 == len(seeds) or seeds[i + 1] != seed + 1]
    return ', '.join(f'{a} to {b}' if a < b else f'{a}' for a, b in zip(starts, ends))


def _used(scenes: dict[int, dict], kind: str, limit: int = 12) -> str:
    """What the scenes contain, the most frequent first."""
    counted = Counter(name for scene in scenes.values() for name in scene[kind]).most_common()
    rest = f' and {len(counted) - limit} more' if len(counted) > limit else ''
    return ', '.join(name for name, _ in counted[:limit]) + rest


def _machines(scenes: dict[int, dict]) -> str:
    kinds = Counter((scene['gpu'], scene['workers'], scene['threads']) for scene in scenes.values() if 'gpu' in scene)
    if not kinds:
        return 'unknown number of processes'
    (gpu, workers, threads), _ = kinds.most_common(1)[0]
    on = 'a GPU' if gpu else '1 thread each' if threads == 1 else f'{threads} threads each'
    return f'{workers} at a time, {on}'


def _shares(spent: dict[str, list[float]], scenes: int) -> str:
    return ', '.join(f'{part} {sum(seconds) / scenes:.1f} s' for part, seconds in spent.items())


def _row(sample: Sample, settings: RenderSettings) -> list[visualise.Panel]:
    """One stack on the contact sheet."""
    shown = sorted({round(t) for t in np.linspace(0, len(sample) - 1, min(len(sample), SHEET_FRAMES))})
    if sample.coc is None or sample.background is None or sample.all_in_focus is None:
        raise InputError(f'{sample.name}: not rendered by this command: its coc, background or all_in_focus is missing')
    largest = visualise.nice_limit(sample.coc[-1])
    mask = np.where(sample.background[-1, ..., None], np.uint8(40), sample.all_in_focus[-1])
    focus = sample.lens_states[-1].focus_distance
    range_ = settings.range
    return [
        *(visualise.Panel(sample.images[t], f'focus {sample.lens_states[t].focus_distance:.3g} m') for t in shown),
        visualise.Panel(sample.all_in_focus[-1], 'all in focus'),
        visualise.Panel(mask, 'objects'),
        visualise.Panel(visualise.depth_picture(sample.depth[-1], range_), 'depth', visualise.Bar.depth(range_)),
        visualise.Panel(
            visualise.coc_picture(sample.coc[-1], largest),
            f'CoC at {focus:.3g} m',
            visualise.Bar.linear('magma', largest, 'px'),
        ),
    ]
