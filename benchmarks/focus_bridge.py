"""The focus bridge at 30 Hz: the error of its focus labels, steps of focus a second, and its share of a processor core.

.venv/bin/python benchmarks/focus_bridge.py --seconds 20 [--pipelined]

A stand-in for a camera driver (test/support/driver_stand_ins.py) simulates the lens and knows where it was in each
exposure; the sweep node drives it through the bridge, which is a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _common import keep_to_this_machine
from processes import cpu_time

NEAR_VERGENCE = 10.0  # dioptres, of the focus tables


def picture(low: float, high: float):
    """What a camera sees at a value of its lens."""
    from simulated_focus_steps import Scene

    scene = Scene()
    return lambda value: scene((value - low) / (high - low))


def measured(driver: str, folder: Path, options: dict) -> Path:
    """The file that `dfd calibrate latency` writes for this driver."""
    command = [sys.executable, '-m', 'dfd_ros.cli', 'calibrate', 'latency', '--driver', driver, '--steps', '16']
    command += ['--focus-table', str(options['focus_table'])] if 'focus_table' in options else []
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    print('\n'.join(line for line in done.stdout.splitlines() if not line.startswith('step ')), file=sys.stderr)
    return folder / 'calibration.yaml'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument(
        '--pipelined', action='store_true', help='measure the latency first, then sweep without waiting for the lens'
    )
    parser.add_argument('--rate', type=float, default=30.0, help='Hz; a busy machine simulates no more than 10')
    parser.add_argument('--steps', type=int, default=26, help='pipelined: focus distances of a ramp')
    parser.add_argument('--max-travel', type=float, default=0.04, help='pipelined: as the parameter')
    parser.add_argument('--idle', action='store_true', help='no sweep: the lens rests')
    parser.add_argument('--events-executor', action='store_true', help='as the parameter')
    parser.add_argument('--drivers', nargs='+', metavar='NAME', help='only these')
    args = parser.parse_args()
    keep_to_this_machine()

    import driver_stand_ins as stand_ins
    from rclpy.parameter import Parameter
    from ros_processes import NodeProcess, Observer, spinning, wait_until

    from dfd_ros.msg import LensState
    from dfd_ros.ros import qos
    from dfd_ros.ros.nodes.sweep import SweepNode

    table = 'focus_table:\n- {value: %g, focus_distance_m: .inf}\n- {value: %g, focus_distance_m: 0.1}\n'
    drivers = {
        'camera_ros': (stand_ins.CameraRos, None),
        'depthai_ros_driver': (stand_ins.Depthai, (20, 220)),
        'v4l2_camera': (stand_ins.V4l2Camera, (0, 250)),
        'camera_aravis2': (stand_ins.Aravis, (-1.5, 2.5)),
    }
    if unknown := set(args.drivers or ()) - drivers.keys():
        parser.error(f'--drivers: {", ".join(sorted(unknown))}: not of {", ".join(drivers)}')
    print('| driver | frames | settled | steps a second | error of a settled label, 95 %, largest | moving | CPU |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for name in args.drivers or drivers:
        make, ends = drivers[name]
        observer = Observer()
        look = picture(*(ends or (0.0, 15.0))) if args.pipelined else None
        driver = make(scene=look, rate=args.rate)
        states = observer.listen(LensState, '/lens_state', qos.LENS_STATE_SUBSCRIBER)
        pipelined = (
            {'pipelined': True, 'steps': args.steps, 'pattern': 'auto', 'timeout': 30 / args.rate}
            if args.pipelined
            else {}
        )
        sweep = SweepNode(parameter_overrides=[Parameter(key, value=value) for key, value in pipelined.items()])
        with tempfile.TemporaryDirectory() as folder, spinning(sweep):
            options: dict[str, Any] = {'events_executor': args.events_executor}
            if ends:
                options['focus_table'] = Path(folder) / 'table.yaml'
                options['focus_table'].write_text(table % ends)
            if args.pipelined:
                options |= {'calibration': measured(name, Path(folder), options), 'max_travel': args.max_travel}
            if not args.idle:
                sweep.start()
            info = f'/{driver.NAME}/camera_info' if driver.INFO.startswith('~/') else 'camera_info'
            if name == 'depthai_ros_driver':
                info = '/oak/rgb/camera_info'
            bridge = NodeProcess(
                'focus_bridge', Path(folder) / 'log', '-r', f'camera_info:={info}', driver=name, **options
            )
            try:
                wait_until(lambda: any(state.settled for state in states), 'a settled frame')
                time.sleep(6 * args.steps / args.rate if args.pipelined else 0.0)  # auto tries its patterns
                states.clear()
                began, used = time.monotonic(), cpu_time(bridge.process.pid)
                time.sleep(args.seconds)
                share = (cpu_time(bridge.process.pid) - used) / (time.monotonic() - began)
            finally:
                bridge.end()
        sweep.destroy_node()
        observer.silence('/lens_state')
        low, high = ends or (0.0, NEAR_VERGENCE)
        got = [1 / state.focus_distance for state in states if state.settled]
        width = NEAR_VERGENCE if ends else 15.0  # dioptres
        settled: list[float] = []
        moving: list[float] = []
        for state in states:
            truth = driver.truth[state.header.stamp.sec * 10**9 + state.header.stamp.nanosec]
            off = [
                abs(1 / state.focus_distance - (value - low) / (high - low) * NEAR_VERGENCE) / width for value in truth
            ]
            (settled if state.settled else moving).append(max(off))
        steps = sum(abs(b - a) > 0.25 * width / args.steps for a, b in pairwise(got)) / args.seconds
        driver.end()
        observer.close()
        middle = f'{100 * np.median(moving):.1f} %' if moving else '-'
        print(
            f'| {name} | {len(states)} | {100 * len(settled) / len(states):.0f} % | {steps:.1f} '
            f'| {100 * np.percentile(settled, 95):.2f} %, {100 * max(settled):.2f} % '
            f'| {middle} | {100 * share:.1f} % of a core |',
            flush=True,
        )


if __name__ == '__main__':
    main()
