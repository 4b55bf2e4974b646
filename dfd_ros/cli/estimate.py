"""dfd estimate: depth, circle of confusion and confidence from a focal stack."""

from __future__ import annotations

import argparse
from collections import deque
from pathlib import Path

from dfd_ros.inference.estimator_arguments import add_estimator_arguments, estimator_options

HELP = 'estimate depth, circle of confusion, confidence and the all-in-focus image of a focal stack'
EXAMPLE = 'dfd estimate output/stacks/0000 --out output/stack --confidence 0.3'

FILES = ('depth.npy', 'coc.npy', 'confidence.npy', 'depth.png', 'all_in_focus.png', 'overview.png')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('stack', metavar='STACK', type=Path, help='folder with images and stack.yaml')
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for depth.npy, coc.npy, confidence.npy, depth.png, all_in_focus.png, overview.png',
    )
    parser.add_argument('--confidence', type=float, default=0.0, help='depth with less confidence (0..1) becomes NaN')
    parser.add_argument(
        '--accepted-errors',
        metavar='SHARE',
        type=float,
        default=1.0,
        help='discard the least confident pixels until at most this share of the rest is expected to be wrong',
    )
    parser.add_argument(
        '--near',
        metavar='M',
        type=float,
        help='near end of the depth range, in m (default: the nearest focus distance of the stack)',
    )
    parser.add_argument(
        '--far',
        metavar='M',
        type=float,
        help='far end of the depth range, in m, or inf (default: the farthest focus distance)',
    )
    parser.add_argument('--sweeps', metavar='N', type=int, default=1, help='read the stack N times')
    parser.add_argument(
        '--resolution',
        metavar='PX',
        type=int,
        default=640,
        help='longest side of the image that the network sees; 0: full size',
    )
    add_estimator_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from dfd_ros.cli._options import require_within
    from dfd_ros.core.files import output_folder, require_output_folder
    from dfd_ros.core.focal_stack import FocalStack
    from dfd_ros.core.optics import VergenceRange

    require_within(args, confidence=(0, 1), accepted_errors=(0, 1), sweeps=(1, 1000), resolution=(0, 16384))
    stack = FocalStack.read(args.stack)
    if args.near is None or args.far is None:
        covered = stack.range
        range_ = VergenceRange(
            covered.near if args.near is None else args.near, covered.far if args.far is None else args.far
        )
    else:
        range_ = VergenceRange(args.near, args.far)
    require_output_folder(args.out, *FILES)

    # After the checks, which then take no time.
    from dfd_ros.drawing import visualise
    from dfd_ros.inference.estimator import DepthEstimator

    estimator = DepthEstimator(
        **estimator_options(args), range_=range_, resolution=args.resolution or None, all_in_focus=True
    )
    estimates = estimator.estimate_frames(stack, args.sweeps)
    output_folder(args.out)
    # Of the last sweep.
    depths: deque[np.ndarray] = deque(maxlen=len(stack))
    cocs: deque[np.ndarray] = deque(maxlen=len(stack))
    for estimate in tqdm(estimates, total=args.sweeps * len(stack), desc='estimate', unit='frame'):
        depths.append(estimate.masked_depth(estimate.threshold(args.confidence, args.accepted_errors)))
        cocs.append(estimate.coc)
    depth = depths[-1]
    _save(args.out / 'depth.npy', depth)
    _save(args.out / 'coc.npy', np.stack(cocs))
    _save(args.out / 'confidence.npy', estimate.confidence)
    visualise.write_picture(args.out / 'depth.png', visualise.depth_picture(depth, range_))
    assert estimate.all_in_focus is not None
    visualise.write_picture(args.out / 'all_in_focus.png', estimate.all_in_focus)
    visualise.write_picture(
        args.out / 'overview.png',
        visualise.overview(stack, list(depths), estimate.confidence, cocs[-1], range_, args.stack.resolve().name),
    )

    known = ~np.isnan(depth)
    print(
        f'frames   {len(stack)} of {depth.shape[1]}x{depth.shape[0]}'
        + (f', read {args.sweeps} times' if args.sweeps > 1 else '')
    )
    print(f'range    {range_.near:.3g} m to {range_.far:.3g} m')
    print(
        f'depth    known for {known.mean():.0%} of the pixels'
        + (f', median {np.median(depth[known]):.3g} m' if known.any() else '')
    )
    print(
        f'files    {args.out}/: depth.npy (m), coc.npy (px), confidence.npy, depth.png, all_in_focus.png, overview.png'
    )
    return 0


def _save(path: Path, array) -> None:
    """Write an array atomically."""
    import numpy as np

    from dfd_ros.core.files import written_atomically

    with written_atomically(path) as temporary:
        np.save(temporary, array)
