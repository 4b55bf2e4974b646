"""dfd calibrate: intrinsics, extrinsics, focus map, aperture, breathing and latency of a rig, in one file."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.cli import _calibrate_import, _calibrate_latency
from dfd_ros.cli._focus_bridge import add_driver_arguments, focus_bridge
from dfd_ros.cli._options import add_device_arguments, require_focus_distance, require_within

if TYPE_CHECKING:
    from dfd_ros.core.focus_device import FocusDevice

HELP = 'measure a rig: intrinsics, extrinsics, focus map, aperture, breathing and latency, into calibration.yaml'
EXAMPLE = 'dfd calibrate intrinsics images/focus --calibration calibration.yaml --focus-distance 0.6'

MAX_VALUES = 100_000  # of a focus motor
PRINT_DPI = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest='kind', metavar='STEP', required=True, parser_class=type(parser))

    def add(name: str, does, text: str, example: str) -> argparse.ArgumentParser:
        kind = kinds.add_parser(
            name,
            help=text,
            description=text,
            epilog=f'example:\n  dfd calibrate {name} {example}',
            formatter_class=parser.formatter_class,
        )
        kind.set_defaults(does=does)
        return kind

    target = add(
        'target', _target, 'make a target to print at full size: a ChArUco board, or random discs', '--out board.png'
    )
    target.add_argument('--out', metavar='FILE', type=Path, required=True, help='PNG or PDF file to write')
    target.add_argument('--texture', action='store_true', help='random discs of all sizes, for focus and aperture')
    _add_board(target)

    sweep = add(
        'sweep',
        _sweep,
        'record a sweep by values of the focus motor, for focus and aperture: from a device, or through ROS',
        '--device /dev/video0 --first 0 --last 250 --steps 26 --distance 0.5 --out sweeps/050',
    )
    add_device_arguments(sweep)
    add_driver_arguments(sweep)
    sweep.add_argument('--first', metavar='N', type=float, required=True, help='control value to start at')
    sweep.add_argument('--last', metavar='N', type=float, required=True, help='control value to end at')
    sweep.add_argument('--steps', metavar='N', type=int, default=26, help='number of images')
    sweep.add_argument(
        '--distance',
        metavar='M',
        type=float,
        default=math.nan,
        help='from the front of the lens to the target (default: measured on the board)',
    )
    sweep.add_argument('--settle-time', metavar='S', type=float, default=0.5, help='time that the motor needs per step')
    sweep.add_argument('--width', metavar='PX', type=int, default=0, help="image width; 0: the driver's default")
    sweep.add_argument('--height', metavar='PX', type=int, default=0, help="image height; 0: the driver's default")
    sweep.add_argument('--out', metavar='DIR', type=Path, required=True, help='new folder for images and sweep.yaml')

    intrinsics = add(
        'intrinsics',
        _intrinsics,
        'measure focal length, principal point and distortion from images of a board',
        'images/focus --focus-distance 0.6',
    )
    intrinsics.add_argument('images', metavar='DIR', type=Path, help='images of the board, tilted in all directions')
    intrinsics.add_argument(
        '--camera',
        choices=('focus', 'rgbd'),
        default='focus',
        help='the focus camera, or the colour camera of the RGB-D sensor',
    )
    intrinsics.add_argument(
        '--focus-distance',
        metavar='M',
        type=float,
        default=math.nan,
        help='focus distance of the images, or inf; the focal length in pixels depends on it',
    )
    _add_board(intrinsics)

    extrinsics = add(
        'extrinsics',
        _extrinsics,
        'measure the pose of the RGB-D camera from pairs of images of a board',
        'images/focus images/rgbd',
    )
    extrinsics.add_argument('focus_images', metavar='FOCUS_DIR', type=Path, help='images of the focus camera')
    extrinsics.add_argument(
        'rgbd_images',
        metavar='RGBD_DIR',
        type=Path,
        help='images of the RGB-D colour camera; the images of a pair have the same file name',
    )
    _add_board(extrinsics)

    foreign = add(
        'import',
        _import,
        'take intrinsics and extrinsics of camera_calibration (ost.yaml), Kalibr (camchain.yaml) or OpenCV',
        'camchain.yaml --child camera_color_optical_frame',
    )
    _calibrate_import.add_arguments(foreign)
    for kind in (extrinsics, foreign):
        kind.add_argument(
            '--parent', metavar='FRAME', default='focus_camera_optical_frame', help='optical frame of the focus camera'
        )
        kind.add_argument(
            '--child',
            metavar='FRAME',
            default='rgbd_camera_color_optical_frame',
            help='optical frame of the RGB-D colour camera, as named by its driver',
        )

    focus = add(
        'focus',
        _focus,
        'measure the focus map (control value to focus distance) from sweeps over targets',
        'sweeps/020 sweeps/030 sweeps/050 sweeps/100',
    )
    focus.add_argument(
        'sweeps',
        metavar='SWEEP',
        type=Path,
        nargs='+',
        help='folders with images and sweep.yaml, one for each target distance',
    )
    focus.add_argument('--to-infinity', action='store_true', help='extend the map from the farthest target to infinity')
    _add_board(focus)

    aperture = add(
        'aperture',
        _aperture,
        'measure aperture and focus breathing from a sweep over a flat target',
        'sweeps/texture --focal-length 4.3',
    )
    aperture.add_argument(
        'stack',
        metavar='DIR',
        type=Path,
        help='focal stack (stack.yaml), or sweep (sweep.yaml) if the focus is calibrated',
    )
    aperture.add_argument(
        '--focal-length', metavar='MM', type=float, default=math.nan, help='focal length (default: from the stack)'
    )
    aperture.add_argument(
        '--pixel-pitch',
        metavar='UM',
        type=float,
        default=math.nan,
        help='pixel pitch of the images (default: from focal length and intrinsics)',
    )
    aperture.add_argument('--linear', action='store_true', help='the images are linear, not sRGB')
    latency = add(
        'latency',
        _latency,
        'measure how long after a focus command the picture changes and rests',
        '--driver camera_ros',
    )
    _calibrate_latency.add_arguments(latency)
    for kind in (intrinsics, extrinsics, foreign, focus, aperture, latency):
        kind.add_argument(
            '--calibration',
            metavar='YAML',
            type=Path,
            default=Path('calibration.yaml'),
            help='calibration file to update; its other sections stay',
        )


def _add_board(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--squares', metavar='COLSxROWS', default='10x7', help='squares of the board')
    parser.add_argument('--square', metavar='MM', type=float, default=25.0, help='side of a square, measured on paper')
    parser.add_argument('--marker', metavar='MM', type=float, default=18.0, help='side of a marker, measured on paper')
    parser.add_argument('--dictionary', default='5X5_100', help='marker dictionary, as in OpenCV without DICT_')


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.files import require_writable

    if hasattr(args, 'calibration'):
        require_writable(args.calibration)
    args.does(args)
    return 0


def _board(args: argparse.Namespace):
    from dfd_ros.calibration.board import Board
    from dfd_ros.core.errors import InputError

    columns, by, rows = args.squares.partition('x')
    if not (by and columns.isdigit() and rows.isdigit()):
        raise InputError(f'--squares {args.squares}: must be columns x rows, such as 10x7')
    return Board(int(columns), int(rows), args.square * 1e-3, args.marker * 1e-3, args.dictionary)


def _target(args: argparse.Namespace) -> None:
    from PIL import Image

    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import written_atomically
    from dfd_ros.core.image_io import MAX_PIXELS

    if args.out.suffix.lower() not in ('.pdf', '.png'):
        raise InputError(f'--out {args.out}: must end in .pdf or .png')
    board = _board(args)
    pixels = round(board.square * PRINT_DPI / 0.0254)
    if board.columns * board.rows * pixels**2 > MAX_PIXELS:
        width, height = (1e3 * side for side in board.size)
        raise InputError(f'board of {width:g} x {height:g} mm: too large to be printed at {PRINT_DPI} dpi')
    if args.texture:
        from dfd_ros.calibration.noise_target import noise_target

        picture = noise_target(pixels * min(board.columns, board.rows))
    else:
        picture = board.picture(pixels)
    # The resolution at which a square has its exact length, although its pixels are rounded.
    dpi = pixels * 0.0254 / board.square
    with written_atomically(args.out) as temporary:
        if args.out.suffix.lower() == '.pdf':
            Image.fromarray(picture).save(temporary, format='PDF', resolution=dpi, quality=95)
        else:
            Image.fromarray(picture).save(temporary, format='PNG', dpi=(dpi, dpi))
    height, width = (1e3 * side / pixels * board.square for side in picture.shape)
    print(f'picture   {args.out}: print it at 100 % ({width:.1f} x {height:.1f} mm) and measure it')


def _sweep(args: argparse.Namespace) -> None:
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


def _intrinsics(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration import board_images, intrinsics
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.result_plots import write_intrinsics

    require_focus_distance(args)
    calibration = Calibration.read_or_empty(args.calibration)
    views, size = board_images.find_boards(args.images, _board(args), intrinsics.MIN_VIEWS)
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
    _write(args, calibration, f'{args.camera}_intrinsics', write_intrinsics, result)


def _extrinsics(args: argparse.Namespace) -> None:
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
    board, views = _board(args), {}
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
    _write(args, replace(calibration, extrinsics=found), 'extrinsics', write_extrinsics, result)


def _import(args: argparse.Namespace) -> None:
    _calibrate_import.imported(args).write(args.calibration)
    print(f'written   {args.calibration}')


def _focus(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from tqdm import tqdm

    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.focus import fit_focus_map, peak_of
    from dfd_ros.calibration.recorded_sweep import Sweep
    from dfd_ros.calibration.result_plots import write_focus

    calibration, board = Calibration.read_or_empty(args.calibration), _board(args)
    with tqdm(args.sweeps, desc='focus', unit='sweep') as progress:
        peaks = [peak_of(Sweep.read(folder), board, calibration.focus_camera) for folder in progress]
    found = fit_focus_map(peaks, args.to_infinity)
    for peak in peaks:
        print(f'sweep     {peak.name}: {peak.distance:.4g} m at {peak.value:.4g}')
    print(f'residual  {found.residual:.3g} dioptres')
    if not math.isnan(found.hysteresis):
        print(f'hysteresis {found.hysteresis:.3g} control values, that is {found.hysteresis_dioptre:.3g} dioptres')
    _write(args, replace(calibration, focus=found), 'focus', lambda path, map_: write_focus(path, peaks, map_), found)


def _aperture(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from dfd_ros.calibration.aperture import measure_aperture
    from dfd_ros.calibration.calibration_file import Calibration
    from dfd_ros.calibration.lens import aperture_of
    from dfd_ros.calibration.result_plots import write_aperture
    from dfd_ros.core.errors import InputError

    for name in ('focal_length', 'pixel_pitch'):
        if getattr(args, name) <= 0:
            raise InputError(f'--{name.replace("_", "-")} {getattr(args, name)}: must be positive')
    calibration = Calibration.read_or_empty(args.calibration)
    images, distances, lens = _stack(args.stack, calibration)
    lens = replace(
        lens,
        **{
            name: value * unit
            for name, value, unit in (
                ('focal_length', args.focal_length, 1e-3),
                ('pixel_pitch', args.pixel_pitch, 1e-6),
            )
            if value > 0
        },
    )
    result = measure_aperture(images, distances, str(args.stack), is_linear=args.linear)
    height, width = images[0].shape[:2]
    found = aperture_of(result, (width, height), lens, calibration.focus_camera)
    print(f'frames    {found.frames}, with at most {result.coc.max():.1f} px of blur')
    print(f'target    in focus at {result.target:.4g} m')
    print(
        f'aperture  f/{found.lens.f_number:.3g} of {1e3 * found.lens.focal_length:.3g} mm, that is '
        f'{1e3 * found.lens.focal_length / found.lens.f_number:.3g} mm across; {result.blur_per_dioptre:.3g} px of '
        'blur per dioptre'
    )
    print(
        f'breathing {100 * (max(found.magnifications) - 1):.2f} % from infinity to {min(distances):.3g} m, '
        f'{100 * result.breathing_residual:.3f} % off a thin lens of {1e3 * result.breathing:.3g} mm'
    )
    print(f'residual  {result.residual:.3g} of the transfer functions')
    _write(
        args,
        replace(calibration, aperture=found),
        'aperture',
        lambda path, r: write_aperture(path, r, found.lens.f_number),
        result,
    )


def _latency(args: argparse.Namespace) -> None:
    from dfd_ros.calibration.result_plots import write_latency

    calibration, result = _calibrate_latency.measure(args)
    _write(args, calibration, 'latency', write_latency, result)


def _stack(folder: Path, calibration) -> tuple:
    """Images, focus distances and lens of a focal stack, or of a sweep by control value."""
    from dfd_ros.calibration.recorded_sweep import Sweep, is_sweep
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.focal_stack import FocalStack
    from dfd_ros.core.optics import Lens

    if not is_sweep(folder):
        stack = FocalStack.read(folder)
        return stack.images, [state.focus_distance for state in stack.lens_states], stack.lens_states[0].lens
    if calibration.focus is None:
        raise InputError(f'{folder}: a sweep by control value needs the focus map; run dfd calibrate focus first')
    sweep = Sweep.read(folder)
    low, high = min(calibration.focus.values), max(calibration.focus.values)
    kept = [i for i, value in enumerate(sweep.values) if low <= value <= high]
    if len(kept) < len(sweep.values):
        print(f'skipped   {len(sweep.values) - len(kept)} images outside the focus map ({low:g} to {high:g})')
    return ([sweep.images[i] for i in kept], [calibration.focus.focus_distance(sweep.values[i]) for i in kept], Lens())


def _write(args: argparse.Namespace, calibration, name: str, draw, result) -> None:
    from dfd_ros.core.errors import InputError

    calibration.write(args.calibration)
    print(f'written   {args.calibration}')
    picture = args.calibration.with_name(f'{args.calibration.stem}_{name}.png')
    try:
        draw(picture, result)
        print(f'picture   {picture}')
    except InputError as error:
        print(f'picture   none: {error}')
