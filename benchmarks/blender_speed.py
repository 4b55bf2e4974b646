"""What a Blender stack costs, where the time goes, and how noisy it is after denoising.

    python benchmarks/blender_speed.py --blender-python PATH

Renders a few stacks as `dfd render --engine blender` does, and frames of some of them twice more with other random
numbers: what differs is noise; what differs from many samples is noise and the detail that denoising takes. Both are
beside the sensor noise that training adds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _common import check, exit_with  # noqa: E402

from dfd_ros.core.machine import cores  # noqa: E402
from dfd_ros.datasets.rendering.rendered_dataset import SCENES_FILE, render_dataset  # noqa: E402
from dfd_ros.datasets.rendering.workers import Machine  # noqa: E402
from dfd_ros.synthesis.blender.blender_process import query  # noqa: E402
from dfd_ros.synthesis.blender.render_settings import MOTIONS, PRESETS, RenderSettings  # noqa: E402
from dfd_ros.synthesis.procedural import StackSettings  # noqa: E402

GREY = 0.18


def noise(
    settings: RenderSettings, samples: list[int], reference: int, scenes: int, python: str
) -> dict[int, tuple[float, ...]]:
    """Typical noise, noise and error at a mid-grey by the number of samples, RMS over the first and the last frame of
    some scenes (see `dfd_ros.synthesis.blender.noise_check`), by a Python that has bpy."""
    found = query(
        'noise_check',
        {
            'settings': asdict(settings),
            'seeds': list(range(scenes)),
            'frames': [0, settings.frames - 1],
            'samples': samples,
            'reference': reference,
        },
        python,
    )
    return {
        count: tuple(
            math.sqrt(np.mean([f[what] ** 2 for f in found if f['samples'] == count]))
            for what in ('typical', 'noise', 'error')
        )
        for count in samples
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--blender-python', default=os.environ.get('DFD_BLENDER_PYTHON', sys.executable))
    parser.add_argument('--preset', choices=tuple(PRESETS), default='machine_vision')
    parser.add_argument('--motion', choices=MOTIONS, default='static')
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--samples', type=int, nargs='+', default=[8, 16, 32])
    parser.add_argument('--noise-scenes', type=int, default=6, help='scenes to measure noise on; 0 = none')
    parser.add_argument('--reference', type=int, default=256, help='samples of what the error is measured against')
    parser.add_argument('--workers', type=int, default=cores())
    parser.add_argument('--device', choices=('auto', 'cpu', 'gpu'), default='cpu')
    args = parser.parse_args(arguments)
    check(args, scenes=1, noise_scenes=0, reference=1, workers=1)

    settings = RenderSettings(preset=args.preset, motion=args.motion, height=args.size, width=args.size)
    machine = Machine(args.workers, max(1, cores() // args.workers), args.device, args.blender_python)
    print(
        f'{args.preset}, {args.motion}, 5 frames of {args.size}x{args.size}; processes: {args.workers}, '
        f'cores: {cores()}'
    )
    noises = (
        noise(settings, args.samples, args.reference, args.noise_scenes, args.blender_python)
        if args.noise_scenes
        else {}
    )
    print(
        'samples   stacks/h   CPU s of a stack: scene, truth, all in focus, frames  a frame   typical  noise    error'
    )
    with tempfile.TemporaryDirectory() as folder:
        for samples in args.samples:
            out = Path(folder) / str(samples)
            began = time.perf_counter()  # the start of Blender counts
            render_dataset(out, replace(settings, samples=samples), range(args.scenes), machine)
            wall = time.perf_counter() - began
            scenes = [json.loads(line)['cpu_seconds'] for line in (out / SCENES_FILE).read_text().splitlines()]
            parts = {part: sum(scene[part] for scene in scenes) / len(scenes) for part in scenes[0]}
            measured = '   '.join(f'{value:.4f}' for value in noises[samples]) if noises else '-'
            print(
                f'{samples:7d}   {3600 * args.scenes / wall:8.0f}   {sum(parts.values()):9.2f}: '
                f'{", ".join(f"{seconds:.2f}" for seconds in parts.values()):43} {parts["frames"] / 5:8.2f}   '
                f'{measured}',
                flush=True,
            )
    # Both are drawn evenly in the logarithm.
    shots, reads = (np.geomspace(*pair, 201) for pair in (StackSettings().shot, StackSettings().read))
    sensor = np.sqrt(shots[:, None] * GREY + reads**2)
    print(
        f'sensor noise that training adds, at grey: {sensor.min():.4f} to {sensor.max():.4f}, RMS of all draws '
        f'{np.sqrt(np.mean(sensor**2)):.4f}'
    )
    return 0


if __name__ == '__main__':
    exit_with(main)
