"""What `dfd_ros.core.machine` does to a process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, threading
import numpy as np
from dfd_ros.core.machine import keep_freed_memory

keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [np.ones(5 << 20, np.uint8) for _ in range(20)]  # as much at once as a heap of another arena holds, and more
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work():
    faults()
    print(faults())

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='tunes the malloc of glibc')
def test_freed_memory_is_used_again_without_new_pages(monkeypatch):
    for name in ('MALLOC_ARENA_MAX', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_', 'GLIBC_TUNABLES'):
        monkeypatch.delenv(name, raising=False)
    result = subprocess.run([sys.executable, '-c', FAULTS], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 100  # 20,000 without
