"""Files that ship with the package: weights, configurations, the rig's description."""

from __future__ import annotations

from pathlib import Path

from dfd_ros.core.errors import InputError

PACKAGE = Path(__file__).absolute().parents[1]  # not resolved: a symlinked install has its own share folder


def resource(name: str) -> Path:
    """Path of a file or folder that ships with the package.

    Args:
        name: path from the root of the repository, such as `weights/stream.safetensors` or `config/training`.

    Raises:
        InputError: this installation has no such file.
    """
    for root in _roots():
        path = root / name
        if path.exists():
            return path
    raise InputError(f'{name}: no such file in this installation of dfd_ros ({PACKAGE}); reinstall it')


def _roots() -> list[Path]:
    """Where resources may be: in a checkout, in a package installed by pip, in the share folder of a ROS package."""
    checkout = [PACKAGE.parent] if (PACKAGE.parent / 'package.xml').is_file() else []
    shares = [parent / 'share' / 'dfd_ros' for parent in PACKAGE.parents]
    return [*checkout, PACKAGE / 'share', *(share for share in shares if share.is_dir())]
