"""What made a file: version of this package, commit of the checkout, libraries. `dfd inspect` prints it.

The same for all processes of a machine, without time and place, so that files that are made again are equal. Blender's
Python, which lacks some libraries, uses it too.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from dfd_ros.core.files import require_file
from dfd_ros.core.resources import PACKAGE
from dfd_ros.core.version import __version__

KEY = 'made_by'
"""Its name in metadata."""
_COMMENT = '# made by '
_LIBRARIES = {
    'numpy': ('numpy',),
    'torch': ('torch',),
    'opencv': ('opencv-python-headless', 'opencv-python', 'opencv-contrib-python-headless', 'opencv-contrib-python'),
    'pillow': ('pillow',),
}
_TIMEOUT = 10.0  # s, for git


@functools.cache
def made_by() -> dict[str, str]:
    """Name and version of this package, of Python and of the libraries that are installed; `commit` of a checkout."""
    versions = {'dfd_ros': __version__, 'commit': _commit(), 'python': platform.python_version()}
    for name, packages in _LIBRARIES.items():
        versions[name] = next(filter(None, map(_installed, packages)), '')
    return {name: version for name, version in versions.items() if version}


def described(made: dict[str, str] | None = None) -> str:
    """On one line: as in "dfd_ros 0.1.0, commit 69ff9bc5b1f2, python 3.11.9". made: None = by this process."""
    return ', '.join(f'{name} {version}' for name, version in (made_by() if made is None else made).items())


def comment() -> str:
    """A line for the end of YAML files whose readers refuse keys that they do not know."""
    return f'{_COMMENT}{described()}\n'


def of_comment(text: str) -> str:
    """What `comment` has written into a text; empty if nothing."""
    return next((line.removeprefix(_COMMENT) for line in text.splitlines() if line.startswith(_COMMENT)), '')


def file_hash(path: str | Path) -> str:
    """The first 12 digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(require_file(path), 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:12]


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''


def _commit() -> str:
    """Of the checkout that this package is in, with "and changes" if tracked files differ; empty without one."""
    root = PACKAGE.parent
    if not (root / '.git').exists() or not (root / 'package.xml').is_file():
        return ''
    commit = _git('rev-parse', '--short=12', 'HEAD')
    if not commit:
        return ''
    return commit + (' and changes' if _git('status', '--porcelain', '--untracked-files=no') else '')


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(
            ['git', '-C', str(PACKAGE.parent), *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env={**os.environ, 'GIT_OPTIONAL_LOCKS': '0'},  # it only reads
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return found.stdout.strip() if found.returncode == 0 else ''
