"""dfd calibrate target: a target to print."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfd_ros.cli.calibrate._board import add_board, read_board

HELP = 'make a target to print at full size: a ChArUco board, or random discs'
EXAMPLE = 'dfd calibrate target --out board.png'

PRINT_DPI = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', metavar='FILE', type=Path, required=True, help='PNG or PDF file to write')
    parser.add_argument('--texture', action='store_true', help='random discs of all sizes, for focus and aperture')
    add_board(parser)


def run(args: argparse.Namespace) -> None:
    from PIL import Image

    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import written_atomically
    from dfd_ros.core.image_io import MAX_PIXELS

    if args.out.suffix.lower() not in ('.pdf', '.png'):
        raise InputError(f'--out {args.out}: must end in .pdf or .png')
    board = read_board(args)
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
