"""The calibration file that the steps update."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfd_ros.calibration.calibration_file import Calibration


def add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--calibration',
        metavar='YAML',
        type=Path,
        default=Path('calibration.yaml'),
        help='calibration file to update; its other sections stay',
    )


def add_frames(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--parent', metavar='FRAME', default='focus_camera_optical_frame', help='optical frame of the focus camera'
    )
    parser.add_argument(
        '--child',
        metavar='FRAME',
        default='rgbd_camera_color_optical_frame',
        help='optical frame of the RGB-D colour camera, as named by its driver',
    )


def add_focus_distance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--focus-distance',
        metavar='M',
        type=float,
        default=math.nan,
        help='focus distance of the images of the focus camera, or inf; its focal length in pixels depends on it',
    )


def require_focus_distance(args: argparse.Namespace) -> None:
    """Raises InputError where --focus-distance is no distance; NaN is unknown."""
    from dfd_ros.core.errors import InputError

    if args.focus_distance <= 0:
        raise InputError(f'--focus-distance {args.focus_distance}: must be positive (inf for infinity)')


def write(
    args: argparse.Namespace, calibration: Calibration, name: str, draw: Callable[[Path, Any], None], result: Any
) -> None:
    """Writes the calibration file, and a picture of the result beside it by `draw(path, result)`."""
    from dfd_ros.core.errors import InputError

    calibration.write(args.calibration)
    print(f'written   {args.calibration}')
    picture = args.calibration.with_name(f'{args.calibration.stem}_{name}.png')
    try:
        draw(picture, result)
        print(f'picture   {picture}')
    except InputError as error:
        print(f'picture   none: {error}')
