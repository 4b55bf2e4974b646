"""Does it pay to focus where the depth is least certain, or where one looks, instead of sweeping evenly?

    .venv/bin/python benchmarks/adaptive_focus.py --scenes 12
    .venv/bin/python benchmarks/adaptive_focus.py --blur-scale 160 --occupied 0.4 --orders band

Moving test scenes, streamed with the focus in different orders. `ramp` sweeps. `adaptive` visits the same positions,
next the one where the uncertainty of the pixels that lie within a step, times the frames since the focus was last
there, is largest: what the network says that it does not know, but nothing unvisited for long. `region` sweeps only the
depths that the network finds in the middle of the image, and everything in each third sweep. `band` does the
same with the depths of the whole image. In the middle of a stream another scene takes the place of the first, as when
something comes into view.

`--occupied`: the share of the range of the lens in which the scenes lie. `--blur-scale`: of images of 640 px, so 160
gives images of 160 px the blur, in pixels, that images of 640 px have by default.

Prints the mean absolute error of u (vergence, 0..1 over the range) after the first sweep, that in the middle of the
image, both also as ratios to those of the ramp, and the frames until the new scene is as right as it gets: within 5 %
of the range for nine tenths of the pixels that are in the end.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Generator
from typing import NamedTuple

import _common
import numpy as np
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

NEAR, FAR = 0.15, 1.5  # m
RATE = 10.0  # Hz
RIGHT = 0.05  # of u
MIDDLE = 0.4  # of width and height of the image
MARGIN = 0.08  # of u, around the depths that are swept
Order = Generator[float, Estimate, None]
"""v of the next frame; takes the estimate after each."""


def ramp(steps: int) -> Order:
    """From far to near, again and again."""
    while True:
        for i in range(steps):
            yield i / (steps - 1)


def adaptive(steps: int) -> Order:
    """Where the uncertainty is largest, once each position was visited."""
    age = np.zeros(steps)
    for i in range(steps):
        age += 1
        age[i] = 0
        estimate = yield i / (steps - 1)
    while True:
        known = np.isfinite(estimate.vergence)
        nearest = (estimate.vergence[known].clip(0, 1) * (steps - 1)).round().astype(int)
        scale = np.exp(estimate.log_scale[known]).clip(0, 0.25)
        uncertain = np.convolve(np.bincount(nearest, scale, steps), [0.5, 1, 0.5], 'same')
        best = int(((age + 1) * (uncertain + uncertain.mean() * 0.1)).argmax())
        age += 1
        age[best] = 0
        estimate = yield best / (steps - 1)


def region(steps: int) -> Order:
    """Sweeps of the depths in the middle of the image."""
    return limited(steps, middle)


def band(steps: int) -> Order:
    """Sweeps of the depths that there are."""
    return limited(steps, np.asarray)


def limited(steps: int, part: Callable[[np.ndarray], np.ndarray]) -> Order:
    """Sweeps of the depths in a part of the image, and `MARGIN` around; each third covers the whole range."""
    low, high = 0.0, 1.0
    for sweep in itertools.count(1):
        for v in np.linspace(low, high, steps).tolist():
            estimate = yield v
        u = part(estimate.vergence)
        low, high = 0.0, 1.0
        if sweep % 3 and np.isfinite(u).any():
            ends = np.nanquantile(u, [0.05, 0.95])
            low, high = max(0.0, ends[0] - MARGIN), min(1.0, ends[1] + MARGIN)


ORDERS = {order.__name__: order for order in (ramp, adaptive, region, band)}


def middle(map_: np.ndarray) -> np.ndarray:
    """The middle of a map (H, W)."""
    rows, columns = (slice(round(n * (1 - MIDDLE) / 2), round(n * (1 + MIDDLE) / 2)) for n in map_.shape)
    return map_[rows, columns]


class Streamed(NamedTuple):
    """Mean errors of u after the first sweep, of all pixels and of the middle; frames until a new scene is right."""

    error: float
    middle: float
    delay: int


def two_cameras(seed: int, width: int, blur_scale: float, occupied: float) -> list[SyntheticCamera]:
    """Two scenes at the same depths, in a part of the range of the lens."""
    range_ = VergenceRange(NEAR, FAR)
    first = np.random.default_rng(seed).uniform(0, 1 - occupied)
    near, far = range_.denormalise(first + occupied), range_.denormalise(first)
    return [
        SyntheticCamera(width, width * 3 // 4, 2 * seed + i, near, far, blur_scale, lens_range=range_) for i in range(2)
    ]


def stream(order: Order, cameras: list[SyntheticCamera], frames: int, steps: int) -> Streamed:
    """`frames` of each of the two cameras."""
    range_ = VergenceRange(NEAR, FAR)
    estimator = DepthEstimator(reset_gap=1e9, range_=range_)
    errors, errors_in_middle, right = [], [], []
    v = next(order)
    for i in range(2 * frames):
        image, depth, state = cameras[i // frames].capture(i / RATE, range_.denormalise(v))
        estimate = estimator.push(image, state)
        v = order.send(estimate)
        truth = range_.normalise(depth.astype(np.float64))
        counted = (truth >= 0) & (truth <= 1)
        error = np.where(counted, np.abs(estimate.vergence - truth), np.nan)
        right.append((error < RIGHT).sum() / counted.sum())
        if i >= steps:
            errors.append(error)
            errors_in_middle.append(middle(error))
    new = np.array(right[frames:])
    delay = int(np.argmax(new >= 0.9 * np.median(new[-2 * steps :]))) + 1
    return Streamed(float(np.nanmean(errors)), float(np.nanmean(errors_in_middle)), delay)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--frames', type=int, default=40, help='of each of the two scenes of a stream')
    parser.add_argument('--steps', type=int, nargs='+', default=[5, 9], help='positions of the focus')
    parser.add_argument('--width', type=int, default=192)
    parser.add_argument('--blur-scale', type=float, default=40.0, help='px across the range, of images of 640 px')
    parser.add_argument('--occupied', type=float, default=1.0, help='share of the range in which the scenes lie')
    parser.add_argument('--orders', nargs='+', choices=ORDERS, default=list(ORDERS), help='ramp is always among them')
    args = parser.parse_args()
    _common.check(args, scenes=1, frames=2, width=64)
    if not 0 < args.occupied <= 1:
        raise InputError(f'--occupied {args.occupied:g}: must be above 0 and at most 1')
    orders = {'ramp': ramp} | {name: ORDERS[name] for name in args.orders}
    if not 2 <= min(args.steps) <= max(args.steps) <= args.frames:
        raise InputError(f'--steps {min(args.steps)} to {max(args.steps)}: must be from 2 to --frames {args.frames}')
    print(_common.machine())
    rows = []
    for steps in args.steps:
        streams: dict[str, list[Streamed]] = {name: [] for name in orders}
        for seed in tqdm(range(args.scenes), desc=f'{steps} positions', leave=False):
            for name, order in orders.items():
                cameras = two_cameras(seed, args.width, args.blur_scale, args.occupied)
                streams[name].append(stream(order(steps), cameras, args.frames, steps))
        ramps = np.array(streams['ramp'])
        for name, one in streams.items():
            figures = np.array(one)
            means, ratios = figures.mean(0), figures.mean(0) / ramps.mean(0)
            errors = [f'{means[i]:.3f} ({ratios[i]:.2f})' for i in range(2)]
            rows.append([f'{steps}', name, *errors, f'{means[2]:.1f} ({ratios[2]:.2f})'])
    print(table(['positions', 'order', 'MAE of u (ratio)', 'in the middle', 'frames until right'], rows))


if __name__ == '__main__':
    _common.exit_with(main)
