"""dfd assets: photographs, models and environment maps for synthetic scenes, unpacked into one folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = 'unpack photographs, models and environment maps for training data'
EXAMPLE = 'dfd assets --out data/assets'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'sources',
        metavar='SOURCE',
        type=Path,
        nargs='*',
        help='.deb or .sh3f files, or folders of your own images, .obj models and .exr or .hdr '
        'environment maps; default: the Debian packages sweethome3d-furniture, '
        'plasma-workspace-wallpapers and mate-backgrounds, downloaded by apt (260 MB)',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='folder for photographs/, models/, hdris/ and LICENCES.md, which has their origins; '
        'rerun the same command to resume',
    )
    parser.add_argument(
        '--prints',
        metavar='N',
        type=int,
        default=0,
        help='also draw N printed sheets (pages, covers, boxes, signs), which show the photographs, in prints/, for '
        'dfd render --textures',
    )
    parser.add_argument(
        '--bpy',
        metavar='DIR',
        type=Path,
        help="site-packages folder of the environment with Blender's bpy, for its environment maps",
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.cli._options import require_within
    from dfd_ros.synthesis.assets import PACKAGES, download, unpack, unpack_bpy, write_licences
    from dfd_ros.synthesis.print_files import write_prints
    from dfd_ros.synthesis.unpacked import Unpacked

    require_within(args, prints=(0, 10**6))

    def progress(items, what: str):
        return tqdm(items, desc=what, unit='file', leave=False) if what else items

    result = Unpacked()
    sources = args.sources
    if not sources and args.bpy is None:
        sources = download(PACKAGES, args.out / 'packages')
    for source in sources:
        unpack(source, args.out, result, progress)
    if args.bpy is not None:
        unpack_bpy(args.bpy, args.out, result)
    photographs = args.out / 'photographs'
    if args.prints:
        write_prints(args.out / 'prints', args.prints, photographs if photographs.is_dir() else None, progress)
    for line in result.left_out:
        print(f'dfd: warning: {line}', file=sys.stderr)
    print(f'photographs  {result.photographs} in {photographs}/')
    print(f'models       {result.models} in {args.out / "models"}/')
    print(f'surroundings {result.hdris} in {args.out / "hdris"}/')
    if args.prints:
        print(f'prints       {args.prints} in {args.out / "prints"}/')
    print(f'licences     {write_licences(args.out, result)}')
    return 0
