"""The motion of a lens after a command, measured in the images: latency, speed, settling.

The image rests before and after each step of the focus. A frame has changed when it differs from the frames at rest
before the step by more than those differ among each other; it rests again when it no longer differs from the frames at
rest after the step. All times refer to the stamps, so the result fits drivers that stamp the start of an exposure and
drivers that stamp its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dfd_ros.calibration.calibration_file import FocusMotion
from dfd_ros.calibration.focus_steps import FocusSteps
from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import distance

MIN_STEPS = 5
MIN_FRAMES = 3  # at rest before and after a step
MAX_REST = 8  # frames
CLEAR = 2.5  # times the largest difference among frames at rest; smaller changes are not visible
AGREE = 0.6  # share of the steps
NEAR = 0.75  # share of the steps that must change within a frame of the latency
IN_STEP = 0.85  # share of the steps with an equal number of frames: the latency is one of frames, not of seconds
JITTERY = 0.5  # frames; stamps that deviate by more are not evenly spaced
EARLIEST = 4.0  # frames before the command at which the search starts
SIGNIFICANT = 4.0  # standard deviations
SLOWEST = 0.75  # of the time between two commands


@dataclass(frozen=True, eq=False)
class MeasuredStep:
    """One step of the focus, as the frames show it."""

    start: float
    """Dioptres."""
    goal: float
    contrast: float
    """Change of the image, in units of the largest change at rest."""
    latency_frames: int
    """Number of frames stamped after the command without a change; negative if the change comes before the command."""
    changes: tuple[float, float]
    """s from the command to the last frame without a change, and to the first with one."""
    rests: tuple[float, float]
    """s from the command to the last frame before rest, and to the first at rest."""
    labels: tuple[int, ...]
    """Frames from the start and from the end of the step in the lens states to those in the images; empty if the lens
    states do not have the step."""
    times: np.ndarray
    """(M,) s from the command, of the frames around it."""
    from_start: np.ndarray
    """(M,) difference from the image before the step, in units of the largest at rest."""
    from_goal: np.ndarray


@dataclass(frozen=True)
class LatencyResult:
    """The motion, and how far the steps agree."""

    motion: FocusMotion
    period: float
    """s between two frames."""
    jitter: float
    """s, root mean square deviation of the stamps from even spacing."""
    steps: tuple[MeasuredStep, ...]
    """The visible ones."""
    unclear: int
    """Number of steps that are not visible."""
    agreeing: int
    """Number of steps whose change begins within one frame of the latency."""
    label_shift: int | None
    """Frames from a step in the lens states to that in the images. 0: correct; None: unknown."""
    labels_agreeing: int
    """How many starts and ends of steps agree with `label_shift`."""

    @property
    def frames(self) -> int:
        """Latency in whole frames."""
        return round((self.motion.latency_s + self.motion.latency_frames * self.period) / self.period)


def measure_latency(steps: FocusSteps) -> LatencyResult:
    """The motion of a lens from a recording of its steps.

    Raises:
        InputError: too few steps or frames; the picture does not change with the focus; the steps contradict each
            other; the lens is slower than the steps.
    """
    stamps, period, jitter = _even(steps)
    rests = _rests(stamps, steps.commands, period)
    if len(rests) - 1 < MIN_STEPS:
        raise InputError(
            f'{steps.name}: {max(len(rests) - 1, 0)} steps with {MIN_FRAMES} frames or more before and after; '
            f'at least {MIN_STEPS} are needed'
        )
    differences = _Differences(steps.details, [rest for _, rest in rests])
    found, unclear, clearest = [], 0, 0.0
    for (before, resting), (command, rested) in pairwise(rests):
        if command != before + 1 or math.isclose(steps.goals[before], steps.goals[command], abs_tol=1e-9):
            continue
        contrast = min(differences.between(resting, rested), differences.between(rested, resting))
        clearest = max(clearest, contrast)
        if contrast < CLEAR:
            unclear += 1
            continue
        step = _measured(steps, stamps, period, command, contrast, differences, resting, rested)
        if step is not None:
            found.append(step)
    late = [step for step in found if step.rests[1] > SLOWEST * (step.times[-1] + period)]
    if len(late) > (1 - AGREE) * len(found):
        raise InputError(
            f'{steps.name}: {late[0].rests[1]:.2f} s after a command the picture still changes, and the next comes '
            f'after {late[0].times[-1]:.2f} s: give the steps more time, and keep camera and light still'
        )
    found = [step for step in found if step not in late]
    if len(found) < MIN_STEPS:
        raise InputError(
            f'{steps.name}: the picture does not change when the focus does ({len(found)} of {len(found) + unclear} '
            f'steps show, the clearest {clearest:.2g} times what changes at rest, {CLEAR:g} needed): does the lens '
            'move, and rest well before the next step? Point the still camera at something with texture, in even light'
        )
    return _result(steps.name, found, unclear, period, jitter)


def _even(steps: FocusSteps) -> tuple[np.ndarray, float, float]:
    """The stamps, evenly spaced if they nearly are, their period and their jitter (s)."""
    stamps = steps.stamps
    if len(stamps) < 2 * MIN_FRAMES or len(steps.commands) < 2:
        raise InputError(f'{steps.name}: {len(stamps)} frames and {len(steps.commands)} commands are too few')
    period = float(np.median(np.diff(stamps)))
    # Frames are counted from gap to gap, as a driver may drop some.
    number = np.concatenate([[0], np.cumsum(np.maximum(np.round(np.diff(stamps) / period), 1))])
    for _ in range(2):
        slope, start = np.polyfit(number, stamps, 1)
        number = np.round((stamps - start) / slope)
    off = stamps - (start + slope * number)
    jitter = float(np.sqrt((off**2).mean()))
    one_each = (np.diff(number) > 0).all()
    if not one_each or np.abs(off).max() > JITTERY * slope:  # its rate changes: as they are
        return stamps, period, jitter
    return start + slope * number, float(slope), jitter


def _rests(stamps: np.ndarray, commands: np.ndarray, period: float) -> list[tuple[int, np.ndarray]]:
    """(index of the command, indices of the last frames before the next) of all commands with enough frames at rest."""
    found = []
    ends = np.append(commands[1:], stamps[-1] + period)
    for i, (begin, end) in enumerate(zip(np.append(stamps[0] - period, commands), np.append(commands[:1], ends))):
        frames = np.flatnonzero((stamps > begin) & (stamps <= end))
        count = min(MAX_REST, len(frames) // 2)
        if count >= MIN_FRAMES:
            found.append((i - 1, frames[-count:]))
    # Before the first command the lens may be anywhere.
    return [entry for entry in found if entry[0] >= 0]


class _Differences:
    """Differences of images, in units of the largest among frames at rest."""

    def __init__(self, details: np.ndarray, rests: list[np.ndarray]) -> None:
        self._details = details
        centres = [np.median(details[rest], axis=0) for rest in rests]
        noise = np.concatenate([details[rest] - centre for rest, centre in zip(rests, centres)])
        sigma = np.maximum(1.4826 * np.median(np.abs(noise), axis=0), 1e-4)
        change = np.std(np.stack(centres), axis=0) / sigma
        # Weigh the parts that change with the focus; a plain wall beside them does not.
        self._weights = change**2 / sigma**2 / max(float((change**2).sum()), 1e-12)
        self._noise = noise
        self._unit = 1.0
        at_rest = np.concatenate([self.to(rest, rest) for rest in rests])
        low, middle, high = np.percentile(at_rest, (25, 50, 75))
        self._unit = max(float(middle + 4 * (high - low)), float(np.percentile(at_rest, 95)), 1e-9)

    def to(self, rest: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(M,) differences of frames from those at rest."""
        off = self._details[frames] - np.median(self._details[rest], axis=0)
        return np.sqrt((off**2 * self._weights).sum(axis=1)) / self._unit

    def towards(self, rest: np.ndarray, moving: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(M,) change of frames from rest in the direction of the moving ones, in standard deviations.

        In this one direction noise is much lower than in the whole image.
        """
        centre = np.median(self._details[rest], axis=0)
        way = (self._details[moving].mean(axis=0) - centre) * self._weights
        noise = self._noise @ way
        sigma = max(1.4826 * float(np.median(np.abs(noise))), 1e-12)
        return (self._details[frames] - centre) @ way / sigma

    def between(self, rest: np.ndarray, other: np.ndarray) -> float:
        return float(np.median(self.to(rest, other)))


def _measured(
    steps: FocusSteps,
    stamps: np.ndarray,
    period: float,
    command: int,
    contrast: float,
    differences: _Differences,
    resting: np.ndarray,
    rested: np.ndarray,
) -> MeasuredStep | None:
    at = steps.commands[command]
    frames = np.flatnonzero((stamps > at - EARLIEST * period) & (stamps <= stamps[rested[-1]]))
    from_start, from_goal = differences.to(resting, frames), differences.to(rested, frames)
    changed, differs = from_start > 1, from_goal > 1
    # One frame alone may be a flash.
    begins = np.flatnonzero(changed[:-1] & changed[1:])
    if not len(begins) or begins[0] == 0:  # a change before the command has another cause
        return None
    begin = int(begins[0])
    moving = np.flatnonzero(differs & (np.append(differs[1:], False) | np.insert(differs[:-1], 0, False)))
    end = max(int(moving[-1]) + 1 if len(moving) else begin, begin)
    if end >= len(frames):
        return None
    # The first and the last part of a slow motion are too small to show in the difference of the whole image.
    gone = differences.towards(resting, frames[begin : begin + 2], frames) > SIGNIFICANT
    while begin > 1 and gone[begin - 1]:
        begin -= 1
    if end > begin:
        to_go = differences.towards(rested, frames[max(end - 2, begin) : end], frames) > SIGNIFICANT
        while end < len(frames) - 1 and to_go[end]:
            end += 1
    times = stamps[frames] - at
    start, goal = float(steps.goals[command - 1]), float(steps.goals[command])
    return MeasuredStep(
        start,
        goal,
        contrast,
        begin - int(np.searchsorted(times, 0.0, 'right')),
        (float(times[begin - 1]), float(times[begin])),
        (float(times[end - 1]), float(times[end])),
        () if steps.labels is None else _label_shifts(steps.labels[frames], start, goal, begin, end),
        times,
        from_start,
        from_goal,
    )


def _label_shifts(labels: np.ndarray, start: float, goal: float, begin: int, end: int) -> tuple[int, ...]:
    share = (labels - start) / (goal - start)
    if not np.isfinite(share).all() or abs(share[-1] - 1) > 0.1:
        return ()
    moved = np.flatnonzero(share > 0.02)
    moving = np.flatnonzero(np.abs(share - share[-1]) > 0.02)
    if not len(moved) or moved[0] == 0:
        return ()
    return begin - int(moved[0]), end - int(moving[-1]) - 1


def _result(name: str, steps: list[MeasuredStep], unclear: int, period: float, jitter: float) -> LatencyResult:
    low, high, agreeing = _common([step.changes for step in steps])
    if agreeing < AGREE * len(steps):  # commands that come early and late, as on a busy machine
        low = high = float(np.median([sum(step.changes) / 2 for step in steps]))
    if sum(_off(step.changes, (low + high) / 2) <= period for step in steps) < NEAR * len(steps):
        delays = ', '.join(str(step.latency_frames) for step in steps)
        raise InputError(
            f'{name}: the picture does not change a fixed time after the command, but after {delays} frames: does '
            'something else move, does the light flicker, or does the driver drop commands?'
        )
    latency = (low + high) / 2
    counts = [step.latency_frames for step in steps]
    frames = max(set(counts), key=counts.count)
    by_frames = frames >= 0 and counts.count(frames) >= IN_STEP * len(counts) and abs(latency / period - frames) < 0.5
    per_dioptre, arrival = _motion(steps)
    off = [_off(step.changes, latency) for step in steps]
    uncertainty = max((high - low) / 2, float(np.percentile(off, 90)), jitter)
    ways = [abs(step.goal - step.start) for step in steps]
    # A slow start is seen late and a slow end early; together they are right.
    shifts = [shift for step in steps for shift in step.labels]
    shift = max(set(shifts), key=shifts.count) if len(shifts) >= MIN_STEPS else None
    motion = FocusMotion(
        # The rest of a latency in frames is the time within a frame at which the driver takes a command.
        latency_s=latency - frames * period if by_frames else latency,
        latency_frames=frames if by_frames else 0.0,
        # A motion that takes less than a tenth of a frame over the longest way is instantaneous.
        slew_dioptre_s=1 / per_dioptre if per_dioptre * max(ways) > 0.1 * period else 0.0,
        settle_s=float(max(arrival - latency, 0.0)),
        uncertainty_s=uncertainty,
        rate_hz=1 / period,
        steps=len(steps),
    )
    return LatencyResult(
        motion, period, jitter, tuple(steps), unclear, agreeing, shift, shifts.count(shift) if shift is not None else 0
    )


def _off(interval: tuple[float, float], time_s: float) -> float:
    """Distance (s) of a time from an interval; 0 inside."""
    return max(time_s - interval[1], interval[0] - time_s, 0.0)


def _common(intervals: list[tuple[float, float]]) -> tuple[float, float, int]:
    """The interval that most of these share, and how many do."""
    edges = sorted({edge for interval in intervals for edge in interval})
    middles = [(a, b, sum(low <= (a + b) / 2 <= high for low, high in intervals)) for a, b in pairwise(edges)]
    most = max(count for *_, count in middles)
    best = [(a, b) for a, b, count in middles if count == most]
    return best[0][0], best[-1][1], most


def _motion(steps: list[MeasuredStep]) -> tuple[float, float]:
    """(s per dioptre, s from the command to rest without the travel): rest = arrival + travel * s per dioptre."""
    ways = np.array([abs(step.goal - step.start) for step in steps])
    middles = np.array([sum(step.rests) / 2 for step in steps])
    pairs = [(i, j) for i in range(len(ways)) for j in range(i) if abs(ways[i] - ways[j]) > 0.2 * ways.max()]
    slopes = [(middles[i] - middles[j]) / (ways[i] - ways[j]) for i, j in pairs]
    slope = max(float(np.median(slopes)), 0.0) if slopes else 0.0
    _, high, _ = _common([(a - slope * way, b - slope * way) for (a, b), way in zip((s.rests for s in steps), ways)])
    # Rather late than early: a frame that counts as settled too soon has a wrong depth.
    return slope, high


def vergence_text(vergence: float) -> str:
    """The focus distance (m) as text, such as inf or 0.25."""
    return f'{distance(max(vergence, 0.0)):.3g}'
