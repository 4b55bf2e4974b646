"""The arguments of what runs an estimator, with no torch to wait for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

PRECISIONS = ('auto', 'fp32', 'bf16')
RESOLUTION = 640
"""Longer side (px) of what networks see by default. They are trained on blur of up to 48 px across the range: cameras
with larger images have more, in pixels."""


def network_size(height: int, width: int, resolution: int | None = RESOLUTION) -> tuple[int, int]:
    """(height, width) of what a network sees of an image: at most `resolution` px on the longer side, None = all."""
    scale = min(1.0, (resolution or max(height, width)) / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """What runs, and on what."""
    parser.add_argument(
        '--weights',
        metavar='FILE',
        type=Path,
        help='weights, or for onnx a file of dfd export (default: those that ship)',
    )
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='best_focus or variational, which take no weights; else the network that the weights '
        'have to be of, your own as module:Class (default: any of dfd_ros)',
    )
    parser.add_argument('--backend', choices=('torch', 'onnx'), default='torch', help='what runs the network')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--no-registration',
        dest='registration',
        action='store_false',
        help='the images lie on each other already: take no zoom and shift out of them',
    )


def estimator_options(args: argparse.Namespace) -> dict[str, Any]:
    """The same, as `dfd_ros.inference.estimator.DepthEstimator` takes them."""
    return {
        'weights': args.weights,
        'network': args.network,
        'backend': args.backend,
        'device': args.device,
        'registration': args.registration,
    }
