"""`dfd calibrate latency` on simulated cameras of known latency: how often it is exact to the frame.

.venv/bin/python benchmarks/latency.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _common import check, exit_with


def cameras(count: int, seed: int):
    """Cameras of 0 to 6 frames latency, each with a slew, settling and jitter of its own."""
    from simulated_focus_steps import SimulatedCamera

    from dfd_ros.calibration.focus_steps import default_pause

    draw = np.random.default_rng(seed)
    for i in range(count):
        rate = float(draw.choice([10.0, 30.0, 60.0]))
        yield SimulatedCamera(
            latency=i % 7,
            slew=float(draw.choice([0.0, 0.1, 0.2, 0.5])),
            settle=float(draw.uniform(0, 2)),
            jitter=float(draw.uniform(0, 0.25)),
            by_frames=bool(draw.random() < 0.5),
            exposure=float(draw.uniform(0.05, 0.4)),
            rate=rate,
            noise=float(draw.uniform(1, 4)),
            dropped=float(draw.choice([0.0, 0.05])),
            flicker=float(draw.uniform(0, 0.01)),
            pause=default_pause(1 / rate),
            labels_early=min(int(draw.integers(-1, 3)), i % 7),
            seed=int(draw.integers(1000)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cameras', type=int, default=40)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--picture', metavar='PNG', type=Path, help='draw the first camera with a slew')
    args = parser.parse_args()
    check(args, cameras=1, seed=0)

    from dfd_ros.calibration.latency import measure_latency
    from dfd_ros.calibration.result_plots import write_latency
    from dfd_ros.core.errors import InputError

    print('| frames | found | steps | slew, range/frame | found | settling, frames | found | jitter | labels | found |')
    print('|' + ' --- |' * 10)
    exact = labels = 0
    for camera in cameras(args.cameras, args.seed):
        try:
            result = measure_latency(camera.record())
        except InputError as error:
            print(f'| {camera.latency} | {error} |', flush=True)
            continue
        if args.picture and camera.slew:
            write_latency(args.picture, result)
            args.picture = None
        motion = result.motion
        slew = motion.slew_dioptre_s * result.period / 10
        exact += result.frames == camera.latency
        labels += result.label_shift == camera.labels_early
        print(
            f'| {camera.latency} | {result.frames} | {result.agreeing} of {len(result.steps)} | {camera.slew:g} '
            f'| {slew:.2f} | {camera.settle:.1f} | {motion.settle_s / result.period:.1f} | {camera.jitter:.2f} '
            f'| {camera.labels_early} | {result.label_shift} |',
            flush=True,
        )
    print(f'\nlatency exact to the frame: {exact} of {args.cameras}; lens states: {labels} of {args.cameras}')


if __name__ == '__main__':
    exit_with(main)
