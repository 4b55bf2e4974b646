"""dfd calibrate extrinsics: the pose of the RGB-D camera."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from dfd_ros.cli.calibrate._board import add_board, read_board
from dfd_ros.cli.calibrate._calibration import add_calibration, add_frames, write

HELP = 'measure the pose of the RGB-D camera from pairs of images of a board'
EXAMPLE = 'dfd calibrate extrinsics images/focus images/rgbd'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('focus_images', metavar='FOCUS_DIR', type=Path, help='images of the focus camera')
    parser.add_argument(
        'rgbd_images',
        metavar='RGBD_DIR',
        type=Path,
        help='images of the RGB-D colour camera; the images of a pair have the same file name',
    )
    add_board(parser)
    add_frames(parser)
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration import board_images, extrinsics
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.result_plots import write_extrinsics
    from dfd_ros.core.errors import InputError

    calibration, cameras = Calibration.read_or_empty(args.calibration), {}
    for camera in ('focus', 'rgbd'):
        cameras[camera] = getattr(calibration, f'{camera}_camera')
        if cameras[camera] is None:
            raise InputError(
                f'{args.calibration}: no {camera}_camera; run dfd calibrate intrinsics --camera {camera} first'
            )
    board, views = read_board(args), {}
    for camera, folder in (('focus', args.focus_images), ('rgbd', args.rgbd_images)):
        views[camera], size = board_images.find_boards(folder, board, extrinsics.MIN_PAIRS)
        cameras[camera] = cameras[camera].resized(*size)
    result = extrinsics.calibrate_extrinsics(
        views['focus'], cameras['focus'], views['rgbd'], cameras['rgbd'], args.parent, args.child
    )
    found = result.extrinsics
    print(f'pairs     {found.pairs}')
    print('position  ' + ', '.join(f'{1e3 * t:.2f}' for t in found.translation) + ' mm (x right, y down, z forward)')
    print('rotation  ' + ', '.join(f'{math.degrees(a):.3f}' for a in found.rpy) + ' degrees (roll, pitch, yaw)')
    print(f'residual  {found.residual_px:.3f} px')
    write(args, replace(calibration, extrinsics=found), 'extrinsics', write_extrinsics, result)
