"""The ChArUco board of several steps."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfd_ros.calibration.board import Board


def add_board(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--squares', metavar='COLSxROWS', default='10x7', help='squares of the board')
    parser.add_argument('--square', metavar='MM', type=float, default=25.0, help='side of a square, measured on paper')
    parser.add_argument('--marker', metavar='MM', type=float, default=18.0, help='side of a marker, measured on paper')
    parser.add_argument('--dictionary', default='5X5_100', help='marker dictionary, as in OpenCV without DICT_')


def read_board(args: argparse.Namespace) -> Board:
    from dfd_ros.calibration.board import Board
    from dfd_ros.core.errors import InputError

    columns, by, rows = args.squares.partition('x')
    if not (by and columns.isdigit() and rows.isdigit()):
        raise InputError(f'--squares {args.squares}: must be columns x rows, such as 10x7')
    return Board(int(columns), int(rows), args.square * 1e-3, args.marker * 1e-3, args.dictionary)
