"""dfd export: a network for other runtimes, or its weights at half the size."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfd_ros.cli._options import size_within

HELP = 'export one step of the network to ONNX, with the state as inputs and outputs'
EXAMPLE = 'dfd export --format onnx --out stream.onnx'


MAX_SIDE = 8192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--format',
        choices=('onnx', 'safetensors'),
        default='onnx',
        help='onnx, or safetensors: the weights in half precision, at half the size',
    )
    parser.add_argument('--out', metavar='FILE', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--weights', metavar='FILE', type=Path, help='weights of the network (default: the shipped weights)'
    )
    parser.add_argument(
        '--network', metavar='NAME', help='network that the weights must belong to; your own as module:Class'
    )
    parser.add_argument(
        '--size',
        metavar='WxH',
        type=size_within(1, MAX_SIDE),
        help='fix the image size, for compilers that need it (default: any size)',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'fp16'),
        default='fp32',
        help='arithmetic of the ONNX file; inputs and outputs are float32 in both (default: fp32)',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_writable

    if args.out.suffix.lower() != f'.{args.format}':  # readers go by it
        raise InputError(f'--out {args.out}: must end in .{args.format}')
    require_writable(args.out)
    from dfd_ros import networks
    from dfd_ros.core.provenance import file_hash
    from dfd_ros.inference.onnx_export import export_onnx

    weights = args.weights or networks.default_weights()
    if args.format == 'safetensors':
        if args.size or args.precision != 'fp32':
            raise InputError(f'--{"size" if args.size else "precision"}: only with --format onnx')
        networks.save_half(args.out, weights)
        print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')
        return 0
    network = networks.load(weights, network=args.network)
    with networks.opened(weights) as file:
        metadata = {
            f'weights {name}': text for name, text in file.metadata.items() if name not in ('network', 'config')
        }
    metadata['weights sha256'] = file_hash(weights)
    export_onnx(network, args.out, args.size and args.size[::-1], args.precision == 'fp16', metadata)
    print(
        f'{args.out}: {args.out.stat().st_size / 1e6:.3g} MB, '
        + ('images of any size' if args.size is None else f'images of {args.size[0]}x{args.size[1]}')
    )
    return 0
