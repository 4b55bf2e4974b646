"""Plots by matplotlib, imported only here."""

from __future__ import annotations

from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically


def new_figure(**options):
    """A matplotlib figure. Raises `InputError` if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('this plot needs matplotlib: pip install matplotlib') from None
    return Figure(**options)


def save_figure(path: Path, figure) -> None:
    """Write a figure as a picture, cropped to its content."""
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches='tight')
