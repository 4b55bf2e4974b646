"""Plots by matplotlib, imported only here, in the colours of the sheets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically
from dfd_ros.drawing.visualise import BACKGROUND, MUTED, NO_VALUE, TEXT

_CYCLE = ['#5db2ff', '#ffaa3c', '#6fdc8c', '#ff6f6f', '#c79bff', '#d9a07a', '#ff9bd8', '#b0b7c4', '#e0e05a', '#4fd8d8']


def _hex(rgb: tuple[int, int, int]) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*rgb)


def _style() -> dict[str, object]:
    """What differs from matplotlib's own `dark_background`."""
    from matplotlib.rcsetup import cycler

    keys = {
        _hex(BACKGROUND): ('figure.facecolor', 'axes.facecolor', 'savefig.facecolor', 'legend.facecolor'),
        _hex(NO_VALUE): ('grid.color', 'legend.edgecolor'),
        _hex(MUTED): ('axes.edgecolor', 'xtick.color', 'ytick.color', 'axes.labelcolor'),
        _hex(TEXT): ('text.color', 'axes.titlecolor', 'xtick.labelcolor', 'ytick.labelcolor'),
    }
    style: dict[str, object] = {key: value for value, names in keys.items() for key in names}
    return style | {
        'axes.prop_cycle': cycler(color=_CYCLE),
        'axes.titlesize': 11,
        'axes.grid': True,
        'axes.axisbelow': True,
    }


@contextlib.contextmanager
def plot(path: Path, *, title: str = '', **options) -> Iterator:
    """A matplotlib figure to draw on, written as a picture at the end, cropped to its content.

    Args:
        title: above everything; options: of `matplotlib.figure.Figure`.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('this plot needs matplotlib: pip install matplotlib') from None
    with style.context(['dark_background', _style()]):
        figure = Figure(**options)
        if title:
            figure.suptitle(title, fontsize=12)
        yield figure
        with written_atomically(path) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches='tight')
