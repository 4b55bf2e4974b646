"""Does it pay to sweep only the depths that there are (`AdaptiveRange`), instead of all that the lens can focus?

    python benchmarks/adaptive_range.py --scenes 12 --occupied 0.3
    python benchmarks/adaptive_range.py --picture adaptive_range.jpg

Moving test scenes that fill a part of the range of the lens are streamed twice: once in ramps over the whole range, and
once in ramps over the range that `AdaptiveRange` chooses, with as many frames a ramp. At some frame another scene, at
other depths, takes the place of the first.

Prints the mean absolute error of u (vergence, 0..1 over the range of the lens) after the first sweep, of all frames and
of the 95th percentile of them, and the frames until the new scene is as right as it gets with ramps over the whole
range: within 5 % of the range for nine tenths of the pixels that are in the end. `--picture` draws instead what both
see of three scenes after four sweeps: image, true depth, depth with ramps over all, depth with `AdaptiveRange`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import _common
import numpy as np
from tqdm import tqdm

from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import VergenceRange
from dfd_ros.drawing.visualise import colour, write_picture
from dfd_ros.inference.adaptive_range import AdaptiveRange
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.synthesis.synthetic_camera import SyntheticCamera

LENS = VergenceRange(0.15, 1.5)
RATE = 10.0  # Hz
RIGHT = 0.05  # of u
PICTURED = 1, 2, 4  # seeds


class Seen(NamedTuple):
    """A frame (H, W, 3) uint8 RGB, and estimated and true u (H, W)."""

    image: np.ndarray
    u: np.ndarray
    truth: np.ndarray


class Streamed(NamedTuple):
    """Mean errors of u and shares of the pixels that are right, of each frame."""

    errors: np.ndarray
    right: np.ndarray


def two_scenes(seed: int, width: int, blur_scale: float, occupied: float) -> list[SyntheticCamera]:
    """Two scenes, each somewhere in the range of the lens."""
    random = np.random.default_rng(seed)
    cameras = []
    for i, first in enumerate(random.uniform(0, 1 - occupied, 2)):
        near, far = LENS.denormalise(first + occupied), LENS.denormalise(first)
        cameras.append(
            SyntheticCamera(width, width * 3 // 4, 2 * seed + i, near, far, blur_scale=blur_scale, lens_range=LENS)
        )
    return cameras


def stream(
    cameras: list[SyntheticCamera], frames: int, change: int, steps: int, adaptive: AdaptiveRange | None
) -> Iterator[Seen]:
    """`frames` in all; the second camera takes over at the frame `change`. Without `adaptive`: ramps over all."""
    estimator = DepthEstimator(reset_gap=1e9, range_=LENS)
    swept, foci = LENS, iter(list[float]())
    for i in range(frames):
        if (focus := next(foci, None)) is None:
            foci = iter(sweeps.ramp(swept, steps))
            focus = next(foci)
        image, depth, state = cameras[i >= change].capture(i / RATE, focus)
        estimate = estimator.push(image, state)
        if adaptive and (range_ := adaptive.push(focus, estimate, LENS)) != swept:
            swept, foci = range_, iter(())
            estimator.change_range(swept)
        assert estimate.range is not None
        u = LENS.normalise(estimate.range.denormalise(estimate.vergence.astype(np.float64)))
        yield Seen(image, u, LENS.normalise(depth.astype(np.float64)))


def measured(frames: Iterator[Seen]) -> Streamed:
    errors, right = [], []
    for frame in frames:
        error = np.abs(frame.u.clip(0, 1) - frame.truth)[(frame.truth >= 0) & (frame.truth <= 1)]
        errors.append(float(error.mean()))
        right.append(float((error < RIGHT).mean()))
    return Streamed(np.array(errors), np.array(right))


def picture(args: argparse.Namespace) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a row for each scene."""
    rows = []
    for seed in PICTURED:
        frames = 4 * args.steps
        ramps, adaptive = (
            list(
                stream(two_scenes(seed, args.width, args.blur_scale, args.occupied[0]), frames, frames, args.steps, one)
            )[-1]
            for one in (None, AdaptiveRange())
        )
        low, high = np.quantile(ramps.truth, [0.01, 0.99]) + [-0.03, 0.03]
        maps = [colour((u - low) / (high - low)) for u in (ramps.truth, ramps.u, adaptive.u)]
        rows.append(np.hstack([ramps.image, *maps]))
    return np.vstack(rows)


def figures(ramps: Streamed, streamed: Streamed, change: int, steps: int) -> Iterator[float]:
    """What the module says."""
    after = streamed.errors[steps:]
    yield float(after.mean())
    yield float(np.percentile(after, 95))
    is_right = streamed.right[change:] >= 0.9 * np.median(ramps.right[-2 * steps :])
    yield int(np.argmax(is_right)) + 1 if is_right.any() else len(is_right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=12)
    parser.add_argument('--frames', type=int, default=72, help='of a stream')
    parser.add_argument('--steps', type=int, default=5, help='positions of the focus')
    parser.add_argument('--width', type=int, default=192)
    parser.add_argument('--blur-scale', type=float, default=160.0, help='px across the range, of images of 640 px')
    parser.add_argument(
        '--occupied', type=float, nargs='+', default=[0.3], help='share of the range in which the scenes lie'
    )
    parser.add_argument('--picture', type=Path, metavar='FILE', help='draw instead of measuring')
    args = parser.parse_args()
    _common.check(args, scenes=1, frames=8, steps=2, width=64)
    if not all(0 < share <= 1 for share in args.occupied):
        raise InputError(f'--occupied {args.occupied}: must be above 0 and at most 1')
    if args.picture:
        write_picture(args.picture, picture(args))
        return
    print(_common.machine())
    rows = []
    for occupied in args.occupied:
        of_ramps, of_adaptive = [], []
        for seed in tqdm(range(args.scenes), desc=f'{occupied:g} of the range', leave=False):
            # In any phase of the sweeps of everything that come now and then.
            change = int(np.random.default_rng(seed).integers(args.frames * 3 // 8, args.frames * 5 // 8))
            ramps, adaptive = (
                measured(
                    stream(
                        two_scenes(seed, args.width, args.blur_scale, occupied), args.frames, change, args.steps, one
                    )
                )
                for one in (None, AdaptiveRange())
            )
            of_ramps.append(list(figures(ramps, ramps, change, args.steps)))
            of_adaptive.append(list(figures(ramps, adaptive, change, args.steps)))
        before, now = np.mean(of_ramps, 0), np.mean(of_adaptive, 0)
        for name, values in (('ramp', before), ('adaptive', now)):
            ratios = [f'{value:.3g} ({value / one:.2f})' for value, one in zip(values, before)]
            rows.append([f'{occupied:g}', name, *ratios])
    print(table(['of the range', 'sweeps', 'MAE of u', '95th percentile', 'frames until a new scene is right'], rows))


if __name__ == '__main__':
    _common.exit_with(main)
