"""What the shell needs: completions, and the versions that a bug report needs."""

from __future__ import annotations

import argparse
import os

import dfd_ros

_PACKAGES = ('torch', 'numpy', 'opencv-python-headless', 'pillow', 'onnxruntime', 'rclpy')


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, which asks by the environment variable _ARGCOMPLETE, and exit."""
    try:
        import argcomplete
    except ImportError:  # no completions
        return
    argcomplete.autocomplete(parser)


def versions() -> str:
    """One line: this package, Python, packages, processors."""
    import importlib.metadata
    import platform

    found = []
    for name in _PACKAGES:
        try:
            found.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f'{platform.machine()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}'
    return f'dfd {dfd_ros.__version__}, Python {platform.python_version()}, {", ".join(found)}; {machine}'
