"""Files on web servers and object stores, read by fsspec: https://, s3://, gs:// and what else it has a driver for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from dfd_ros.core.errors import InputError, reason, shortened

Content = TypeVar('Content')
_WAITS = (0.5, 2.0, 8.0)  # s, before each further attempt
_PATIENCE, _SLOWEST = 30.0, 1e5  # s for an answer to begin, bytes/s: whatever is slower has failed


def is_remote(place: object) -> bool:
    """Whether a place that a user names is a URL."""
    return '://' in str(place)


def read_remote(
    url: str, parse: Callable[[bytes], Content], begin: int = 0, size: int | None = None, hint: str = ''
) -> Content:
    """What `parse` makes of a file, or of `size` bytes of it. A failure, of which slowness is one, is tried again a few
    times; so is content that `parse` refuses with a ValueError. hint: added to the message if there is no such file.

    Raises:
        InputError: names the URL; there is no such file, no driver for the protocol, or all attempts failed.
    """
    import fsspec  # here, as it takes long to load, and Blender's Python lacks it
    from fsspec.asyn import AsyncFileSystem

    try:
        store, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # drivers have their own types; of one that is missing, it says how to install it
        raise InputError(f'{url}: cannot be read: {reason(error)}') from None
    limits: dict[str, float] = {} if size is None else {'start': begin, 'end': begin + size}
    if isinstance(store, AsyncFileSystem):
        limits['timeout'] = _PATIENCE + (size or 100 * 2**20) / _SLOWEST
    name = url if size is None else f'{url} (bytes {begin} to {begin + size - 1})'
    for wait in (*_WAITS, None):
        try:
            return parse(_exactly(store.cat_file(path, **limits), size))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise InputError(f'{url}: no such file{hint}') from None
        except Exception as error:  # drivers have their own types
            what = f'no answer in {limits["timeout"]:.0f} s' if isinstance(error, TimeoutError) else reason(error)
        if wait is not None:
            time.sleep(wait)
    raise InputError(f'{name}: cannot be read, after {len(_WAITS) + 1} attempts: {shortened(what)}')


def _exactly(data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) != size:
        hint = '; does the server answer requests of ranges?' if len(data) > size else ''
        raise ValueError(f'{len(data)} bytes instead of {size}{hint}')
    return data
