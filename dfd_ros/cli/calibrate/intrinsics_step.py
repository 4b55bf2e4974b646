"""dfd calibrate intrinsics: focal length, principal point and distortion."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfd_ros.cli.calibrate._board import add_board, read_board
from dfd_ros.cli.calibrate._calibration import add_calibration, add_focus_distance, require_focus_distance, write

HELP = 'measure focal length, principal point and distortion from images of a board'
EXAMPLE = 'dfd calibrate intrinsics images/focus --focus-distance 0.6'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', metavar='DIR', type=Path, help='images of the board, tilted in all directions')
    parser.add_argument(
        '--camera',
        choices=('focus', 'rgbd'),
        default='focus',
        help='the focus camera, or the colour camera of the RGB-D sensor',
    )
    add_focus_distance(parser)
    add_board(parser)
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration import board_images, intrinsics
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.result_plots import write_intrinsics

    require_focus_distance(args)
    calibration = Calibration.read_or_empty(args.calibration)
    views, size = board_images.find_boards(args.images, read_board(args), intrinsics.MIN_VIEWS)
    result = intrinsics.calibrate_intrinsics(views, size, args.focus_distance)
    camera = result.camera
    print(f'views     {len(views)}, {size[0]}x{size[1]}')
    print(f'focal     {camera.fx:.2f}, {camera.fy:.2f} px (standard deviation {100 * result.focal_uncertainty:.2f} %)')
    print(f'centre    {camera.cx:.2f}, {camera.cy:.2f} px')
    print('distorts  ' + ', '.join(f'{d:.4g}' for d in camera.distortion))
    print(f'residual  {camera.residual_px:.3f} px')
    if args.camera == 'focus':
        calibration = replace(calibration, focus_camera=camera)
    else:
        calibration = replace(calibration, rgbd_camera=camera)
    write(args, calibration, f'{args.camera}_intrinsics', write_intrinsics, result)
