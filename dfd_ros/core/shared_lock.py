"""A lock on a folder that processes of one kind share."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from dfd_ros.core.errors import InputError

_PATIENCE = 60.0  # s, for the first process to call `share`


class SharedLock:
    """Keeps out those that want the folder alone (`dfd_ros.core.files.locked`), and lets the others in.

    The first process has the folder alone until it calls `share`, so that it can set it up; the next ones wait for
    that. On file systems without locks, every process is the first.

    Args:
        shares: False = this process wants the folder alone.

    Attributes:
        is_first: whether no other process was at work in the folder.

    Raises:
        InputError: a process has the folder alone, or this one wants it alone and others are at work.
    """

    def __init__(self, folder: Path, shares: bool = True):
        self._handle = os.open(folder, os.O_RDONLY)
        self._shares = shares
        began = time.monotonic()
        while True:
            self.is_first = self._take(fcntl.LOCK_EX)
            if self.is_first or (shares and self._take(fcntl.LOCK_SH)):
                break
            if not shares or time.monotonic() - began > _PATIENCE:
                os.close(self._handle)
                raise InputError(f'{folder}: another process writes here, wait for its end or give another folder')
            time.sleep(0.05)

    def _take(self, kind: int) -> bool:
        try:
            fcntl.flock(self._handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def share(self) -> None:
        """Let others in, if this process shares."""
        if self._shares:
            self._take(fcntl.LOCK_SH)

    def take_alone(self) -> bool:
        """Whether no other process is at work, which now cannot start. If one is, this one no longer has the lock."""
        return self._take(fcntl.LOCK_EX)

    def close(self) -> None:
        os.close(self._handle)
