"""Sources of views: a folder of rendered views, or published RGB-D data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.rgbd_sets.hypersim import Hypersim
from dfd_ros.synthesis.rgbd_sets.nyuv2 import NyuV2
from dfd_ros.synthesis.rgbd_sets.rgbd_folder import RgbdFolder
from dfd_ros.synthesis.rgbd_sets.tartanair import TartanAir
from dfd_ros.synthesis.worlds.view import View, views


class ViewSource(Protocol):
    """Views by index; the same files give the same views."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> View: ...


class _Rendered:
    def __init__(self, folder: Path):
        self._paths = views(folder)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> View:
        return View.read(self._paths[index])


RGBD_SETS: dict[str, Callable[[Path], ViewSource]] = {
    'hypersim': Hypersim,
    'tartanair': TartanAir,
    'nyuv2': NyuV2,
    'rgbd': RgbdFolder,
}


def open_views(source: str) -> ViewSource:
    """The views of a source.

    Args:
        source: a folder of views, or `hypersim:DIR`, `tartanair:DIR`, `nyuv2:FILE` or `rgbd:DIR`.

    Raises:
        InputError: the folder or file does not exist, or has no views.
    """
    name, colon, place = source.partition(':')
    if not colon or name not in RGBD_SETS:
        return _Rendered(Path(source))
    if not Path(place).exists():
        raise InputError(f'{place}: no such {"file" if name == "nyuv2" else "folder"} ({source})')
    return RGBD_SETS[name](Path(place))
