"""A recording of focus steps: the time of each command, and the detail in each frame.

Frames are stored as detail maps instead of images: the amount of fine detail in each part of an image changes with the
focus, and with little else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tqdm import tqdm

from dfd_ros.calibration.board import opencv
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange, vergence

WARM_UP = 10  # frames before the first step, to measure the frame rate
WIDTH = 480  # px; larger images are reduced to it
GRID = (8, 6)  # columns, rows of the map
SIGMAS = (0.8, 1.6, 3.2, 6.4)  # px, the limits of the bands
FLOOR = 1e-5  # of the squared brightness: detail below it is noise of any camera
MIN_PAUSE, PAUSE_FRAMES = 1.0, 30  # s, frames
# Shares of the range in vergence, with steps of different sizes.
PATTERN = (1.0, 0.0, 0.5, 1.0, 0.5, 0.0, 1.0, 0.25, 0.75, 0.0, 0.75, 0.25)


@dataclass(frozen=True)
class FocusSteps:
    """T frames and N commands, each in order of time, on one clock."""

    name: str
    stamps: np.ndarray
    """(T,) s, of the frames."""
    details: np.ndarray
    """(T, D) of `detail_map`."""
    commands: np.ndarray
    """(N,) s, when each step was commanded."""
    goals: np.ndarray
    """(N,) dioptres."""
    labels: np.ndarray | None = None
    """(T,) dioptres: the focus in the lens state of each frame; NaN = unknown."""


class FocusStepsBuilder:
    """Collects frames and commands in any order, from several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._frames: dict[float, np.ndarray] = {}
        self._labels: dict[float, float] = {}
        self._commands: list[tuple[float, float]] = []

    def add_frame(self, stamp: float, image: np.ndarray) -> None:
        """`image`: (H, W, 3) uint8 RGB, exposed at `stamp` (s)."""
        self._frames[stamp] = detail_map(image)

    def add_label(self, stamp: float, vergence: float) -> None:
        """`vergence`: the focus (dioptres) in the lens state with this stamp (s)."""
        self._labels[stamp] = vergence

    def add_command(self, time_s: float, vergence: float) -> None:
        """`vergence`: the commanded focus (dioptres)."""
        self._commands.append((time_s, vergence))

    @property
    def frames(self) -> int:
        return len(self._frames)

    def steps(self) -> FocusSteps:
        """The recording so far. Raises InputError if it has no frames."""
        stamps = sorted(self._frames)
        if not stamps:
            raise InputError(f'{self._name}: no frames')
        commands = np.array(sorted(self._commands), float).reshape(-1, 2)
        return FocusSteps(
            self._name,
            np.array(stamps),
            np.stack([self._frames[stamp] for stamp in stamps]),
            commands[:, 0],
            commands[:, 1],
            np.array([self._labels.get(stamp, np.nan) for stamp in stamps]) if self._labels else None,
        )


def detail_map(image: np.ndarray) -> np.ndarray:
    """(D,) float32 of an image (H, W, 3) uint8 RGB: log of the energy of bands of detail in parts of the image.

    The energy is relative to the brightness of each part, so that exposure does not matter.
    """
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if grey.shape[1] > WIDTH:
        size = (WIDTH, max(round(grey.shape[0] * WIDTH / grey.shape[1]), GRID[1]))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    brightness = np.maximum(cv2.resize(grey, GRID, interpolation=cv2.INTER_AREA), 1.0)
    blurred = [cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in SIGMAS]
    bands = []
    for fine, coarse in pairwise(blurred):
        energy = cv2.resize((fine - coarse) ** 2, GRID, interpolation=cv2.INTER_AREA)
        bands.append(np.log(energy / brightness**2 + FLOOR))
    return np.stack(bands).ravel()


def take_steps(
    builder: FocusStepsBuilder,
    send: Callable[[float], float],
    wait: Callable[[float], None],
    range_: VergenceRange,
    count: int,
    pause: float,
    period: float,
    seed: int = 0,
) -> None:
    """Steps the focus of a lens, while another thread adds the frames.

    Args:
        send: sends a focus distance (m), and returns the time (s, on the clock of the frames).
        wait: waits for a number of seconds.
        pause: s between two steps; `period`: s between two frames.
    """
    steps = zip(step_goals(range_, count), step_pauses(count, pause, period, seed))
    for goal, seconds in tqdm(list(steps), desc='latency', unit='step'):
        wait(seconds)
        builder.add_command(send(goal), vergence(goal))
    wait(pause)


def step_goals(range_: VergenceRange, count: int) -> list[float]:
    """Focus distances (m) of `count` steps."""
    return [range_.denormalise(PATTERN[i % len(PATTERN)]) for i in range(count)]


def default_pause(period: float) -> float:
    """Time (s) between two steps that suffices for most lenses; `period`: s between two frames."""
    return max(MIN_PAUSE, PAUSE_FRAMES * period)


def step_pauses(count: int, pause: float, period: float, seed: int = 0) -> np.ndarray:
    """(count,) s to wait before each step: `pause` and a random part of `period`. If all commands came just after a
    frame, a lens that starts at once would look like one that waits for the next frame."""
    return pause + np.random.default_rng(seed).uniform(0, period, count)
