"""Command-line arguments of the estimator, without importing torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

PRECISIONS = ('auto', 'fp32', 'bf16', 'fp16')
MIN_IMAGE = 16  # px
RESOLUTION = 640
"""Default longer side (px) of network inputs. Training has blur of up to 48 px across the range; larger images would
have more, in pixels."""


def network_size(height: int, width: int, resolution: int | None = RESOLUTION) -> tuple[int, int]:
    """(height, width) of the network input for an image: at most `resolution` px on the longer side, None = any."""
    scale = min(1.0, (resolution or max(height, width)) / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def add_resolution_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--resolution`; 0 stands for None."""
    parser.add_argument(
        '--resolution',
        metavar='PX',
        type=int,
        default=RESOLUTION,
        help='longest side of the image that the network sees; 0: full size, which is '
        'slow, and may show more blur than the 48 px of the training',
    )


def add_range_arguments(parser: argparse.ArgumentParser, near: str, far: str) -> None:
    """Add `--near` and `--far` (m, None = not given). near, far: what the range is then, for the help."""
    parser.add_argument('--near', metavar='M', type=float, help=f'near end of the depth range, in m (default: {near})')
    parser.add_argument(
        '--far', metavar='M', type=float, help=f'far end of the depth range, in m, or inf (default: {far})'
    )


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for weights, network, backend and device."""
    parser.add_argument(
        '--weights',
        metavar='FILE',
        type=Path,
        help='weights, or for onnx a file of dfd export (default: the shipped weights)',
    )
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='best_focus or variational, which need no weights; otherwise the network of the weights, '
        'your own as module:Class (default: any of dfd_ros)',
    )
    parser.add_argument('--backend', choices=('torch', 'onnx'), default='torch', help='what runs the network')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--no-registration',
        dest='registration',
        action='store_false',
        help='do not register the images, because they are aligned already',
    )


def estimator_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments as keyword arguments of `dfd_ros.inference.estimator.DepthEstimator`."""
    return {
        'weights': args.weights,
        'network': args.network,
        'backend': args.backend,
        'device': args.device,
        'registration': args.registration,
    }
