"""Time a frame, from image to depth, at full and at reduced resolution, on every backend that is here.

    .venv/bin/python benchmarks/speed.py
    .venv/bin/python benchmarks/speed.py --reference-command 'python one_depth_map.py'

All ways take turns within one run, so that a busy machine is as busy for each. Where it is very busy, compare the
processor times, and run with OMP_WAIT_POLICY=PASSIVE, so that waiting for another thread does not count as work.

A reference, another program that computes depth from a whole focal stack, takes part in the turns: it has to write a
line to its standard output once it is ready, and then, for each line on its standard input, compute one depth map
and write a line.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from _common import exit_with, frames, machine, milliseconds, network, timed
from processes import cpu_time
from tqdm import tqdm

from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.registration import Registration
from dfd_ros.inference.upsampling import Upsampling

WARM_UP = 3
FRAMES_A_TURN = 3  # of each way, so that the caches are its own
# One depth map of a 640x480 stack of five frames, fp32, on two CPU cores (2026-11-23).
PUBLISHED = {'DFV (level 4)': 4.0, 'DefocusNet': 4.2}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--rounds', type=int, default=10, help=f'turns of {FRAMES_A_TURN} frames each')
    parser.add_argument('--threads', type=int, help="of torch; default: torch's own choice")
    parser.add_argument('--weights', type=Path, help='default: those that ship, or random ones')
    parser.add_argument('--no-onnx', dest='onnx', action='store_false', help='leave ONNX Runtime out')
    parser.add_argument('--reference-command', metavar='CMD', help='see above')
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways = estimators(options, Path(folder))
        reference = options.reference_command and stack.enter_context(Reference(options.reference_command))
        times, reference_times = measure(ways, options, reference)
        stages = measure_stages(options)
    report(options, times, reference_times, stages)
    return 0


def estimators(options: argparse.Namespace, folder: Path) -> dict[str, DepthEstimator]:
    """Every way to run the network on this machine, by name."""
    module, half = network(options.weights), max(options.width, options.height) // 2
    kinds: dict[str, dict[str, Any]] = {
        'torch fp32, CPU': {'network': module, 'device': 'cpu', 'precision': 'fp32'},
        'torch bf16, CPU': {'network': module, 'device': 'cpu', 'precision': 'bf16'},
    }
    if options.onnx:
        try:
            from dfd_ros.inference.onnx_export import export_onnx

            export_onnx(module, folder / 'network.onnx')
            kinds['ONNX Runtime, CPU'] = {'weights': folder / 'network.onnx', 'backend': 'onnx', 'device': 'cpu'}
        except InputError as error:
            print(f'without ONNX Runtime: {error}', file=sys.stderr)
    ways = {
        f'{name}, {sees}': DepthEstimator(**kind, resolution=resolution)
        for name, kind in kinds.items()
        for sees, resolution in (('full', None), (f'{half} px', half))
    }
    if torch.cuda.is_available():
        for precision in ('fp32', 'bf16', 'fp16'):
            ways[f'torch {precision}, GPU, full'] = DepthEstimator(
                network=network(options.weights), device='cuda', precision=precision
            )
    return ways


class Reference:
    """A program that computes a depth map for each line on its standard input."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __enter__(self) -> Reference:
        try:
            self._process = subprocess.Popen(
                shlex.split(self._command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except (OSError, ValueError) as error:
            raise InputError(f'--reference-command {self._command!r}: cannot be started: {error}') from None
        self._reply()
        return self

    def __exit__(self, *_) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait()

    def compute(self) -> tuple[float, float]:
        """The time (ms) of one depth map, and its processor time."""
        start, cpu = time.perf_counter(), cpu_time(self._process.pid)
        print('next', file=self._process.stdin, flush=True)
        self._reply()
        return 1e3 * (time.perf_counter() - start), 1e3 * (cpu_time(self._process.pid) - cpu)

    def _reply(self) -> None:
        if not (self._process.stdout and self._process.stdout.readline()):
            raise InputError(f'--reference-command {self._command!r}: ended without an answer')


def measure(
    ways: dict[str, DepthEstimator], options: argparse.Namespace, reference: Reference | None
) -> tuple[dict[str, list], list]:
    """Times and processor times of each way, and of the reference, ms."""
    streams = {name: frames(options.height, options.width) for name in ways}
    for name, estimator in ways.items():
        for _ in range(WARM_UP):
            estimator.push(*next(streams[name]))
    times: dict[str, list] = {name: [] for name in ways}
    reference_times = []
    for _ in tqdm(range(options.rounds), desc='speed', unit='round'):
        for name, estimator in ways.items():
            turn = []
            for _ in range(FRAMES_A_TURN + 1):
                image, state = next(streams[name])
                turn.append(timed(lambda: estimator.push(image, state)))
            times[name] += turn[1:]  # the first brings the way's own memory back into the caches
        if reference:
            reference_times.append(reference.compute())
    return times, reference_times


def measure_stages(options: argparse.Namespace) -> dict[str, list[float]]:
    """Times (ms) of what `DepthEstimator.push` does besides running the network."""
    stream, registration = frames(options.height, options.width), Registration()
    half = options.height // 2, options.width // 2
    times: dict[str, list[float]] = {
        'registration of two frames': [],
        'reduction to half the size': [],
        'edge-aware upsampling of depth and confidence from half the size': [],
    }
    maps = torch.rand(2, *half)
    for _ in range(options.rounds * FRAMES_A_TURN):
        image, _ = next(stream)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, half[::-1], interpolation=cv2.INTER_AREA)
        calls = (
            lambda: registration.push(image),
            lambda: cv2.resize(image, half[::-1], interpolation=cv2.INTER_AREA),
            lambda: upsampled(maps, small, grey),
        )
        for name, call in zip(times, calls):
            times[name].append(milliseconds(call))
    return times


def upsampled(maps: torch.Tensor, small: np.ndarray, guide: np.ndarray) -> list[torch.Tensor]:
    upsampling = Upsampling(maps, small, guide)
    return [upsampling(channel) for channel in range(len(maps))]


def report(
    options: argparse.Namespace, times: dict[str, list], reference_times: list, stages: dict[str, list[float]]
) -> None:
    print(f'\n{machine()}, {torch.get_num_threads()} threads\n')
    reference = np.median(reference_times, 0) if reference_times else None
    header = [f'image {options.width}x{options.height} to depth', 'median ms', '95 % ms', 'processor ms']
    header += ['times faster than the reference', 'in processor time'] if reference is not None else []
    header += [f'than {name}, {seconds} s' for name, seconds in PUBLISHED.items()]
    rows = []
    for name, values in times.items():
        clock, processor = np.median(values, 0)
        row = [name, f'{clock:.1f}', f'{np.percentile(values, 95, axis=0)[0]:.1f}', f'{processor:.1f}']
        row += [f'{r:.0f}' for r in reference / (clock, processor)] if reference is not None else []
        rows.append(row + [f'{1e3 * seconds / clock:.0f}' for seconds in PUBLISHED.values()])
    print(table(header, rows))
    if reference is not None:
        print(
            f'\nreference, one depth map: median {reference[0]:.0f} ms, processor {reference[1]:.0f} ms, '
            f'of {len(reference_times)} in the same run'
        )
    print('\n' + table(['part of it', 'median ms'], [[name, f'{np.median(v):.2f}'] for name, v in stages.items()]))
    print(
        '\nThe published times are of one depth map from a 640x480 stack of five frames on two CPU cores, '
        'measured on 2026-11-23.'
    )


if __name__ == '__main__':
    exit_with(main)
