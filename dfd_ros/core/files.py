"""Files: written whole or not at all, and read with a clear word on what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dfd_ros.core.errors import InputError


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A file beside `path` to write: hidden, of the same suffix, of this process alone. It takes the place of `path`
    once all went well, and goes otherwise."""
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}.part{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text."""
    with whole(path) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value) -> None:
    """Write plain values."""
    write_text(path, json.dumps(value, indent=1) + '\n')


def changed(path: str | Path, values: dict) -> tuple[str, object, object] | None:
    """The first of these values that a JSON file, if it is there, tells otherwise: its name, what the file says, what
    it is now. Values that the file does not tell have not changed: an older version wrote it."""
    if not Path(path).exists():
        return None
    there, now = json.loads(Path(path).read_text()), json.loads(json.dumps(values))
    return next(((name, there[name], now[name]) for name in now if there.get(name, now[name]) != now[name]), None)


def read_yaml(path: str | Path, hint: str = ''):
    """What a YAML file says.

    Args:
        hint: what to say more where there is no such file.

    Raises:
        InputError: it is not there, cannot be read, or is not YAML.
    """
    import yaml  # here, as Blender's Python, which writes files too, may be without

    class Loader(yaml.SafeLoader):
        """Takes 2e-3 for a number, as YAML 1.2 does; PyYAML's own rules want 2.0e-3."""
    Loader.add_implicit_resolver('tag:yaml.org,2002:float', re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+$'),
                                 list('-+0123456789'))
    try:
        return yaml.load(Path(path).read_text(), Loader)
    except FileNotFoundError:
        raise InputError(f'{path}: no such file{hint}') from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read: {error}') from None
    except yaml.YAMLError as error:
        raise InputError(f'{path}: not YAML: {" ".join(str(error).split())}') from None
