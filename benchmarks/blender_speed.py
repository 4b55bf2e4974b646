"""What a Blender stack costs, where the time goes, and how noisy it is after denoising.

    python benchmarks/blender_speed.py --blender-python PATH

Renders a few stacks as `dfd render --engine blender` does, and again with many samples: what differs is noise (and the
detail that denoising takes). It is compared with the sensor noise that training adds, of the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dfd_ros.data.samples import Samples                                                # noqa: E402
from dfd_ros.machine import cores                                                        # noqa: E402
from dfd_ros.synthesis.blender.dataset import SCENES_FILE, Machine, render_dataset       # noqa: E402
from dfd_ros.synthesis.blender.settings import MOTIONS, PRESETS, RenderSettings          # noqa: E402

GREY = 0.18
SHOT, READ = (1e-5, 6e-4), (3e-4, 3e-3)   # dfd_ros.synthesis.procedural.StackSettings


def linear(images: np.ndarray) -> np.ndarray:
    """sRGB to linear light. IEC 61966-2-1."""
    encoded = images / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def noise_at_grey(found: np.ndarray, reference: np.ndarray) -> float:
    """RMS difference of linear light where it is a mid-grey; the median over tiles, so that edges which denoising
    moves do not count for noise everywhere."""
    middle = (reference > GREY / 2) & (reference < GREY * 2)
    frames, height, width, _ = found.shape

    def tiles(values: np.ndarray) -> np.ndarray:
        """Sums over tiles of 8x8 pixels."""
        cut = values[:, :height // 8 * 8, :width // 8 * 8].reshape(frames, height // 8, 8, width // 8, 8, 3)
        return cut.sum(axis=(2, 4, 5))

    counted, squares = tiles(middle.astype(float)), tiles(middle * (found - reference) ** 2)
    return float(np.median(np.sqrt(squares[counted > 0] / counted[counted > 0])))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--blender-python', default=os.environ.get('DFD_BLENDER_PYTHON', sys.executable))
    parser.add_argument('--preset', choices=tuple(PRESETS), default='machine_vision')
    parser.add_argument('--motion', choices=MOTIONS, default='static')
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--samples', type=int, nargs='+', default=[8, 16, 32])
    parser.add_argument('--reference', type=int, default=512, help='samples of the reference; 0 = no noise')
    parser.add_argument('--workers', type=int, default=cores())
    parser.add_argument('--device', choices=('auto', 'cpu', 'gpu'), default='cpu')
    args = parser.parse_args()

    settings = RenderSettings(preset=args.preset, motion=args.motion, height=args.size, width=args.size)
    machine = Machine(args.workers, max(1, cores() // args.workers), args.device, args.blender_python)
    print(f'{args.preset}, {args.motion}, 5 frames of {args.size}x{args.size}; processes: {args.workers}, '
          f'cores: {cores()}')
    print('samples   stacks/h   CPU s of a stack: scene, truth, all in focus, frames           a frame   noise at grey')
    with tempfile.TemporaryDirectory() as folder:
        reference = None
        if args.reference:
            render_dataset(Path(folder) / 'reference', replace(settings, samples=args.reference), range(1), machine)
            reference = linear(Samples(Path(folder) / 'reference')[0].images)
        for samples in args.samples:
            out = Path(folder) / str(samples)
            began = time.perf_counter()   # the start of Blender counts
            render_dataset(out, replace(settings, samples=samples), range(args.scenes), machine)
            wall = time.perf_counter() - began
            scenes = [json.loads(line)['cpu_seconds'] for line in (out / SCENES_FILE).read_text().splitlines()]
            parts = {part: sum(scene[part] for scene in scenes) / len(scenes) for part in scenes[0]}
            first = next(sample for sample in Samples(out) if sample.seed == 0)
            noise = f'{noise_at_grey(linear(first.images), reference):.4f}' if args.reference else '-'
            print(f'{samples:7d}   {3600 * args.scenes / wall:8.0f}   {sum(parts.values()):9.2f}: '
                  f'{", ".join(f"{seconds:.2f}" for seconds in parts.values()):52} {parts["frames"] / 5:10.2f}   '
                  f'{noise:>13}', flush=True)
    least, most = (float(np.sqrt(shot * GREY + read ** 2)) for shot, read in zip(SHOT, READ))
    print(f'sensor noise that training adds, at grey: {least:.4f} to {most:.4f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
