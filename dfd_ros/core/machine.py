"""Processor, GPU and cores of this machine."""

from __future__ import annotations

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


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
