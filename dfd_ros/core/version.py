"""The version, as package.xml declares it."""

from __future__ import annotations

import re
from importlib import metadata

from dfd_ros.core.errors import InputError
from dfd_ros.core.resources import resource


def _version() -> str:
    try:
        return re.findall(r'<version>([^<]+)</version>', resource('package.xml').read_text())[0]
    except InputError:  # pip leaves that file out; its metadata is made of it
        return metadata.version('dfd_ros')


__version__ = _version()
