"""A simulated camera whose focus steps: latency, slew and jitter are known, and each frame is blurred by
where the lens was while it was exposed."""

from dataclasses import dataclass

import cv2
import numpy as np

from dfd_ros.calibration.focus_steps import FocusSteps, FocusStepsBuilder, step_goals, step_pauses
from dfd_ros.core.optics import VergenceRange, vergence

POSITIONS = 33
SIZE = (96, 128)


def blurred_pictures(draw: np.random.Generator, texture: float = 60.0) -> list[np.ndarray]:
    """(H, W) of a wall at a third of the range and one at two thirds, side by side, at `POSITIONS` foci."""
    h, w = SIZE
    detail = cv2.GaussianBlur(draw.standard_normal((h, w)), (0, 0), 0.7)
    sharp = 120 + texture * detail / detail.std()
    pictures = []
    for u in np.linspace(0, 1, POSITIONS):
        left, right = (cv2.GaussianBlur(sharp, (0, 0), 0.3 + 5 * abs(u - at)) for at in (1 / 3, 2 / 3))
        pictures.append(np.concatenate([left[:, : w // 2], right[:, w // 2 :]], axis=1))
    return pictures


class Scene:
    """What a camera sees when its lens is at a share of its range."""

    def __init__(self, seed: int = 0, texture: float = 60.0) -> None:
        self._draw = np.random.default_rng(seed)
        self._pictures = blurred_pictures(self._draw, texture)

    def __call__(self, u: float) -> np.ndarray:
        """(H, W, 3) uint8."""
        low, share = divmod(min(max(u, 0.0), 1.0) * (POSITIONS - 1), 1)
        pictures = self._pictures[int(low) : int(low) + 2]
        picture = (1 - share) * pictures[0] + share * pictures[-1]
        noisy = picture + 2.0 * self._draw.standard_normal(picture.shape)
        return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


@dataclass(frozen=True)
class SimulatedCamera:
    """`latency` frames; `by_frames`: the lens starts with a frame, otherwise so many periods after the command."""

    latency: int
    slew: float = 0.0
    """Share of the range in a frame; 0: at once."""
    settle: float = 0.0
    """Frames for which the lens rings after its arrival."""
    jitter: float = 0.0
    """Of a frame, standard deviation of the stamps."""
    by_frames: bool = False
    exposure: float = 0.3
    """Of a frame."""
    rate: float = 30.0
    noise: float = 2.0
    dropped: float = 0.0
    """Share of the frames."""
    flicker: float = 0.0
    """Share of the brightness."""
    texture: float = 60.0
    """Contrast; 0: a plain wall."""
    moves: bool = True
    labels_early: int = 0
    """Frames by which the lens states run ahead of the pictures."""
    pause: float = 1.0
    steps: int = 14
    seed: int = 0

    def record(self) -> FocusSteps:
        """The steps as `dfd calibrate latency` would record them."""
        draw = np.random.default_rng(self.seed)
        pictures = blurred_pictures(draw, self.texture)
        period, range_ = 1 / self.rate, VergenceRange(0.1, np.inf)
        goals = [vergence(distance) / range_.width for distance in step_goals(range_, self.steps)]
        commands = np.cumsum(step_pauses(self.steps, self.pause, period, self.seed))
        exposed = np.arange(0.0, commands[-1] + self.pause, period)
        exposed += draw.uniform(0, period)
        motion = self._motion(commands, goals, exposed, period)
        builder = FocusStepsBuilder('camera')
        for goal, command in zip(goals, commands):
            builder.add_command(float(command), goal * range_.width)
        for begin in exposed:
            if draw.random() < self.dropped:
                continue
            where = [motion(begin + share * self.exposure * period) for share in (0.1, 0.5, 0.9)]
            image = np.mean([pictures[round(u * (POSITIONS - 1))] for u in where], axis=0)
            image = image * (1 + self.flicker * draw.standard_normal()) + self.noise * draw.standard_normal(image.shape)
            stamp = float(begin + self.jitter * period * draw.standard_normal())
            builder.add_frame(stamp, np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, 2))
            label = motion(begin + (self.labels_early + self.exposure / 2) * period)
            builder.add_label(stamp, label * range_.width)
        return builder.steps()

    def _motion(self, commands: np.ndarray, goals: list[float], exposed: np.ndarray, period: float):
        moves = [(-np.inf, 0.0, -np.inf, 0.0)]
        for command, goal in zip(commands, goals):
            if self.by_frames:
                began = exposed[0] + (np.ceil((command - exposed[0]) / period) + self.latency - 0.05) * period
            else:
                began = command + self.latency * period
            start = moves[-1][3]
            way = abs(goal - start) / self.slew * period if self.slew else 0.0
            moves.append((began, start, began + way, goal))

        def at(time_s: float) -> float:
            if not self.moves:
                return 0.0
            began, start, arrives, goal = next(move for move in reversed(moves) if move[0] <= time_s)
            if time_s < arrives:
                return start + (goal - start) * (time_s - began) / (arrives - began)
            rings = 1 - (time_s - arrives) / (self.settle * period) if self.settle else 0.0
            return float(np.clip(goal + 0.15 * max(rings, 0.0) * np.sign(0.5 - goal), 0, 1))

        return at
