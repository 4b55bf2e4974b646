"""Processes that tests and benchmarks start."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def cpu_time(process: int) -> float:
    """Processor time of all threads of a process, s; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return 0.0


def cpu_time_of_children() -> float:
    """Processor time of the children of this process that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def torchrun(nodes: int, processes: int, *arguments: object, **options: Any) -> list[subprocess.Popen[str]]:
    """Start `python ARGUMENTS` by torchrun, as so many nodes on this machine with so many processes of one thread each.
    options: of Popen."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', f'--nnodes={nodes}', f'--nproc-per-node={processes}']
    command += ['--master-addr=127.0.0.1', f'--master-port={port}']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return [
        subprocess.Popen([*command, f'--node-rank={rank}', *map(str, arguments)], env=environment, text=True, **options)
        for rank in range(nodes)
    ]
