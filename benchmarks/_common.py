"""What the benchmarks share: the machine, the network to measure, frames to feed; and the support of the tests, which
can be imported once this is."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros import networks
from dfd_ros.core import sweeps
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.machine import cores, processor
from dfd_ros.core.optics import VergenceRange

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test' / 'support'))
RANGE = VergenceRange(0.3, 3.0)


def machine() -> str:
    """Processor, cores that this process may use, how busy they are, torch."""
    gpu = f', {torch.cuda.get_device_name()}' if torch.cuda.is_available() else ''
    return f'{processor()}, {cores()} cores{gpu}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}'


def network(weights: Path | None) -> networks.Network:
    """The network of these weights; by default the one that ships, or random weights where none does: neither
    time nor memory depends on what it has learned."""
    if weights is not None:
        return networks.load(weights)
    try:
        return networks.load(networks.default_weights())
    except InputError:
        torch.manual_seed(0)
        return networks.create('stream')


def frames(height: int, width: int) -> Iterator[tuple[np.ndarray, LensState]]:
    """An endless stream: a textured wall that drifts by, in and out of focus as the focus goes to and fro."""
    generator = torch.Generator().manual_seed(0)
    octaves = [
        F.interpolate(
            torch.randn(1, 3, height // s + 2, width // s + 2, generator=generator),
            size=(height, width),
            mode='bicubic',
        )
        * s**0.5
        for s in (1, 2, 4, 16)
    ]
    wall = (128 + 30 * torch.stack(octaves).sum(0)).clamp(0, 255)
    focus = sweeps.ping_pong(RANGE, 9)[:-1]
    blurred = {}
    for distance in focus:
        size = 1 + 2 * round(6 * abs(RANGE.normalise(distance) - 0.5))
        blurred[distance] = F.avg_pool2d(F.pad(wall, [size // 2] * 4, mode='circular'), size, 1).round().byte()
    i = 0
    while True:
        distance = focus[i % len(focus)]
        image = blurred[distance][0].roll((i // 4 % height, i // 2 % width), (1, 2))
        yield (
            image.permute(1, 2, 0).contiguous().numpy(),
            LensState(distance, 0.004, 1.8, 2e-6, near=RANGE.near, far=RANGE.far),
        )
        i += 1


def keep_to_this_machine() -> None:
    """No node nearby hears those of a benchmark."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))


def milliseconds(function) -> float:
    """How long a call takes."""
    return timed(function)[0]


def timed(function) -> tuple[float, float]:
    """How long a call takes, and how much processor time all threads of this process together, ms."""
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu)


def check(options: argparse.Namespace, **least: int) -> None:
    """Raises `InputError` where one of these options is less than it may be."""
    for name, value in least.items():
        if getattr(options, name) < value:
            raise InputError(f'--{name.replace("_", "-")} {getattr(options, name)}: must be at least {value}')


def exit_with(main: Callable[[], int | None]) -> None:
    """Run a benchmark; bad input ends it with one line."""
    try:
        sys.exit(main())
    except InputError as error:
        print(f'{Path(sys.argv[0]).stem}: error: {error}', file=sys.stderr)
        sys.exit(2)
