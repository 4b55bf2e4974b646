"""dfd refocus: a photograph of a focal stack's scene with another focus and aperture."""

from __future__ import annotations

import argparse
import math
from collections import deque
from pathlib import Path

from dfd_ros.inference.estimator_arguments import add_estimator_arguments, estimator_options

HELP = 'show the scene of a focal stack with another focus and aperture'
EXAMPLE = 'dfd refocus stacks/desk --focus 0.4 --f-number 1.4 --pull 2 --out results/desk'

PULL_FRAMES, PULL_RATE = 12, 8.0  # of one way; 1/s
MAX_PULL = 480  # px, longer side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('stack', metavar='STACK', type=Path, help='folder of images, their lens known')
    parser.add_argument('--focus', metavar='M', type=float, required=True, help='focus distance, in m, or inf')
    parser.add_argument('--f-number', metavar='N', type=float, help='of the aperture (default: that of the stack)')
    parser.add_argument(
        '--pull', metavar='M', type=float, help='also film the focus as it moves from --focus to this distance, in m'
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for refocused.png and all_in_focus.png, with --pull also pull.mp4 and pull.gif',
    )
    parser.add_argument('--sweeps', metavar='N', type=int, default=2, help='read the stack N times')
    add_estimator_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from dfd_ros.cli._options import require_within
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import output_folder, require_other_folder, require_output_folder
    from dfd_ros.photographs import read_focal_stack

    require_within(args, sweeps=(1, 1000), focus=(1e-3, math.inf), f_number=(0.1, 1000), pull=(1e-3, math.inf))
    stack = read_focal_stack(args.stack)
    if not stack.is_metric:
        raise InputError(
            f'{args.stack}: no focus distances, and refocusing needs them; give them in a stack.yaml (dfd stack init)'
        )
    lens = stack.lens_states[-1].lens
    missing = {
        'focal_length_mm': lens.focal_length,
        'sensor_width_mm': lens.pixel_pitch,
        'f_number': lens.f_number if args.f_number is None else args.f_number,
    }
    if unknown := [name for name, value in missing.items() if math.isnan(value)]:
        raise InputError(f'{args.stack / "stack.yaml"}: lens.{unknown[0]}: unknown, and blur depends on it')
    for name, distance in (('--focus', args.focus), ('--pull', args.pull)):
        if distance is not None and distance <= lens.focal_length:
            raise InputError(f'{name} {distance}: must be more than the focal length, {lens.focal_length:g} m')
    lens = replace(lens, f_number=missing['f_number'])
    files = ['refocused.png', 'all_in_focus.png'] + (['pull.mp4', 'pull.gif'] if args.pull is not None else [])
    require_other_folder(args.out, args.stack)
    require_output_folder(args.out, *files)

    # After the checks, which then take no time.
    import numpy as np
    from tqdm import tqdm

    from dfd_ros.core.optics import distance as distance_of
    from dfd_ros.core.optics import vergence
    from dfd_ros.drawing import films, visualise
    from dfd_ros.inference.estimator import DepthEstimator
    from dfd_ros.synthesis.rgbd_scene import Photographer

    estimator = DepthEstimator(**estimator_options(args), all_in_focus=True)
    frames = estimator.estimate_frames(stack, args.sweeps)
    output_folder(args.out)
    progress = tqdm(frames, total=args.sweeps * len(stack), desc='estimate', unit='frame')
    estimate = deque(progress, maxlen=1)[0]
    sharp, depth = estimate.all_in_focus, estimate.depth
    assert sharp is not None
    visualise.write_picture(args.out / 'all_in_focus.png', sharp)
    visualise.write_picture(args.out / 'refocused.png', Photographer(sharp, depth, lens).photograph(args.focus))
    if args.pull is not None:
        small = Photographer(sharp, depth, lens, MAX_PULL)
        shares = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, PULL_FRAMES))
        ends = vergence(args.focus), vergence(args.pull)
        there = [
            small.photograph(distance_of(ends[0] + (ends[1] - ends[0]) * float(share)))
            for share in tqdm(shares, desc='pull', unit='frame')
        ]
        pull = there + there[-2:0:-1]
        films.write_video(args.out / 'pull.mp4', pull, pull[0].shape[1::-1], PULL_RATE)
        films.write_gif(args.out / 'pull.gif', pull, PULL_RATE)
    print(
        f'lens     {lens.focal_length * 1e3:.3g} mm, f/{lens.f_number:.3g}, focus at {visualise.with_unit(args.focus)}'
    )
    print(f'files    {args.out}/: {", ".join(files)}')
    return 0
