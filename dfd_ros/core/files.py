"""Files: written atomically, and read with limits and clear errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfd_ros.core.errors import InputError, quoted, reason, shortened

MAX_TEXT = 16 * 2**20
"""Bytes of a text file that is read at once. YAML, which is slow to read, is limited to an eighth of it."""
_MAX_NAME = 1000  # characters of a file's name in a message
_KINDS = {
    stat.S_IFDIR: 'a folder',
    stat.S_IFIFO: 'a FIFO',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFLNK: 'a link',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}
_HOST = f'{zlib.crc32(os.uname().nodename.encode()):x}'
_TEMPORARY = re.compile(rf'\.(?P<process>\d+)-{_HOST}\.part$')


# Reading


def require_file(path: str | Path, hint: str = '', largest: int | None = None) -> Path:
    """Check that a path is a regular file: opening a FIFO may block for ever, and a device may have no end.

    Args:
        hint: added to the message if there is no such file.
        largest: bytes that it may have.

    Raises:
        InputError: it does not exist, is not a regular file, or is larger.
    """
    name = shortened(path, _MAX_NAME)  # a file may name others in any length
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f'{name}: no such file{hint}') from None
    except (OSError, ValueError) as error:
        raise InputError(f'{name}: cannot be read: {reason(error)}') from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f'{name}: is {_KINDS.get(stat.S_IFMT(found.st_mode), "no file")}, expected a regular file')
    if largest is not None and found.st_size > largest:
        raise InputError(f'{name}: {found.st_size / 2**20:.0f} MB, larger than {largest / 2**20:.0f} MB')
    return Path(path)


def read_bytes(path: str | Path, hint: str = '', largest: int = MAX_TEXT) -> bytes:
    """The content of a regular file. Arguments and errors as of `require_file`."""
    try:
        return require_file(path, hint, largest).read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {reason(error)}') from None


def read_text(path: str | Path, hint: str = '', largest: int = MAX_TEXT) -> str:
    """The content of a text file in UTF-8. Arguments and errors as of `require_file`."""
    try:
        return read_bytes(path, hint, largest).decode()
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: cannot be read: {reason(error)}') from None


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises `InputError` if it does not exist, cannot be read or is not JSON."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, name: str) -> Any:
    """The value of a JSON text; `name` is for messages. Raises `InputError` if it is not JSON."""

    def number(digits: str) -> int:
        if len(digits) > 20:
            raise ValueError(f'a whole number of {len(digits)} digits')
        return int(digits)

    try:
        return json.loads(text, parse_int=number)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{name}: not JSON: {reason(error)}') from None


def changed_value(path: str | Path, values: dict) -> tuple[str, object, object] | None:
    """The first of `values` that differs in a JSON file: its name, the value in the file, the new one. None if all are
    equal or the file does not exist. Values missing in the file, which an older version wrote, count as equal. A name
    within nested mappings has dots: settings.frames.

    Raises:
        InputError: the file cannot be read, or is not a JSON object.
    """
    if not os.path.lexists(path):
        return None
    there, now = read_json(path), json.loads(json.dumps(values))
    if not isinstance(there, dict):
        raise InputError(f'{path}: {quoted(there)} instead of settings; remove it, or give another folder')
    return first_difference(there, now)


def first_difference(there: dict, now: dict, within: str = '') -> tuple[str, object, object] | None:
    """As `changed_value`, of two mappings. within: where they are, for the name."""
    for name, value in now.items():
        other = there.get(name, value)
        if isinstance(other, dict) and isinstance(value, dict):
            if found := first_difference(other, value, f'{within}{name}.'):
                return found
        elif other != value:
            return f'{within}{name}', other, value
    return None


def read_yaml(path: str | Path, hint: str = '') -> Any:
    """The content of a YAML file, by `dfd_ros.core.yaml_loader`.

    Args:
        hint: added to the message if there is no such file.

    Raises:
        InputError: the file does not exist, cannot be read, or is not YAML.
    """
    from dfd_ros.core.yaml_loader import load  # here, as Blender's Python, which also writes files, may lack PyYAML

    text = read_text(path, hint, MAX_TEXT // 8)
    try:
        return load(text)
    except ValueError as error:
        raise InputError(f'{path}: not YAML: {reason(error)}') from None


# Writing


def require_writable(path: str | Path) -> Path:
    """Check, before the work, that a file can be written here: only a regular file is ever replaced.

    Raises:
        InputError: there is a folder, a link, a device or the like; or the folder that it should be in does not exist,
            or may not be written.
    """
    path = Path(path)
    if not path.name:
        raise InputError(f'"{path}": is a folder, give the name of a file')
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.is_dir():
            raise InputError(f'{path}: there is no folder {path.parent}') from None
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be written: {reason(error)}') from None
    else:
        if not stat.S_ISREG(mode):
            raise InputError(f'{path}: is {_KINDS.get(stat.S_IFMT(mode), "no file")}, only a regular file is replaced')
    _require_permission(path, path.parent)
    return path


def _require_permission(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f'{path}: cannot be written: no permission for {folder}')


def require_output_folder(path: str | Path, *files: str) -> Path:
    """Check, before the work, that a folder exists or can be created, and that these files can be written in it.

    Raises:
        InputError: it is not a folder, or cannot be one; or one of the files cannot be replaced.
    """
    path = Path(path)
    try:
        nearest = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
        is_folder = nearest.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be created: {reason(error)}') from None
    if not is_folder:
        raise InputError(f'{path}: {"is" if nearest == path else f"{nearest} is"} not a folder')
    _require_permission(path, nearest)
    for name in files if nearest == path else ():
        require_writable(path / name)
    return path


def require_other_folder(out: Path, source: Path) -> None:
    """Check that results do not go into the folder that is read: they would be taken for its images or ground truth.

    Raises:
        InputError: they would.
    """
    if source.is_dir() and os.path.realpath(out) == os.path.realpath(source):  # a Path refuses loops of links
        raise InputError(f'--out {out}: is the folder that is read; give another')


def output_folder(path: str | Path, *files: str) -> Path:
    """A folder for output, created if it does not exist, in which these files can be written.

    Raises:
        InputError: as `require_output_folder`.
    """
    path = require_output_folder(path, *files)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be created: {reason(error)}') from None
    return path


@contextlib.contextmanager
def written_atomically(path: str | Path, *, flush: bool = True) -> Iterator[Path]:
    """A temporary file to write beside `path`: hidden, with the same suffix, for this process only. It replaces `path`
    on success and is removed on failure. Those of processes that were killed are removed as well.

    flush: have it on the disk before its name; otherwise a power cut may leave an empty or a short file.

    Raises:
        InputError: as `require_writable`, or the disk is full.
    """
    path = require_writable(path)
    temporary = temporary_path(path)
    try:
        with naming(path):
            yield temporary
            if flush:
                _flush(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_atomically(path: str | Path) -> Iterator[Path]:
    """As `written_atomically`, for a folder, which replaces the one at `path`, or that to which a link there leads.

    Raises:
        InputError: as `require_output_folder`, or the disk is full.
    """
    path = Path(os.path.realpath(require_output_folder(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        with naming(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.iterdir():
                _flush(file)
            if path.exists():
                replaced = temporary.with_name(f'{temporary.name}.replaced')
                os.rename(path, replaced)
                os.rename(temporary, path)
                _remove(replaced)
            else:
                os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within this context, errors of the system name `path`; otherwise they may name a temporary file or none.

    Raises:
        InputError: replaces all exceptions of libraries when the disk is full, because they have many types.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise OSError(error.errno or errno.EIO, _full(path) or reason(error), str(path)) from error
    except Exception as error:
        # A library may have removed what it could not write in full: then only its words say that the disk was.
        full = os.strerror(errno.ENOSPC)
        if full in str(error) or _full(path):
            raise InputError(f'{path}: {full}') from error
        raise


def _full(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        found = os.statvfs(path.parent)
        if found.f_bavail * found.f_frsize < 2**16 or not (found.f_favail or not found.f_files):
            return os.strerror(errno.ENOSPC)
    return None


def temporary_path(path: Path) -> Path:
    """A hidden name beside `path`, with its suffix and the id of this process. Removes such files of processes that no
    longer run."""
    stem, suffix = path.stem[:100], path.suffix[:20]
    with contextlib.suppress(OSError):
        for found in os.scandir(path.parent):
            name = found.name.removesuffix(suffix)
            if name.startswith(f'.{stem}.') and found.name.endswith(suffix):
                match = _TEMPORARY.search(name)
                if match and name[: match.start()] == f'.{stem}' and not _runs(int(match['process'])):
                    _remove(Path(found.path))
    return path.with_name(f'.{stem}.{os.getpid()}-{_HOST}.part{suffix}')


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str, *, flush: bool = True) -> None:
    """Write a text file. flush: as of `written_atomically`."""
    with written_atomically(path, flush=flush) as temporary:
        temporary.write_text(text)


def write_json(path: str | Path, value: Any, *, flush: bool = True) -> None:
    """Write plain values as JSON. flush: as of `written_atomically`."""
    write_text(path, json.dumps(value, indent=1) + '\n', flush=flush)


class Taken(InputError):
    """Another process has the lock."""


def locked(folder: Path, *, wait: bool = False) -> int:
    """A handle that keeps other writers out of the folder until it is closed, or this process ends.

    wait: for the end of another process that has it; otherwise raises `Taken`.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise Taken(f'{folder}: another process writes here, wait for its end or give another folder') from None
    except OSError:  # a file system without locks
        pass
    except BaseException:  # Ctrl-C while it waits
        os.close(handle)
        raise
    return handle
