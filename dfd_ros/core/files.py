"""Files: written atomically, and read with clear errors."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dfd_ros.core.errors import InputError


@contextlib.contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """A temporary file to write beside `path`: hidden, with the same suffix, for this process only. It replaces `path`
    on success and is removed on failure."""
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}.part{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file."""
    with written_atomically(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value) -> None:
    """Write plain values as JSON."""
    write_text(path, json.dumps(value, indent=1) + '\n')


def changed_value(path: str | Path, values: dict) -> tuple[str, object, object] | None:
    """The first of `values` that differs in a JSON file: its name, the value in the file, the new one. None if all are
    equal or the file does not exist. Values missing in the file, which an older version wrote, count as equal."""
    if not Path(path).exists():
        return None
    there, now = json.loads(Path(path).read_text()), json.loads(json.dumps(values))
    return next(((name, there[name], now[name]) for name in now if there.get(name, now[name]) != now[name]), None)


def read_yaml(path: str | Path, hint: str = ''):
    """The content of a YAML file.

    Args:
        hint: added to the message if there is no such file.

    Raises:
        InputError: the file does not exist, cannot be read, or is not YAML.
    """
    import yaml  # here, because Blender's Python, which also writes files, may lack it

    class Loader(yaml.SafeLoader):
        """Takes 2e-3 for a number, as YAML 1.2 does; PyYAML's own rules want 2.0e-3."""

    Loader.add_implicit_resolver(
        'tag:yaml.org,2002:float', re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+$'), list('-+0123456789')
    )
    try:
        return yaml.load(Path(path).read_text(), Loader)
    except FileNotFoundError:
        raise InputError(f'{path}: no such file{hint}') from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read: {error}') from None
    except yaml.YAMLError as error:
        raise InputError(f'{path}: not YAML: {" ".join(str(error).split())}') from None
