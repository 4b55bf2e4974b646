"""Does it pay to focus where the depth is least certain, instead of sweeping evenly?

    .venv/bin/python benchmarks/adaptive_focus.py --scenes 12

Moving test scenes, streamed twice with the same positions of the focus, in another order. `ramp` sweeps. `adaptive`
goes next where the uncertainty of the pixels that lie within a step, times the frames since the focus was last there,
is largest: what the network says that it does not know, but nothing unvisited for long. In the middle of a stream
another scene takes the place of the first, as when something comes into view.

Prints the mean absolute error of u (vergence, 0..1 over the range) after the first sweep, adaptive against ramp, and
the frames until the new scene is as right as it gets: within 5 % of the range for nine tenths of the pixels that are
in the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import _common
import numpy as np
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.estimator import DepthEstimator, Estimate
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

NEAR, FAR = 0.15, 1.5  # m
RATE = 10.0  # Hz
RIGHT = 0.05  # of u
Choose = Callable[[list[int], Estimate | None], int]


def ramp(steps: int, visited: list[int], estimate: Estimate | None) -> int:
    """The next position of a ramp from far to near."""
    return len(visited) % steps


def adaptive(steps: int, visited: list[int], estimate: Estimate | None) -> int:
    """Where the uncertainty is largest; a ramp until each position was visited once."""
    if len(visited) < steps or estimate is None:
        return ramp(steps, visited, estimate)
    known = np.isfinite(estimate.vergence)
    assert estimate.range is not None
    u = estimate.range.normalise(estimate.depth[known].astype(np.float64))
    scale = np.exp(estimate.log_scale[known]).clip(0, 0.25)
    nearest = (u.clip(0, 1) * (steps - 1)).round().astype(int)
    uncertain = np.convolve(np.bincount(nearest, scale, steps), [0.5, 1, 0.5], 'same')
    age = np.array([visited[::-1].index(i) + 1 if i in visited else len(visited) for i in range(steps)])
    return int((age * (uncertain + uncertain.mean() * 0.1)).argmax())


def stream(choose: Choose, cameras: list[SyntheticCamera], frames: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean error of u and the share of right pixels of each frame; `frames` of each of the two cameras."""
    range_ = VergenceRange(NEAR, FAR)
    estimator = DepthEstimator(reset_gap=1e9)
    positions = [range_.denormalise(i / (steps - 1)) for i in range(steps)]
    visited: list[int] = []
    estimate, errors, right = None, [], []
    for i in range(2 * frames):
        visited.append(choose(visited, estimate))
        image, depth, state = cameras[i // frames].capture(i / RATE, positions[visited[-1]])
        estimate = estimator.push(image, state)
        truth = range_.normalise(depth.astype(np.float64))
        where = np.isfinite(estimate.vergence) & (truth >= 0) & (truth <= 1)
        error = np.abs(estimate.vergence[where] - truth[where])
        errors.append(error.mean() if where.any() else np.nan)
        right.append((error < RIGHT).sum() / ((truth >= 0) & (truth <= 1)).sum())
    return np.array(errors), np.array(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--frames', type=int, default=40, help='of each of the two scenes of a stream')
    parser.add_argument('--steps', type=int, nargs='+', default=[5, 9], help='positions of the focus')
    parser.add_argument('--width', type=int, default=192)
    args = parser.parse_args()
    _common.check(args, scenes=1, frames=2, width=64)
    if not 2 <= min(args.steps) <= max(args.steps) <= args.frames:
        raise InputError(f'--steps {min(args.steps)} to {max(args.steps)}: must be from 2 to --frames {args.frames}')
    print(_common.machine())
    rows = []
    for steps in args.steps:
        errors: dict[str, list[float]] = {'ramp': [], 'adaptive': []}
        delays: dict[str, list[int]] = {'ramp': [], 'adaptive': []}
        for seed in tqdm(range(args.scenes), desc=f'{steps} positions', leave=False):
            for name, policy in (('ramp', ramp), ('adaptive', adaptive)):
                cameras = [SyntheticCamera(args.width, args.width * 3 // 4, 2 * seed + i, NEAR, FAR) for i in range(2)]
                error, right = stream(partial(policy, steps), cameras, args.frames, steps)
                errors[name].append(float(np.nanmean(error[steps:])))
                new = right[args.frames :]
                delays[name].append(int(np.argmax(new >= 0.9 * np.median(new[-2 * steps :]))) + 1)
        ratios = np.array(errors['adaptive']) / errors['ramp']
        rows.append(
            [
                f'{steps}',
                f'{np.mean(errors["ramp"]):.4f}',
                f'{np.mean(errors["adaptive"]):.4f}',
                f'{ratios.mean():.2f} ({ratios.min():.2f} to {ratios.max():.2f})',
                f'{np.mean(delays["ramp"]):.1f}',
                f'{np.mean(delays["adaptive"]):.1f}',
            ]
        )
    print(table(['positions', 'MAE of u, ramp', 'adaptive', 'ratio', 'frames until right, ramp', 'adaptive'], rows))


if __name__ == '__main__':
    _common.exit_with(main)
