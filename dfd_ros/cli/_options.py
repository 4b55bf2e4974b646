"""Options that several commands share, and the sizes and bounds of their numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dfd_ros.core.errors import InputError, quoted
from dfd_ros.core.focus_device import DEVICES


def size_within(smallest: int, largest: int) -> Callable[[str], tuple[int, int]]:
    """The type of options for image sizes, (width, height) in px of at least and at most so many a side. As everywhere
    in this package, the width comes first: 640x480."""

    def size(text: str) -> tuple[int, int]:
        sides = text.split('x')
        if len(sides) != 2 or not all(n.isdecimal() and len(n) < 6 and smallest <= int(n) <= largest for n in sides):
            raise argparse.ArgumentTypeError(
                f'{quoted(text)} is not WIDTHxHEIGHT, such as 320x240, of {smallest} to {largest} px a side'
            )
        return int(sides[0]), int(sides[1])

    return size


def require_within(args: argparse.Namespace, **bounds: tuple[float, float]) -> None:
    """Check options against (low, high), both allowed; those that are None are not given.

    Raises:
        InputError: names the option.
    """
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if value is None or low <= value <= high:
            continue
        bound = f'at least {low:g}' if value < low else f'at most {high:g}'
        raise InputError(f'--{name.replace("_", "-")} {quoted(value)}: must be {bound}')


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """--source and --device: a camera with a focus motor, as `open_focus_device` takes them."""
    parser.add_argument(
        '--source', choices=DEVICES, default='', help='kind of the camera that the images are read from (default: v4l2)'
    )
    parser.add_argument(
        '--device',
        metavar='DEV',
        default='',
        help='which camera: path or number (v4l2), id or IP address (depthai), number (picamera2), serial number '
        '(pypylon); default: the first',
    )
