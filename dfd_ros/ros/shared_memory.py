"""The shared memory of Fast DDS that processes have left behind that were killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from pathlib import Path

FOLDER = Path('/dev/shm')
MIN_AGE = 60.0  # s; a process locks its lock file soon after it has created it
_LOCK = re.compile(r'(?P<segment>(fastdds|fastrtps)_[0-9a-f]{16})_el')


def remove_left_over_segments(folder: Path = FOLDER) -> list[str]:
    """Removes the segments that no process uses any more, 17 MB each, as ``fastdds shm clean`` does. Gives their names.

    A process holds a lock on a file beside its segment as long as it lives; the system releases that, however the
    process ends. Segments of other users are left alone.
    """
    removed = []
    with contextlib.suppress(OSError):
        for found in os.scandir(folder):
            match = _LOCK.fullmatch(found.name)
            if match and _is_left_over(found):
                for name in (match['segment'], found.name):  # the lock goes last: without it nobody finds the segment
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(folder / name)
                removed.append(match['segment'])
    return removed


def _is_left_over(lock: os.DirEntry[str]) -> bool:
    try:
        found = lock.stat(follow_symlinks=False)
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < MIN_AGE or not lock.is_file():
            return False
        handle = os.open(lock.path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
