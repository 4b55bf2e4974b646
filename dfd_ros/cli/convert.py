"""dfd convert: converts recordings into training data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = 'convert recorded bags, or a phone recording and a bag, into samples for training and evaluation'
EXAMPLE = 'dfd convert recordings/2026-11-23 --out data/kitchen --calibration rig.yaml --workers 2'

MAX_WORKERS = 256
TOPICS = ('image', 'lens_state', 'camera_info', 'color', 'depth', 'depth_info')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from dfd_ros.bags.recording_events import Topics

    parser.add_argument(
        'bags',
        metavar='BAG',
        type=Path,
        nargs='+',
        help='rosbag2 folder or file (MCAP, SQLite), or a folder of such folders',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for the shards; recordings already converted into it are skipped',
    )
    parser.add_argument(
        '--calibration',
        metavar='[CAMERA=]FILE[:NAME]',
        action='append',
        default=[],
        help='calibration by dfd calibrate, camera_calibration, Kalibr or OpenCV (default: camera_info and TF of the '
        'bags); CAMERA is focus, rgbd or depth, NAME the camera in the file; repeat it for several files',
    )
    parser.add_argument(
        '--clock-offset',
        metavar='S',
        default='0',
        help='seconds to add to the stamps of the RGB-D sensor; auto: estimated from the images',
    )
    parser.add_argument(
        '--phone',
        metavar='DIR',
        type=Path,
        help='phone recording (frames or video, and frames.csv); the single bag holds the depth',
    )
    parser.add_argument(
        '--tolerance', metavar='S', type=float, default=0.02, help='largest time between an image and its depth image'
    )
    parser.add_argument(
        '--frames',
        metavar='N',
        type=int,
        default=0,
        help='make a sample of every N consecutive frames; 0: of every ramp of the focus',
    )
    parser.add_argument('--width', metavar='PX', type=int, default=0, help='image width of the samples; 0: as recorded')
    parser.add_argument(
        '--smallest-depth',
        metavar='SHARE',
        type=float,
        default=0.2,
        help='smallest share of pixels with depth in a frame',
    )
    parser.add_argument('--keep-moving', action='store_true', help='keep frames exposed while the lens moved')
    parser.add_argument(
        '--image-bits',
        metavar='N',
        type=int,
        default=0,
        help='bits that 16-bit images use: 8, 10, 12, 14 or 16; 0: found from the values of the whole recording',
    )
    parser.add_argument('--image-format', choices=('jpg', 'png'), default='jpg', help='image format of the samples')
    parser.add_argument('--workers', metavar='N', type=int, default=1, help='processes, each with one bag at a time')
    parser.add_argument(
        '--shard', metavar='I/N', default='1/1', help='this is job I of N (1..N): convert every N-th bag'
    )
    defaults = Topics()
    for name in TOPICS:
        parser.add_argument(
            f'--{name.replace("_", "-")}-topic',
            metavar='TOPIC',
            default=getattr(defaults, name),
            help='topic name in the bags',
        )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.bags import convert_recordings
    from dfd_ros.bags.recording_events import Topics
    from dfd_ros.calibration.calibration_import import CalibrationSource, read_rig
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_output_folder
    from dfd_ros.core.shares import share_of

    settings = convert_recordings.ConvertSettings(
        args.tolerance,
        args.frames,
        width=args.width,
        smallest_depth=args.smallest_depth,
        keep_moving=args.keep_moving,
        image_bits=args.image_bits,
    )
    job = convert_recordings.Job(
        args.out,
        Topics(**{name: getattr(args, f'{name}_topic') for name in TOPICS}),
        settings,
        convert_recordings.clock_offset_of(args.clock_offset),
        tuple(CalibrationSource.parsed(text) for text in args.calibration),
        args.phone,
        args.image_format,
    )
    if not 1 <= args.workers <= MAX_WORKERS:
        raise InputError(f'--workers {args.workers}: must be 1 to {MAX_WORKERS}')
    recordings = convert_recordings.find_recordings(args.bags)
    if args.phone and len(recordings) != 1:
        raise InputError(f'--phone needs exactly one bag, not {len(recordings)}')
    recordings = list(share_of(sorted(recordings), args.shard))
    require_output_folder(args.out)
    for line in read_rig(job.calibrations, job.topics.image).lines:  # report a wrong file once, not for each bag
        print(line)
    with tqdm(desc='convert', unit='image', total=0) as bar:

        def progress(images: int, more: int) -> None:
            bar.total = (bar.total or 0) + more
            bar.update(images)

        results = convert_recordings.convert_all(recordings, job, workers=args.workers, progress=progress)
    for result in results:
        if not result.error:
            print(f'{result.recording}: {"already converted: " if result.skipped else ""}{result.summary}')
    failed = [result for result in results if result.error]
    for result in failed:
        print(f'dfd: error: {result.error}', file=sys.stderr)
    if failed and len(recordings) > 1:
        print(f'dfd: error: {len(failed)} of {len(recordings)} bags were not converted', file=sys.stderr)
    return 2 if failed else 0
