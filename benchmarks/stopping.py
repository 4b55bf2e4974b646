"""How long `dfd run` takes from Ctrl-C until all of its processes are gone, and its exit status.

    ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST .venv/bin/python benchmarks/stopping.py --load 4

`--load`: as many other processes keep the cores busy. The synthetic camera, the sweep and the depth node run, each time
for another while, so that the signal meets them at their start as well as at work.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _common import check, exit_with, machine

from dfd_ros.core.markdown_table import table

PATIENCE = 60.0  # s
BUSY = 'while True: pass'


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--load', type=int, default=0, help='processes that do nothing but keep a core busy')
    parser.add_argument('--times', type=int, default=2, help='runs of each length')
    parser.add_argument('--after', type=float, nargs='+', default=[1.0, 4.0, 20.0], help='lengths of the runs, s')
    options = parser.parse_args(arguments)
    check(options, load=0, times=1)
    busy = [subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(options.load)]
    try:
        rows = []
        for after in options.after:
            runs = [stopped(after) for _ in range(options.times)]
            times, statuses = [seconds for seconds, _ in runs], {status for _, status in runs}
            rows.append(
                [f'{after:g}', f'{np.median(times):.2f}', f'{max(times):.2f}', ', '.join(map(str, sorted(statuses)))]
            )
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f'{machine()}, {options.load} busy processes\n')
    print(table(['Ctrl-C after s', 's until all are gone, median', 'slowest', 'exit status'], rows))
    return 0


def stopped(after: float) -> tuple[float, int]:
    """The time that the end takes, s, and the status."""
    command = [str(Path(sys.executable).with_name('dfd')), 'run', '--image-width', '160', '--image-height', '120']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status = process.wait(PATIENCE)
    while is_any_left(process.pid):
        if time.monotonic() > began + PATIENCE:
            raise RuntimeError(f'processes of the group {process.pid} are still there')
        time.sleep(0.01)
    return time.monotonic() - began, status


def is_any_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == '__main__':
    exit_with(main)
