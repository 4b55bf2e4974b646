"""dfd calibrate latency: the motion of the lens after a focus command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.cli._focus_bridge import add_driver_arguments, focus_bridge
from dfd_ros.cli._options import add_device_arguments, require_within
from dfd_ros.cli.calibrate._calibration import add_calibration, write

if TYPE_CHECKING:
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.focus_steps import FocusSteps
    from dfd_ros.calibration.latency import LatencyResult
    from dfd_ros.cameras.driver_file import Driver

HELP = 'measure how long after a focus command the picture changes and rests'
EXAMPLE = 'dfd calibrate latency --driver camera_ros'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'bag',
        metavar='BAG',
        type=Path,
        nargs='?',
        help='recording of images and focus commands (default: step the focus now)',
    )
    add_device_arguments(parser)
    parser.add_argument(
        '--focus-table', metavar='YAML', default='', help='values against focus distances (default: the calibration)'
    )
    parser.add_argument('--steps', metavar='N', type=int, default=16, help='number of steps')
    parser.add_argument(
        '--step-time', metavar='S', type=float, default=0.0, help='time between two steps (default: 1 s, or 30 frames)'
    )
    add_driver_arguments(parser)
    add_calibration(parser)


def run(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.latency import measure_latency
    from dfd_ros.calibration.result_plots import write_latency
    from dfd_ros.cameras.driver_file import read_driver
    from dfd_ros.core.errors import InputError

    require_within(args, steps=(6, 1000), step_time=(0.0, 60.0))
    if args.bag and (args.driver or args.device or args.source):
        raise InputError(f'{args.bag}: this is a recording; leave out --driver, --device and --source')
    if args.driver and args.source:
        raise InputError('--driver and --source: give one of them')
    calibration = Calibration.read_or_empty(args.calibration)
    driver = read_driver(args.driver, node=args.driver_node, device=args.device) if args.driver else None
    result = measure_latency(_record(args, calibration, driver))
    _print(result)
    motion = result.motion
    reports = _report_latency(result, calibration, driver)
    if reports is not None:
        motion = replace(motion, report_latency_frames=reports)
    elif calibration.motion is not None:
        motion = replace(motion, report_latency_frames=calibration.motion.report_latency_frames)
    write(args, replace(calibration, motion=motion), 'latency', write_latency, result)


def _record(args: argparse.Namespace, calibration: Calibration, driver: Driver | None) -> FocusSteps:
    if args.bag:
        from dfd_ros.bags.recorded_steps import read_focus_steps

        return read_focus_steps(args.bag, args.image_raw, args.focus_command, args.lens_state)
    if (args.device or args.source) and driver is None:
        return _from_device(args, calibration)
    parameters = {'focus_table': args.focus_table}
    if args.calibration.exists():
        parameters['calibration'] = str(args.calibration)
    with focus_bridge(args, parameters) as (topics, compressed, check):
        from dfd_ros.ros.topic_stepping import record_focus_steps

        return record_focus_steps(topics, args.steps, args.step_time, compressed=compressed, check=check)


def _from_device(args: argparse.Namespace, calibration: Calibration) -> FocusSteps:
    from dfd_ros.cameras.focus_devices import open_focus_device
    from dfd_ros.cameras.focus_table import FocusTable
    from dfd_ros.cameras.motor_source import MotorSource
    from dfd_ros.cameras.source_stepping import record_focus_steps
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.focus_device import IN_DIOPTRES

    kind = args.source or 'v4l2'
    table = FocusTable.found(args.focus_table, calibration)
    if table is None and kind not in IN_DIOPTRES:
        raise InputError(f'--focus-table: {args.device or kind} needs one; give it here or in {args.calibration}')
    source = MotorSource(lambda: open_focus_device(kind, args.device), table, settle_time=0.0)
    try:
        return record_focus_steps(source, source.table.range, args.device or kind, args.steps, args.step_time)
    finally:
        source.close()


def _print(result: LatencyResult) -> None:
    from dfd_ros.calibration.latency import vergence_text

    for step in result.steps:
        print(
            f'step      {vergence_text(step.start):>5} to {vergence_text(step.goal):>5} m: {step.latency_frames} '
            f'frames unchanged, at rest after {1e3 * step.rests[1]:.0f} ms, contrast {step.contrast:.3g}'
        )
    motion, period = result.motion, result.period
    latency = motion.latency_s + motion.latency_frames * period
    shown = len(result.steps)
    print(f'rate      {motion.rate_hz:.1f} Hz, stamps {1e3 * result.jitter:.1f} ms off an even grid')
    print(f'steps     {shown} of {shown + result.unclear} show, {result.agreeing} of these agree')
    print(
        f'latency   {result.frames} frames ({1e3 * latency:.0f} ms, +- {1e3 * motion.uncertainty_s:.0f} ms), fixed in '
        f'{"frames" if motion.latency_frames or not latency else "time"}'
    )
    slew = f'{motion.slew_dioptre_s:.3g} dioptres/s' if motion.slew_dioptre_s else 'at once'
    print(f'motion    {slew}, {1e3 * motion.settle_s:.0f} ms to settle')
    if result.label_shift is not None:
        early = f'{abs(result.label_shift)} frames {"before" if result.label_shift > 0 else "after"}'
        print(
            f'labels    lens_state changes {early if result.label_shift else "with"} the picture '
            f'({result.labels_agreeing} of {2 * shown} begins and ends)'
        )


def _report_latency(result: LatencyResult, calibration: Calibration, driver: Driver | None) -> int | None:
    """The latency of the driver's reports; prints it, or what else sets lens states right."""
    shift = result.label_shift
    if driver is not None and driver.has_stamped_reports:
        if shift is None:
            print('reports   latency_frames: not found; repeat with more --steps')
            return None
        before = calibration.motion.report_latency_frames if calibration.motion else None
        if before is None:
            before = driver.report.latency_frames + round(driver.report.latency_s / result.period)
        print(f'reports   latency_frames: {max(before + shift, 0)}')
        return max(before + shift, 0)
    if driver is None and shift:
        print(f'set       lens_state_delay:={-shift * result.period:.4g} of the depth node')
    return None
