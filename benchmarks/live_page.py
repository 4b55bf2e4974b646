"""The live page: CPU of the viewer node, latency from topic to pixel, and memory of node and page, with its growth.

.venv/bin/python benchmarks/live_page.py --seconds 30
.venv/bin/python benchmarks/live_page.py --seconds 3600     # does it grow? Shorter runs are less certain
.venv/bin/python benchmarks/live_page.py --seconds 300 --bare     # what of it is the browser's

Needs Chromium, which runs without a GPU here. Frames of all topics are published by this process; each has its number
in its image, and the page's script notes when the browser has decoded the picture and draws the next frame.

Chromium keeps decoded pictures after they were replaced. So in the end it is told that memory is short, and what it
then holds is measured: a leak of the page would stay. `--bare` shows as many pictures as the live page in a page that
has nothing else.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from _common import check, exit_with, keep_to_this_machine
from processes import cpu_time

if TYPE_CHECKING:
    from chromium import Chromium, Tab

SAMPLES = 60  # of the memory
WATCH = """
(() => {
  window.dfdSeen = [];
  const image = [...document.images].find((i) => i.getBoundingClientRect().width > 16);
  const read = %s;
  let last = -1;
  image.addEventListener('load', async () => {
    const number = await read(image);
    if (number === last) return;
    last = number;
    requestAnimationFrame(() => window.dfdSeen.push([number, performance.timeOrigin + performance.now()]));
  });
})()
"""
# Five pictures of the size of the live page's, from JPEG as there. Two bytes behind each make it one not seen before.
BARE = """
(() => {
  const files = %s.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  window.dfdShown = 0;
  const images = Array.from({length: 5}, () => document.body.appendChild(document.createElement('img')));
  images[0].addEventListener('load', () => window.dfdShown++);
  let number = 0;
  setInterval(() => images.forEach((image, i) => {
    const parts = [files[++number %% files.length], new Uint8Array([number & 255, number >> 8 & 255])];
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(new Blob(parts, {type: 'image/jpeg'}));
  }), %g);
})()
"""


def memory_of(processes: list[int]) -> float:
    """MB of their own, and their shares of common pages."""
    found = 0
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended
            lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    return found / 1e3


def family_of(process: int) -> list[int]:
    """It and the processes below it."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(')')[2].split()[1])
    family = [process]
    for one in family:  # grows
        family += [child for child, parent in parents.items() if parent == one]
    return family


def kind_of(process: int) -> str:
    """What a process of the browser does: renderer, gpu-process, ...; '' = it is the first one, or has ended."""
    try:
        line = Path(f'/proc/{process}/cmdline').read_bytes().decode(errors='replace')
    except OSError:
        return ''
    found = re.search(r'--type=([\w-]+)', line)  # Chromium sets spaces or zeros between words
    return found.group(1) if found else ''


def columns_of(tab: Tab, browser: Chromium) -> dict[str, Callable[[], float]]:
    """What measures MB of the scripts of a page and of the browser, by names."""

    def of_kind(kind: str) -> float:
        return memory_of([process for process in family_of(browser.process) if kind_of(process) == kind])

    return {
        "the page's scripts": lambda: heap(tab),
        "the browser's renderers": lambda: of_kind('renderer'),
        'its GPU process': lambda: of_kind('gpu-process'),
        'the browser, all processes': lambda: memory_of(family_of(browser.process)),
    }


class Memory:
    """Memory over time. columns: what measures it, by names."""

    def __init__(self, columns: dict[str, Callable[[], float]]) -> None:
        self._columns = columns
        self._samples: list[tuple[float, ...]] = []

    def sample(self) -> None:
        """Measures it now."""
        self._samples.append((time.monotonic(), *(measure() for measure in self._columns.values())))

    def rows(self) -> list[str]:
        """Start, then after each quarter, and the line through the last two thirds: at the start, caches fill."""
        times, *columns = np.array(self._samples).T
        late = len(times) // 3
        quarters = np.linspace(0, len(times) - 1, 5).round().astype(int)
        rows = []
        for name, values in zip(self._columns, columns):
            (slope, _), covariance = np.polyfit(times[late:] / 3600, values[late:], 1, cov=True)
            rows.append(
                f'| memory of {name} | {", ".join(f"{value:.0f}" for value in values[quarters])} MB; '
                f'{slope:+.1f} ± {2 * covariance[0, 0] ** 0.5:.1f} MB an hour |'
            )
        return rows


class Feed:
    """Publishes at a rate in a thread of its own, and remembers when."""

    def __init__(self, scene, rate: float) -> None:
        self.sent: dict[int, float] = {}
        self._scene, self._period = scene, 1 / rate
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ends.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._period, time.monotonic() - self._period)
            now = time.time()
            self.sent[self._scene.publish() % 256] = now

    def close(self) -> None:
        self._ends.set()
        self._thread.join()


class Measured:
    """CPU of a process from here on."""

    def __init__(self, process: int) -> None:
        self._process, self._began, self._used = process, time.monotonic(), cpu_time(process)

    def share(self) -> float:
        """Of a core."""
        return (cpu_time(self._process) - self._used) / (time.monotonic() - self._began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=30.0, help='with a viewer; before that, at most 60 s without')
    parser.add_argument('--rate', type=float, default=10.0, help='frames a second')
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument(
        '--window', metavar='PX', type=int, default=1000, help='width of the browser: without a GPU, points take long'
    )
    parser.add_argument('--bare', action='store_true', help='pictures in a page without anything else')
    args = parser.parse_args()
    check(args, seconds=10, rate=1, height=64, width=64, window=200)
    if args.bare:
        look_at_bare_page(args)
        return
    keep_to_this_machine()

    import chromium
    from published_scene import READ_NUMBER, PublishedScene
    from ros_processes import NodeProcess, Observer, wait_until

    from dfd_ros.ros.node_runner import use_image_transport_profile

    use_image_transport_profile()
    with tempfile.TemporaryDirectory() as folder:
        observer = Observer()
        viewer = NodeProcess('viewer', Path(folder) / 'log', port=0, max_rate=60.0)
        feed = Feed(PublishedScene(observer.node, args.height, args.width), args.rate)
        try:
            wait_until(lambda: 'page: http' in viewer.output, 'the page')
            url = viewer.output.partition('page: ')[2].split()[0]
            process = viewer.process.pid
            time.sleep(5)
            measured = Measured(process)
            time.sleep(min(60.0, args.seconds))
            print_head(f'{args.width}x{args.height}, {args.rate:g} Hz, {args.seconds:g} s')
            print(f'| CPU of the node, nobody looks | {100 * measured.share():.1f} % of a core |', flush=True)
            with chromium.chromium(Path(folder) / 'profile') as browser:
                look(browser, url, READ_NUMBER, process, feed, args)
            wait_until(lambda: not feed._scene.subscribers(), 'the end of the subscriptions')
        finally:
            feed.close()
            viewer.end()
            observer.close()


def look(browser: Chromium, url: str, read: str, process: int, feed: Feed, args: argparse.Namespace) -> None:
    """Measures with one viewer."""
    tab = browser.new_tab()
    tab.open(url, args.window, 700)
    tab.wait_for('[...document.images].filter((i) => i.getBoundingClientRect().width > 16).length >= 5', 120)
    time.sleep(5)
    tab.run(WATCH % read)
    memory = Memory({'the node': lambda: memory_of([process]), **columns_of(tab, browser)})
    measured, latencies, shown = Measured(process), [], 0
    end, due = time.monotonic() + args.seconds, 0.0
    while time.monotonic() < end:
        if time.monotonic() > due:
            memory.sample()
            due = time.monotonic() + args.seconds / SAMPLES
        time.sleep(1)  # less than 256 frames
        for number, at in tab.run('window.dfdSeen.splice(0)'):
            shown += 1
            if number in feed.sent:
                latencies.append(at - 1000 * feed.sent[number])
    print(f'| CPU of the node, one viewer | {100 * measured.share():.1f} % of a core |')
    middle, late = np.percentile(latencies, (50, 95))
    print(f'| topic to pixel, median (95 %) | {middle:.0f} ms ({late:.0f} ms) |')
    print(f'| frames shown | {shown / args.seconds:.1f} Hz |')
    print_memory(memory, tab, browser)
    tab.close()


def look_at_bare_page(args: argparse.Namespace) -> None:
    """Measures a page that shows pictures alone."""
    import chromium

    height, width = 240, 320  # to which the live page reduces 640x480
    draw = np.random.default_rng(0)
    files = []
    for _ in range(20):
        picture = np.kron(draw.integers(0, 255, (height // 8, width // 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
        files.append(base64.b64encode(cv2.imencode('.jpg', picture)[1].tobytes()).decode())
    print_head(f'{width}x{height}, five pictures, {args.rate:g} Hz, {args.seconds:g} s')
    with tempfile.TemporaryDirectory() as folder, chromium.chromium(Path(folder)) as browser:
        tab = browser.new_tab()
        tab.open('about:blank', args.window, 700)
        tab.run(BARE % (json.dumps(files), 1000 / args.rate))
        memory = Memory(columns_of(tab, browser))
        end = time.monotonic() + args.seconds
        while time.monotonic() < end:
            memory.sample()
            time.sleep(args.seconds / SAMPLES)
        print(f'| pictures loaded | {tab.run("window.dfdShown") / args.seconds:.1f} Hz |')
        print_memory(memory, tab, browser)
        tab.close()


def print_head(what: str) -> None:
    """The machine, what is measured, and the head of a table."""
    from dfd_ros.core.machine import cores, processor

    print(f'{processor()}, {cores()} cores, load {os.getloadavg()[0]:.1f}\n{what}\n\n| | |\n| --- | --- |', flush=True)


def print_memory(memory: Memory, tab: Tab, browser: Chromium) -> None:
    """Rows of the memory, and what is left of it once the browser has emptied its caches."""
    print('\n'.join(memory.rows()))
    before = memory_of(family_of(browser.process))
    tab.call('Memory.simulatePressureNotification', level='critical')
    time.sleep(3)
    after = memory_of(family_of(browser.process))
    print(
        f'| the browser before and after it was told that memory is short | {before:.0f}, {after:.0f} MB |', flush=True
    )


def heap(tab: Tab) -> float:
    """MB in use by the page's scripts, after a collection."""
    tab.call('HeapProfiler.collectGarbage')
    return tab.call('Runtime.getHeapUsage')['usedSize'] / 1e6


if __name__ == '__main__':
    exit_with(main)
