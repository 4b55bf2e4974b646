"""dfd calibrate import: the calibrations of other programs into the calibration file."""

from __future__ import annotations

import argparse

from dfd_ros.cli.calibrate._calibration import add_calibration, add_focus_distance, add_frames, require_focus_distance

HELP = 'take intrinsics and extrinsics of camera_calibration (ost.yaml), Kalibr (camchain.yaml) or OpenCV'
EXAMPLE = 'dfd calibrate import camchain.yaml --child camera_color_optical_frame'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'files',
        metavar='[CAMERA=]FILE[:NAME]',
        nargs='+',
        help='CAMERA: focus or rgbd; NAME: of the camera in the file. Without them the first camera is the focus '
        'camera, the second the colour camera of the RGB-D sensor',
    )
    add_focus_distance(parser)
    add_frames(parser)
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.calibration_import import DEPTH, CalibrationSource, read_rig
    from dfd_ros.core.errors import InputError

    require_focus_distance(args)
    sources = [CalibrationSource.parsed(text) for text in args.files]
    if any(source.camera == DEPTH for source in sources):
        raise InputError(f'{DEPTH}=: the calibration file has no such camera; give it to dfd convert --calibration')
    rig = read_rig(sources)
    if not rig.lines:
        raise InputError(f'{sources[0]}: is already of dfd calibrate, or has no camera; give files of other programs')
    print('\n'.join(rig.lines))
    calibration = Calibration.read_or_empty(args.calibration)
    new = rig.calibration
    if new.focus_camera is not None:
        camera = replace(new.focus_camera, focus_distance=args.focus_distance)
        calibration = replace(calibration, focus_camera=camera)
    if new.rgbd_camera is not None:
        calibration = replace(calibration, rgbd_camera=new.rgbd_camera)
    if new.extrinsics is not None:
        extrinsics = replace(new.extrinsics, parent=args.parent, child=args.child)
        calibration = replace(calibration, extrinsics=extrinsics)
        print(
            'position  '
            + ', '.join(f'{1e3 * t:.2f}' for t in extrinsics.translation)
            + ' mm (x right, y down, z forward)'
        )
    calibration.write(args.calibration)
    print(f'written   {args.calibration}')
