"""Bounds of the numbers that commands take."""

from __future__ import annotations

import argparse
import math

from dfd_ros.core.errors import InputError, quoted

INFINITY = math.inf


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
