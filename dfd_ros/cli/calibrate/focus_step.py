"""dfd calibrate focus: the focus map."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from dfd_ros.cli.calibrate._board import add_board, read_board
from dfd_ros.cli.calibrate._calibration import add_calibration, write

HELP = 'measure the focus map (control value to focus distance) from sweeps over targets'
EXAMPLE = 'dfd calibrate focus sweeps/020 sweeps/030 sweeps/050 sweeps/100'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'sweeps',
        metavar='SWEEP',
        type=Path,
        nargs='+',
        help='folders with images and sweep.yaml, one for each target distance',
    )
    parser.add_argument(
        '--to-infinity', action='store_true', help='extend the map from the farthest target to infinity'
    )
    add_board(parser)
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from tqdm import tqdm

    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.focus import fit_focus_map, peak_of
    from dfd_ros.calibration.recorded_sweep import Sweep
    from dfd_ros.calibration.result_plots import write_focus

    calibration, board = Calibration.read_or_empty(args.calibration), read_board(args)
    with tqdm(args.sweeps, desc='focus', unit='sweep') as progress:
        peaks = [peak_of(Sweep.read(folder), board, calibration.focus_camera) for folder in progress]
    found = fit_focus_map(peaks, args.to_infinity)
    for peak in peaks:
        print(f'sweep     {peak.name}: {peak.distance:.4g} m at {peak.value:.4g}')
    print(f'residual  {found.residual:.3g} dioptres')
    if not math.isnan(found.hysteresis):
        print(f'hysteresis {found.hysteresis:.3g} control values, that is {found.hysteresis_dioptre:.3g} dioptres')
    write(args, replace(calibration, focus=found), 'focus', lambda path, map_: write_focus(path, peaks, map_), found)
