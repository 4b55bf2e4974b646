"""dfd demo: run camera, sweep and depth nodes and compare with the ground truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dfd_ros.cli._options import size_within
from dfd_ros.inference.estimator_arguments import add_resolution_argument
from dfd_ros.ros.node_parameters import SweepParameters

HELP = 'run the camera, sweep and depth nodes in front of a rendered desk; print figures, save pictures and a video'
EXAMPLE = 'dfd demo --seconds 20 --out output/demo'

MAX_SIDE = 4096
PATIENCE = 120.0  # s until the first depth image: a busy machine is slow to load torch three times
SIZES = (640, 480), (320, 240)
SHARE = 0.5  # of the time between two images that the network may take: the camera needs the rest
DRAWING = 120.0  # s that pictures and video may take after Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--seconds', metavar='S', type=float, default=20.0, help='how long to run')
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        default=Path('output/demo'),
        help='folder for overview.png, demo.mp4, demo.gif and the logs of the nodes',
    )
    parser.add_argument(
        '--size',
        metavar='WxH',
        type=size_within(64, MAX_SIDE),
        help='size of the images (default: 640x480 if the network is fast enough for the rate, else 320x240)',
    )
    parser.add_argument('--rate', metavar='HZ', type=float, default=10.0, help='images a second')
    parser.add_argument('--seed', type=int, default=10, help='which prints and colours the things on the desk have')
    pattern = next(d for d in SweepParameters.declarations() if d.name == 'pattern')
    parser.add_argument(
        '--pattern', choices=pattern.choices, default=pattern.default, help='order of the focus distances'
    )
    add_resolution_argument(parser)
    parser.add_argument('--weights', metavar='FILE', default='', help='weights file (default: the shipped weights)')


def run(args: argparse.Namespace) -> int:
    import os

    from dfd_ros.core.child_processes import terminable
    from dfd_ros.core.errors import InputError
    from dfd_ros.ros import launch_arguments
    from dfd_ros.ros.node_processes import NodeFailed, NodeProcesses, require_ros

    if not 1 <= args.seconds <= 3600:
        raise InputError(f'--seconds {args.seconds:g}: must be 1 to 3600')
    launch_arguments.require_files({'weights': args.weights})
    require_ros()
    logs = args.out / 'log'
    logs.mkdir(parents=True, exist_ok=True)
    # Heard on this machine alone, and by nothing else that runs on it.
    domain = os.getpid() % 100 + 1
    os.environ.update(ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST', ROS_DOMAIN_ID=str(domain))
    width, height = args.size or affordable_size(args.weights, args.resolution, args.rate)
    print(
        f'camera ({width}x{height}, {args.rate:g} Hz), sweep and depth: three processes over DDS; {args.seconds:g} s\n'
        f'RViz and ros2 join them with ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_DOMAIN_ID={domain}',
        flush=True,
    )
    try:
        with terminable(), NodeProcesses(logs) as processes:
            # The listener first, so that it misses nothing.
            processes.start(
                'monitor',
                {'seconds': args.seconds, 'patience': PATIENCE, 'truth': True, 'output': str(args.out)},
                grace=DRAWING,
            )
            processes.start(
                'camera',
                {
                    'source': 'synthetic',
                    'image_width': width,
                    'image_height': height,
                    'rate': args.rate,
                    'seed': args.seed,
                    'publish_truth': True,
                },
            )
            processes.start('sweep', {'pattern': args.pattern})
            # A busy machine should not reset the memory.
            processes.start('depth', {'weights': args.weights, 'resolution': args.resolution, 'reset_gap': 10.0})
            processes.wait(until='monitor')
    except NodeFailed as error:
        print(f'dfd: error: {error} (full logs in {logs}/)', file=sys.stderr)
        return 1
    print(f'next     open {args.out}/overview.png (demo.gif plays in browsers); nodes on a live page: dfd run --view;')
    print('         your photographs: dfd estimate FOLDER; your camera: dfd run --help and docs/cameras.md')
    return 0


def affordable_size(weights: str, resolution: int, rate: float) -> tuple[int, int]:
    """The largest of `SIZES` of which this machine estimates depth at `rate` (Hz), as the depth node does.

    Raises:
        InputError: the weights cannot be loaded.
    """
    import time

    import numpy as np

    from dfd_ros.core.lens_state import LensState
    from dfd_ros.inference.estimator import DepthEstimator

    width, height = SIZES[0]
    estimator = DepthEstimator(weights or None, resolution=resolution or None)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    times = []
    for distance in (1.0, 0.5, 0.25, 0.5):
        start = time.perf_counter()
        estimator.push(image, LensState(distance, 0.01, 2.0, 6e-6, near=0.25, far=1.0))
        times.append(time.perf_counter() - start)
    return SIZES[min(times[1:]) * rate > SHARE]  # the first time prepares
