"""How exact is dfd calibrate? A simulated rig of which all is known is recorded, calibrated, and compared.

.venv/bin/python benchmarks/calibration.py --out output/calibration     # leaves recordings and pictures there
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from _common import machine
from simulated_rig import SimulatedRig

from dfd_ros import cli
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import distance, magnification, vergence

FOCUS = 0.5  # m, at which the boards are photographed
TARGETS = (0.25, 0.35, 0.5, 0.8, 1.2)  # m, of the focus sweeps


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--boards', type=int, default=12, help='images of the board, of each camera')
    parser.add_argument('--steps', type=int, default=15, help='images of a sweep')
    parser.add_argument('--width', type=int, default=640, help='px')
    parser.add_argument('--out', type=Path, help='folder for recordings, calibration.yaml and pictures')
    options = parser.parse_args(arguments)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        rig = SimulatedRig(options.width, options.width * 3 // 4)
        record(rig, out, options.boards, options.steps)
        if not calibrate(out):
            return 1
        print('\n' + table(['figure', 'error', 'allowed'], compare(rig, Calibration.read(out / 'calibration.yaml'))))
    return 0


def record(rig: SimulatedRig, out: Path, boards: int, steps: int) -> None:
    """All that a user would photograph."""
    rig.write_boards(out / 'focus', out / 'rgbd', boards, FOCUS)
    values = np.linspace(rig.control_value(1.6), rig.control_value(0.22), steps)
    for target in TARGETS:
        rig.write_sweep(out / f'sweep_{target:.2f}', target, values, 'texture')
    rig.write_sweep(out / 'texture', FOCUS, values, 'texture')


def calibrate(out: Path) -> bool:
    """The commands, in their order. What they say is left in `calibration.log`."""
    to = ['--calibration', str(out / 'calibration.yaml')]
    sweeps = [str(out / f'sweep_{target:.2f}') for target in TARGETS]
    with open(out / 'calibration.log', 'w') as log, redirect_stdout(log):
        return not any(
            cli.main(['calibrate', *command, *to])
            for command in (
                ['intrinsics', str(out / 'focus'), '--focus-distance', str(FOCUS)],
                ['intrinsics', str(out / 'rgbd'), '--camera', 'rgbd'],
                ['extrinsics', str(out / 'focus'), str(out / 'rgbd')],
                ['focus', *sweeps],
                ['aperture', str(out / 'texture'), '--focal-length', '16'],
            )
        )


def compare(rig: SimulatedRig, found: Calibration) -> list[list[str]]:
    """Error of each figure, and its target."""
    rows = []
    assert found.extrinsics and found.focus and found.aperture  # the steps before have succeeded
    for name, true, camera in (
        ('focus camera', rig.at_focus(FOCUS), found.focus_camera),
        ('RGB-D camera', rig.rgbd_camera, found.rgbd_camera),
    ):
        assert camera is not None
        focal = max(abs(camera.fx / true.fx - 1), abs(camera.fy / true.fy - 1))
        centre = max(abs(camera.cx - true.cx), abs(camera.cy - true.cy)) / true.fx
        rows += [
            [f'{name}: focal length', f'{100 * focal:.3f} %', '0.5 %'],
            [f'{name}: principal point, of the focal length', f'{100 * centre:.3f} %', '0.5 %'],
        ]
    off = np.linalg.inv(rig.extrinsics) @ found.extrinsics.matrix
    turn = math.degrees(math.acos(min(1.0, (np.trace(off[:3, :3]) - 1) / 2)))
    shift = 1e3 * np.linalg.norm(found.extrinsics.matrix[:3, 3] - rig.extrinsics[:3, 3])
    rows += [
        ['extrinsics: position', f'{shift:.3f} mm', '2 mm'],
        ['extrinsics: rotation', f'{turn:.4f} deg', '0.2 deg'],
    ]
    grid = [distance(v) for v in np.linspace(vergence(TARGETS[-1]), vergence(TARGETS[0]), 50)]
    focus = max(abs(vergence(found.focus.focus_distance(rig.control_value(d))) - vergence(d)) for d in grid)
    breathing = max(
        abs(found.aperture.magnification(d) / magnification(d, rig.focal_length) - 1)
        for d in found.aperture.focus_distances
    )
    rows += [
        ['focus map', f'{focus:.3f} dioptres', ''],
        ['aperture (f-number)', f'{100 * abs(found.aperture.lens.f_number / rig.f_number - 1):.2f} %', '5 %'],
        ['breathing', f'{100 * breathing:.4f} %', '0.1 %'],
    ]
    return rows


if __name__ == '__main__':
    sys.exit(main())
