"""Processor, GPU and cores of this machine."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device) -> str:
    """The name of the GPU, or of the processor, behind a torch device."""
    if device.type != 'cuda':
        return processor()
    import torch

    return torch.cuda.get_device_name(device)


def resident_memory() -> float:
    """The memory of this process in RAM, MB; NaN where the system does not report it."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return math.nan
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt, in malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; mallopt refuses more
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Makes the C library hand out freed memory again, instead of new pages of the system.

    glibc otherwise returns blocks of some MB at once and asks for them again at the next frame, and the system clears
    every page of them: a frame of the network and a published point cloud have thousands. `release_memory` of
    `dfd_ros.inference.backends` still gives it all back. For a process of our own, before it starts threads. Does
    nothing where there is no glibc, or where the environment tunes it.
    """
    if any(name.startswith(('MALLOC_', 'GLIBC_TUNABLES')) for name in os.environ):
        return
    if tune := getattr(ctypes.CDLL(None), 'mallopt', None):
        # The heaps of other arenas, one for each thread, are returned whenever they are empty.
        for option, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, _NEVER), (_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)):
            tune(option, value)


def let_waiting_threads_sleep() -> None:
    """Makes torch's threads sleep soon while they wait for each other. For a process of our own, before it loads torch.

    By default they spin, and on a machine whose cores have other work, as a robot's have, they keep from each other the
    cores that they wait for: `dfd estimate` at a load of 15 on two cores took 87 s instead of 15 s. Threads that never
    spin wake late: on idle cores it took 8.1 s, 6.7 s with spinning, and 6.0 s like this.
    """
    if 'OMP_WAIT_POLICY' not in os.environ:
        os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'
        os.environ.setdefault('GOMP_SPINCOUNT', '2000')  # of GNU's OpenMP, some microseconds


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
