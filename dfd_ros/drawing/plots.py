"""Figures by matplotlib, which only they need."""

from __future__ import annotations

from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import whole


def new_figure(**options):
    """A matplotlib figure. Raises `InputError` where there is no matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('the picture needs matplotlib: pip install matplotlib') from None
    return Figure(**options)


def save_figure(path: Path, figure) -> None:
    """Write it as a picture, cut to what is drawn."""
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches='tight')
