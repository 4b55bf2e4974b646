"""dfd calibrate sweep: a sweep by values of the focus motor."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.cli._focus_bridge import add_driver_arguments, focus_bridge
from dfd_ros.cli._options import add_device_arguments, require_within

if TYPE_CHECKING:
    from dfd_ros.core.focus_device import FocusDevice

HELP = 'record a sweep by values of the focus motor, for focus and aperture: from a device, or through ROS'
EXAMPLE = 'dfd calibrate sweep --device /dev/video0 --first 0 --last 250 --steps 26 --distance 0.5 --out sweeps/050'

MAX_VALUES = 100_000  # of a focus motor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device_arguments(parser)
    add_driver_arguments(parser)
    parser.add_argument('--first', metavar='N', type=float, required=True, help='control value to start at')
    parser.add_argument('--last', metavar='N', type=float, required=True, help='control value to end at')
    parser.add_argument('--steps', metavar='N', type=int, default=26, help='number of images')
    parser.add_argument(
        '--distance',
        metavar='M',
        type=float,
        default=math.nan,
        help='from the front of the lens to the target (default: measured on the board)',
    )
    parser.add_argument(
        '--settle-time', metavar='S', type=float, default=0.5, help='time that the motor needs per step'
    )
    parser.add_argument('--width', metavar='PX', type=int, default=0, help="image width; 0: the driver's default")
    parser.add_argument('--height', metavar='PX', type=int, default=0, help="image height; 0: the driver's default")
    parser.add_argument('--out', metavar='DIR', type=Path, required=True, help='new folder for images and sweep.yaml')


def run(args: argparse.Namespace) -> None:
    import numpy as np

    from dfd_ros.calibration.record import record_sweep
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_output_folder
    from dfd_ros.core.focus_device import IN_WHOLE_NUMBERS

    require_within(args, settle_time=(0, 60), first=(-1e9, 1e9), last=(-1e9, 1e9))
    if args.steps < 5:
        raise InputError(f'--steps {args.steps}: must be at least 5')
    if args.distance <= 0:
        raise InputError(f'--distance {args.distance}: must be positive')
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f'--out {args.out}: already exists; choose a new folder or remove it')
    require_output_folder(args.out)
    span = abs(args.last - args.first)
    if not span <= MAX_VALUES:
        raise InputError(f'--first {args.first:g}, --last {args.last:g}: no motor has more than {MAX_VALUES} values')
    values = np.linspace(args.first, args.last, min(args.steps, MAX_VALUES))
    if not args.driver and (args.source or 'v4l2') in IN_WHOLE_NUMBERS:
        values = values.round()
    if args.first == args.last:
        raise InputError(f'--first, --last: both are {args.first:g}')
    if len(set(values)) < args.steps:
        raise InputError(f'--steps {args.steps}: more than the integers from {args.first:g} to {args.last:g}')
    if args.driver and (args.source or args.width or args.height):
        raise InputError('--driver: its node gives the images; leave out --source, --width and --height')
    with _opened_device(args) as device:
        sweep = record_sweep(device, values, distance=args.distance, settle_time=args.settle_time)
    if len(sweep.images) < 5:
        raise InputError(
            f'{sweep.name}: the focus motor has only {len(sweep.images)} positions from {args.first:g} to '
            f'{args.last:g}; sweep further'
        )
    sweep.write(args.out)
    print(f'sweep     {len(sweep.images)} images in {args.out}/')


@contextlib.contextmanager
def _opened_device(args: argparse.Namespace) -> Iterator[FocusDevice]:
    """The camera of the sweep, read directly or through ROS."""
    import tempfile

    import yaml

    from dfd_ros.cameras.focus_devices import open_focus_device
    from dfd_ros.cameras.focus_table import FocusTable
    from dfd_ros.core.focus_device import ImageSettings

    if not args.driver:
        images = ImageSettings(args.width, args.height)
        with contextlib.closing(open_focus_device(args.source or 'v4l2', args.device, images)) as device:
            yield device
        return
    # Any table will do: the bridge turns values into distances by it, and the sweep turns them back.
    low, high = sorted((args.first, args.last))
    entries = [{'value': low, 'focus_distance_m': math.inf}, {'value': high, 'focus_distance_m': 0.1}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'table.yaml'
        path.write_text(yaml.safe_dump({'focus_table': entries}))
        with focus_bridge(args, {'focus_table': str(path)}) as (topics, compressed, check):
            from dfd_ros.ros.client_node import spinning
            from dfd_ros.ros.topic_device import TopicDevice

            table = FocusTable.load(path)
            with spinning(lambda: TopicDevice(topics, table, compressed, check)) as node:
                yield node
