"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


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
