"""dfd stack: prepare focal stacks."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

HELP = 'write a stack.yaml to be completed, beside photographs, or with the frames of a video'
EXAMPLE = 'dfd stack init photographs/desk'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest='kind', metavar='STEP', required=True, parser_class=type(parser))
    init = kinds.add_parser(
        'init',
        help=HELP,
        description=HELP,
        epilog=f'examples:\n  {EXAMPLE}\n  dfd stack init pull.mp4 --out stacks/desk',
        formatter_class=parser.formatter_class,
    )
    init.add_argument(
        'source', metavar='SOURCE', type=Path, help='folder of photographs, video of a focus pull, or TIFF file'
    )
    init.add_argument('--out', metavar='DIR', type=Path, help='new folder for the frames of a video or TIFF file')
    init.add_argument(
        '--order',
        choices=('far_to_near', 'near_to_far'),
        help='how the focus goes, if the focus distances are unknown (default: found from the sharpness of the images)',
    )
    init.add_argument('--overwrite', action='store_true', help='replace a stack.yaml that is there')


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError
    from dfd_ros.photographs.stack_description import describe_folder, extract
    from dfd_ros.photographs.stack_input import require_focal_stack_file

    if args.source.is_dir():
        if args.out is not None:
            raise InputError('--out: the stack.yaml of a folder is written into it; leave this out')
        path, source = describe_folder(args.source, args.order, args.overwrite)
    else:
        require_focal_stack_file(args.source)
        if args.out is None:
            raise InputError(f'--out: give a new folder for the frames of {args.source}')
        path, source = extract(args.source, args.out, args.order)
    print(f'focus {source}')
    print(f'file  {path}; complete it, then: dfd estimate {shlex.quote(str(path.parent))} --out DIR')
    return 0
