"""dfd calibrate: one module per step, with `HELP`, `EXAMPLE`, `add_arguments(parser)` and `run(args)`."""

from __future__ import annotations

import argparse

from dfd_ros.cli.calibrate import (
    aperture_step,
    extrinsics_step,
    focus_step,
    import_step,
    intrinsics_step,
    latency_step,
    sweep_step,
    target_step,
)

HELP = 'measure a rig: intrinsics, extrinsics, focus map, aperture, breathing and latency, into calibration.yaml'
EXAMPLE = intrinsics_step.EXAMPLE

STEPS = {
    'target': target_step,
    'sweep': sweep_step,
    'intrinsics': intrinsics_step,
    'extrinsics': extrinsics_step,
    'import': import_step,
    'focus': focus_step,
    'aperture': aperture_step,
    'latency': latency_step,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest='step', metavar='STEP', required=True, parser_class=type(parser))
    for name, module in STEPS.items():
        step = steps.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f'example:\n  {module.EXAMPLE}',
            formatter_class=parser.formatter_class,
        )
        module.add_arguments(step)


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.files import require_writable

    if hasattr(args, 'calibration'):
        require_writable(args.calibration)
    STEPS[args.step].run(args)
    return 0
