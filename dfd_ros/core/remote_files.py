"""Files on web servers and object stores, read by fsspec: https://, s3://, gs:// and what else it has a driver for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from dfd_ros.core.errors import InputError, reason, shortened

Content = TypeVar('Content')
_WAITS = (0.5, 2.0, 8.0)  # s, before each further attempt
_PATIENCE, _SLOWEST = 30.0, 1e5  # s for an answer to begin, bytes/s: whatever is slower has failed
MAX_FILE = 2**29
"""Bytes of a file that is read as a whole."""


def is_remote(place: object) -> bool:
    """Whether a place that a user names is a URL."""
    return '://' in str(place)


def read_remote(
    url: str, parse: Callable[[bytes], Content], begin: int = 0, size: int | None = None, hint: str = ''
) -> Content:
    """What `parse` makes of a file, or of `size` bytes of it. A failure, of which slowness is one, is tried again a few
    times; so is content that `parse` refuses with a ValueError. hint: added to the message if there is no such file.

    Raises:
        InputError: names the URL; there is no such file, it has more than `MAX_FILE` bytes, there is no driver for the
            protocol, or all attempts failed.
    """
    import fsspec  # here, as it takes long to load, and Blender's Python lacks it
    from fsspec.asyn import AsyncFileSystem

    try:
        store, path = fsspec.core.url_to_fs(url, **_options(url))
    except Exception as error:  # drivers have their own types; of one that is missing, it says how to install it
        raise InputError(f'{url}: cannot be read: {reason(error)}') from None
    name = url if size is None else f'{url} (bytes {begin} to {begin + size - 1})'

    def limited(read: Callable[..., Any], wanted: int, **options: int) -> Any:
        if not isinstance(store, AsyncFileSystem):
            return read(path, **options)
        patience = _PATIENCE + wanted / _SLOWEST
        try:
            return read(path, **options, timeout=patience)
        except TimeoutError:
            raise TimeoutError(f'no answer in {patience:.0f} s') from None

    def attempt() -> bytes:
        wanted = size or limited(size_of, 0) or MAX_FILE
        if size is None and wanted > MAX_FILE:
            raise InputError(f'{url}: has {wanted / 2**20:.0f} MB, must have at most {MAX_FILE / 2**20:.0f}')
        return _exactly(limited(store.cat_file, wanted, start=begin, end=begin + wanted), size)

    def size_of(path: str, **options: Any) -> int | None:
        try:
            return store.info(path, **options).get('size')
        except FileNotFoundError:  # which the driver of web servers makes of any failure
            return None

    for wait in (*_WAITS, None):
        try:
            return parse(attempt())
        except InputError:
            raise
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise InputError(f'{url}: no such file{hint}') from None
        except Exception as error:  # drivers have their own types
            what = reason(error)
        if wait is not None:
            time.sleep(wait)
    raise InputError(f'{name}: cannot be read, after {len(_WAITS) + 1} attempts: {shortened(what)}')


def _options(url: str) -> dict[str, Any]:
    """Of the driver."""
    if not url.startswith(('s3://', 's3a://')):
        return {}
    import fsspec

    # botocore otherwise tries again for minutes, within each attempt. What the user has set for it stays.
    own = fsspec.config.conf.get('s3', {}).get('config_kwargs', {})
    return {'config_kwargs': {'retries': {'total_max_attempts': 1}, **own}}


def _exactly(data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) != size:
        hint = '; does the server answer requests of ranges?' if len(data) > size else ''
        raise ValueError(f'{len(data)} bytes instead of {size}{hint}')
    return data
