"""dfd calibrate aperture: aperture and focus breathing."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.cli.calibrate._calibration import add_calibration, write

if TYPE_CHECKING:
    from dfd_ros.calibration.calibration_file import Calibration

HELP = 'measure aperture and focus breathing from a sweep over a flat target'
EXAMPLE = 'dfd calibrate aperture sweeps/texture --focal-length 4.3'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'stack',
        metavar='DIR',
        type=Path,
        help='focal stack (stack.yaml), or sweep (sweep.yaml) if the focus is calibrated',
    )
    parser.add_argument(
        '--focal-length', metavar='MM', type=float, default=math.nan, help='focal length (default: from the stack)'
    )
    parser.add_argument(
        '--pixel-pitch',
        metavar='UM',
        type=float,
        default=math.nan,
        help='pixel pitch of the images (default: from focal length and intrinsics)',
    )
    parser.add_argument('--linear', action='store_true', help='the images are linear, not sRGB')
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration.aperture import measure_aperture
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.lens import aperture_of
    from dfd_ros.calibration.result_plots import write_aperture
    from dfd_ros.core.errors import InputError

    for name in ('focal_length', 'pixel_pitch'):
        if getattr(args, name) <= 0:
            raise InputError(f'--{name.replace("_", "-")} {getattr(args, name)}: must be positive')
    calibration = Calibration.read_or_empty(args.calibration)
    images, distances, lens = _read_stack(args.stack, calibration)
    lens = replace(
        lens,
        **{
            name: value * unit
            for name, value, unit in (
                ('focal_length', args.focal_length, 1e-3),
                ('pixel_pitch', args.pixel_pitch, 1e-6),
            )
            if value > 0
        },
    )
    result = measure_aperture(images, distances, str(args.stack), is_linear=args.linear)
    height, width = images[0].shape[:2]
    found = aperture_of(result, (width, height), lens, calibration.focus_camera)
    print(f'frames    {found.frames}, with at most {result.coc.max():.1f} px of blur')
    print(f'target    in focus at {result.target:.4g} m')
    print(
        f'aperture  f/{found.lens.f_number:.3g} of {1e3 * found.lens.focal_length:.3g} mm, that is '
        f'{1e3 * found.lens.focal_length / found.lens.f_number:.3g} mm across; {result.blur_per_dioptre:.3g} px of '
        'blur per dioptre'
    )
    print(
        f'breathing {100 * (max(found.magnifications) - 1):.2f} % from infinity to {min(distances):.3g} m, '
        f'{100 * result.breathing_residual:.3f} % off a thin lens of {1e3 * result.breathing:.3g} mm'
    )
    print(f'residual  {result.residual:.3g} of the transfer functions')
    write(
        args,
        replace(calibration, aperture=found),
        'aperture',
        lambda path, r: write_aperture(path, r, found.lens.f_number),
        result,
    )


def _read_stack(folder: Path, calibration: Calibration) -> tuple:
    """Images, focus distances and lens of a focal stack, or of a sweep by control value."""
    from dfd_ros.calibration.recorded_sweep import Sweep, is_sweep
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.focal_stack import FocalStack
    from dfd_ros.core.optics import Lens

    if not is_sweep(folder):
        stack = FocalStack.read(folder)
        return stack.images, [state.focus_distance for state in stack.lens_states], stack.lens_states[0].lens
    if calibration.focus is None:
        raise InputError(f'{folder}: a sweep by control value needs the focus map; run dfd calibrate focus first')
    sweep = Sweep.read(folder)
    low, high = min(calibration.focus.values), max(calibration.focus.values)
    kept = [i for i, value in enumerate(sweep.values) if low <= value <= high]
    if len(kept) < len(sweep.values):
        print(f'skipped   {len(sweep.values) - len(kept)} images outside the focus map ({low:g} to {high:g})')
    return ([sweep.images[i] for i in kept], [calibration.focus.focus_distance(sweep.values[i]) for i in kept], Lens())
