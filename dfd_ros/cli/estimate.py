"""dfd estimate: depth, circle of confusion and confidence from a focal stack."""

from __future__ import annotations

import argparse
import math
import shlex
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.inference.estimator_arguments import (
    add_estimator_arguments,
    add_range_arguments,
    add_resolution_argument,
    estimator_options,
)

if TYPE_CHECKING:
    from dfd_ros.core.optics import VergenceRange

HELP = 'estimate depth, circle of confusion, confidence and the all-in-focus image of a focal stack'
EXAMPLE = 'dfd estimate examples/push_button --out output/button'
LITTLE = 0.05
"""Share of the pixels with depth that is remarked on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'stack',
        metavar='STACK',
        type=Path,
        help='folder of images, with or without stack.yaml; video of a focus pull; or TIFF file with several pages',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for depth (npy, 16-bit PNG), point cloud (PLY, GLB), confidence, pictures and summary.json',
    )
    parser.add_argument('--confidence', type=float, default=0.0, help='depth with less confidence (0..1) becomes NaN')
    parser.add_argument(
        '--accepted-errors',
        metavar='SHARE',
        type=float,
        default=1.0,
        help='discard the least confident pixels until at most this share of the rest is expected to be wrong',
    )
    add_range_arguments(parser, 'the nearest focus distance of the stack', 'the farthest focus distance')
    parser.add_argument(
        '--order',
        choices=('far_to_near', 'near_to_far'),
        help='how the focus goes, if the focus distances are unknown (default: found from the sharpness of the images)',
    )
    parser.add_argument('--sweeps', metavar='N', type=int, default=1, help='read the stack N times')
    add_resolution_argument(parser)
    parser.add_argument(
        '--field-of-view',
        metavar='DEG',
        type=float,
        help='horizontal, of the images, for the point cloud (default: from focal length and sensor width)',
    )
    parser.add_argument(
        '--calibration',
        metavar='FILE[:NAME]',
        help='calibration of the camera, by dfd calibrate, camera_calibration, Kalibr or OpenCV: takes out the '
        'distortion of the images, and gives the field of view',
    )
    add_estimator_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import time

    import numpy as np
    from tqdm import tqdm

    from dfd_ros.cli._options import require_within
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import output_folder, require_other_folder, require_output_folder
    from dfd_ros.core.optics import VergenceRange
    from dfd_ros.photographs import read_focal_stack

    require_within(
        args,
        confidence=(0, 1),
        accepted_errors=(0, 1),
        near=(1e-3, math.inf),
        far=(1e-3, math.inf),
        sweeps=(1, 1000),
        resolution=(0, 16384),
        field_of_view=(0.1, 170),
    )
    if args.calibration and args.field_of_view:
        raise InputError('--field-of-view: --calibration has it already; give one of the two')
    stack = read_focal_stack(args.stack, args.order)
    focal_length_px = stack.lens_states[-1].focal_length_px
    if args.calibration:
        from dfd_ros.calibration.calibration_import import CalibrationSource, read_rig
        from dfd_ros.calibration.undistorted_stack import undistorted

        rig = read_rig([CalibrationSource.parsed(args.calibration)])
        stack, focal_length_px = undistorted(stack, rig.calibration)
    if not stack.is_metric and (args.near is not None or args.far is not None):
        raise InputError(
            f'--near, --far: {args.stack} has no focus distances, and without them no depth in metres; '
            'give them in a stack.yaml (dfd stack init)'
        )
    near, far = args.near, args.far
    if near is None or far is None:
        covered = stack.range
        near, far = covered.near if near is None else near, covered.far if far is None else far
    try:
        range_ = VergenceRange(near, far)
    except InputError as error:
        raise InputError(f'--near, --far: {error}') from None

    # After the checks, which then take no time.
    from dfd_ros.cli._estimate_files import file_names, files_in_the_way, masked_depth, write_results, write_summary
    from dfd_ros.inference.estimator import DepthEstimator

    require_other_folder(args.out, args.stack)
    if args.field_of_view is not None:
        focal_length_px = stack.images[-1].shape[1] / 2 / math.tan(math.radians(args.field_of_view / 2))
    files = file_names(stack.is_metric, focal_length_px)
    require_output_folder(args.out, *files)
    files_in_the_way(args.out, files)
    estimator = DepthEstimator(
        **estimator_options(args), range_=range_, resolution=args.resolution or None, all_in_focus=True
    )
    estimates = estimator.estimate_frames(stack, args.sweeps)
    output_folder(args.out)
    # Of the last sweep.
    depths: deque[np.ndarray] = deque(maxlen=len(stack))
    cocs: deque[np.ndarray] = deque(maxlen=len(stack))
    start = time.perf_counter()
    with tqdm(total=args.sweeps * len(stack), desc='estimate', unit='frame') as progress:
        if math.isnan(stack.lens_states[0].lens.blur_scale(range_)):
            progress.set_postfix_str('finding the blur scale of the unknown aperture')  # takes longer than a frame
        for estimate in estimates:
            progress.set_postfix_str('', refresh=False)
            progress.update()
            depths.append(masked_depth(estimate, estimate.threshold(args.confidence, args.accepted_errors), range_))
            cocs.append(estimate.coc)
    seconds = time.perf_counter() - start
    depth = depths[-1]
    files = write_results(args.out, stack, range_, estimate, depths, cocs, focal_length_px)
    summary = write_summary(args.out / 'summary.json', stack, range_, estimator, estimate, depth, seconds, files)
    _print(args, summary, range_)
    return 0


def _print(args: argparse.Namespace, summary: dict, range_: VergenceRange) -> None:
    depth, is_metric = summary['depth'], summary['metric']
    known = 'known' if summary['lens']['known'] else 'unknown except for the focus distances'
    again = f', read {args.sweeps} times' if args.sweeps > 1 else ''
    median = '' if depth['median_m'] is None else f', median {float(depth["median_m"]):.3g} m'
    print(f'frames     {summary["frames"]} of {summary["width"]}x{summary["height"]}{again}')
    print(f'focus      {summary["focus_source"]}')
    print(f'lens       {known if is_metric else "unknown"}')
    if found := summary['lens']['blur_scale_found_px']:
        print(f'blur       {found:.3g} px between the ends of the range, found from the images')
    print(f'range      {f"{range_.near:.3g} m to {range_.far:.3g} m" if is_metric else "unknown"}')
    print(f'depth      {"" if is_metric else "relative, "}known for {depth["known_share"]:.0%} of the pixels{median}')
    if depth['unknown_because']:
        print(f'           {depth["unknown_because"]}')
    print(f'confidence {summary["mean_confidence"]:.2f} on average')
    if warning := _warning(args, summary):
        print(f'           {warning}')
    print(f'time       {summary["seconds"]:.1f} s on {summary["device"]} in {summary["precision"]}')
    print(f'files      {args.out}/: {", ".join(summary["files"])}')
    if not is_metric:
        print(f'           no metres: {_missing_distances(args.stack)}')
    elif 'cloud.ply' not in summary['files']:
        print('           no point cloud: the field of view is unknown, give it with --field-of-view')


def _warning(args: argparse.Namespace, summary: dict) -> str | None:
    """What to do where there is depth, but little or of low confidence."""
    from dfd_ros.inference.depth_estimate import LOW_CONFIDENCE, WHY_LOW

    if summary['depth']['unknown_because']:  # says more
        return None
    if summary['mean_confidence'] < LOW_CONFIDENCE:
        return f'low: {WHY_LOW}'
    if summary['depth']['known_share'] < LITTLE:
        return f'little depth is left: confidence is below {args.confidence:g}, or wrong depth above --accepted-errors'
    return None


def _missing_distances(source: Path) -> str:
    """What to do for metres."""
    if (source / 'stack.yaml').exists():
        return f'give the focus distances in {source / "stack.yaml"}'
    folder = '' if source.is_dir() else ' --out FOLDER'
    return f'give the focus distances in a stack.yaml: dfd stack init {shlex.quote(str(source))}{folder}'
