"""dfd view: a live page in the browser."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from dfd_ros.inference.estimator_arguments import (
    add_estimator_arguments,
    add_range_arguments,
    add_resolution_argument,
    estimator_options,
)

HELP = 'show a focal stack, shard, bag, result or training run in the browser: pictures, points, evidence of a pixel'
EXAMPLE = 'dfd view output/stacks/0000 --port 8080'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'recording',
        metavar='STACK|SHARD|BAG|RUN',
        type=Path,
        help='focal stack, as dfd estimate takes it, or a folder of focal stacks; shard of samples (.tar); bag (folder '
        'or file) with images and lens states; folder that dfd estimate has written; run of dfd train, shown with its '
        'best weights',
    )
    parser.add_argument(
        '--host',
        metavar='ADDRESS',
        default='127.0.0.1',
        help='address to listen on; 0.0.0.0: reachable from the whole network, for everybody in it',
    )
    parser.add_argument('--port', metavar='N', type=int, default=8080, help='port of the page; 0: any free one')
    parser.add_argument('--rate', metavar='HZ', type=float, default=10.0, help='frames a second')
    parser.add_argument('--confidence', type=float, default=0.3, help='depth with less confidence (0..1) is not shown')
    add_range_arguments(parser, 'as recorded', 'as recorded')
    add_resolution_argument(parser)
    parser.add_argument('--image-topic', metavar='TOPIC', default='', help='images of a bag (default: image_raw)')
    parser.add_argument(
        '--lens-state-topic', metavar='TOPIC', default='', help='lens states of a bag (default: found by their type)'
    )
    add_estimator_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from dfd_ros.cli._options import require_within
    from dfd_ros.viewing.recorded_scenes import recorded

    require_within(
        args,
        port=(0, 65535),
        rate=(0.5, 30),
        confidence=(0, 1),
        near=(1e-3, math.inf),
        far=(1e-3, math.inf),
        resolution=(0, 16384),
    )
    recording = recorded(args.recording, {'image': args.image_topic, 'lens_state': args.lens_state_topic})

    from dfd_ros.viewing import page_server

    server = page_server.open_server(args.host, args.port)
    try:
        # After the checks, which then take no time.
        from dfd_ros.inference.estimator import DepthEstimator
        from dfd_ros.viewing.live_page import LivePage
        from dfd_ros.viewing.playback import Playback

        if recording.run is not None and args.weights is args.network is None:
            args.weights = recording.run.weights
        estimator = DepthEstimator(**estimator_options(args), resolution=args.resolution or None, all_in_focus=True)
        playback = Playback(
            recording, estimator, {'confidence': args.confidence, 'near': args.near, 'far': args.far}, args.rate
        )
        page = LivePage(server, playback, recording.title)
        playback.add_to(page)
        print(f'page     {page_server.address(server, args.host)}, until Ctrl-C', flush=True)
        playback.run(page)
    finally:
        page_server.close_server(server)
    return 0
