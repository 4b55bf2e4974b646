"""The health of the depth node, judged by what comes out of it."""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque

import numpy as np

from dfd_ros.core.errors import plural
from dfd_ros.core.frame_offset import FrameOffset
from dfd_ros.core.optics import vergence
from dfd_ros.inference.depth_estimate import LOW_CONFIDENCE, WHY_LOW, Estimate
from dfd_ros.inference.evidence import Evidence, shown_by
from dfd_ros.inference.focus_response import FOCUS_BINS, WINDOW
from dfd_ros.ros.diagnostics import Window
from dfd_ros.ros.node_parameters import DepthParameters

SPAN = 10.0  # s, of rates and shares
MINUTE = 60.0
ENOUGH = 5  # frames that a judgement needs
SAME_FOCUS = 0.02  # of the spread of the foci
NEVER_SETTLED = 'settled is false in the lens states, see skip_unsettled'
MAX_LATENCY = 600.0  # s; more is a stamp of another clock
MAX_SWEEP = 1000  # foci
MIN_VISITS = 3  # of each focus, on average, before the order of the foci is judged
SAME_FOLLOWER = 0.85  # of the steps of a repeated ramp; a ping-pong sweep of three foci has 0.75
BUSY, TOO_FAST, TOO_OLD, RESTING = 'network busy', 'max_rate', 'max_age', 'nobody subscribes'
"""Why pairs are dropped."""


class FocusHistory:
    """The foci (vergences) of the last frames that were processed."""

    def __init__(self, frames: int = 24) -> None:
        self._foci: deque[float] = deque(maxlen=frames)

    def add(self, focus_distance: float) -> None:
        if math.isfinite(focus := vergence(focus_distance)):
            self._foci.append(focus)

    def is_staler(self, focus_distance: float, other: float) -> bool:
        """Whether the first focus was processed longer ago than the other. One that never was is as stale as can be.

        A node that takes the newest image whenever it is free, and is slower than the camera, may meet the same few
        foci of every sweep for ever. Taking the stalest instead leads it through all of them.
        """
        return self._age(vergence(focus_distance)) > self._age(vergence(other))

    def _age(self, focus: float) -> float:
        if not math.isfinite(focus):
            return -1  # of a broken lens state: the other one is better
        foci = list(self._foci)
        tolerance = _same_focus(foci)
        return next((age for age, seen in enumerate(reversed(foci)) if abs(seen - focus) <= tolerance), math.inf)


def _same_focus(foci: list[float]) -> float:
    """How far apart foci (vergences) may be and still count as one. A few false ones do not matter."""
    return SAME_FOCUS * float(np.ptp(np.percentile(foci, [10, 90]))) if foci else 0.0


class SweptFoci:
    """Counts the different foci of the last sweep, including its first one: the end of a ping-pong sweep belongs to
    both directions. A sweep ends when a focus returns; repeated frames of one focus do not count."""

    def __init__(self) -> None:
        self.last = 0
        self._sweep: list[float] = []  # vergences, of the sweep under way
        self._before = self._start = math.nan

    def add(self, focus: float, tolerance: float) -> None:
        def is_among(foci: list[float], focus: float) -> bool:
            return any(abs(focus - seen) <= tolerance for seen in foci)

        if not math.isfinite(focus) or is_among([self._before], focus):
            return
        if is_among(self._sweep, focus):
            starts_anew = math.isfinite(self._start) and not is_among(self._sweep, self._start)
            self.last = len(self._sweep) + starts_anew
            self._sweep, self._start = [], self._before
        self._sweep.append(focus)
        self._before = focus
        del self._sweep[:-MAX_SWEEP]


class FocusOrder:
    """The foci (vergences) of the last usable frames in the order of the camera, those that are dropped included."""

    def __init__(self) -> None:
        self._foci: deque[float] = deque(maxlen=WINDOW)

    def add(self, focus_distance: float) -> None:
        if math.isfinite(focus := vergence(focus_distance)):
            self._foci.append(focus)

    @property
    def is_repeated_ramp(self) -> bool:
        """Whether nearly always the same focus follows a focus, so that lens states a frame off fit the images as well
        as their own do. A node that drops frames takes the foci of such a ramp in another order."""
        foci = np.array(self._foci)
        if not len(foci) or not np.ptp(foci):
            return False
        bins = np.rint((foci - foci.min()) / np.ptp(foci) * FOCUS_BINS).astype(int)
        if len(bins) < MIN_VISITS * len(np.unique(bins)) or np.mean(bins[1:] != bins[:-1]) < 0.5:
            return False
        followers = np.zeros((FOCUS_BINS + 1, FOCUS_BINS + 1), int)
        np.add.at(followers, (bins[:-1], bins[1:]), 1)
        return followers.max(1).sum() >= SAME_FOLLOWER * followers.sum()


def frames_late(frames: int) -> str:
    """frames: negative = early."""
    return f'is stamped {plural(abs(frames), "frame")} {"late" if frames > 0 else "early"}'


class DepthHealth:
    """Counts what goes in, what comes out, and what does not with the reason. Callbacks and the worker share it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(received=0, unsettled=0, refused=0, resets=0)
        self.drops: Counter[str] = Counter({reason: 0 for reason in (BUSY, TOO_FAST, TOO_OLD, RESTING)})
        self.pairs, self._out, self._refused, self._dropped = (Window(SPAN) for _ in range(4))
        self._known: deque[float] = deque(maxlen=ENOUGH)
        self._confidence: deque[float] = deque(maxlen=ENOUGH)
        self._swept = SweptFoci()
        self._foci, self._resets = Window(SPAN), Window(MINUTE)
        self._images, self._lost_images = Window(SPAN), Window(SPAN)
        self._images_so_far = self._lost_so_far = 0
        self.latency = Window(SPAN)
        self.waiting, self.network, self.added = (Window() for _ in range(3))
        self.offset = FrameOffset()
        self.order = FocusOrder()
        self._refusal = self._lost_because = self._reset_reason = ''
        self._unknown_because = self._no_depth_because = ''
        self._frames = 0
        self._response = math.nan
        self._lag: int | None = None

    def add_pair(self) -> None:
        self.counts['received'] += 1
        self.pairs.add()

    def add_unsettled(self) -> None:
        self.counts['unsettled'] += 1
        self._lost_because = NEVER_SETTLED

    def drop(self, reason: str) -> None:
        """One of the reasons above."""
        self.drops[reason] += 1
        self._dropped.add()
        if reason in (TOO_FAST, TOO_OLD):
            self._lost_because = f'pairs are dropped because of {reason}'

    def refuse(self, reason: str) -> None:
        self.counts['refused'] += 1
        self._refused.add()
        self._refusal = self._lost_because = reason

    def add_reset(self, reason: str) -> None:
        self.counts['resets'] += 1
        self._resets.add()
        self._reset_reason = reason

    def note_evidence(self, evidence: Evidence) -> None:
        self._response, self._lag = evidence.response, evidence.lag

    def late_lens_states(self, delay: float) -> str:
        """Why lens states seem to be those of other frames; empty if they do not, or if the images confirm them. And
        the value of lens_state_delay (now: `delay`, s) that would fit.

        What the images show is certain. The time of arrival is not: an image may also take a frame longer than its lens
        state, and a ramp cannot distinguish the two, since the same focus follows each of its foci every time.
        """
        lag = self._shown_lag()
        if lag == 0:
            return ''
        if lag is not None:
            frames, seen = -lag, shown_by(lag)
            return f'{frames_late(frames)}: {seen}; {self._fitting(delay, frames)}'
        if not (frames := self.offset.frames):
            return ''
        return (
            f'pairs with the image {plural(abs(frames), "frame")} '
            f'{"after" if frames > 0 else "before"} the one it came with: is it stamped with the time of its image? '
            f'If not, {self._fitting(delay, frames)}; if so, trust_stamps'
        )

    def _shown_lag(self) -> int | None:
        """See `Evidence.lag`. A repeated ramp confirms nothing."""
        return None if self._lag == 0 and self.order.is_repeated_ramp else self._lag

    def _fitting(self, delay: float, frames: int) -> str:
        if not self.offset.period > 0:
            return 'correct its stamps'
        return f'correct its stamps, or set lens_state_delay to {delay + frames * self.offset.period:.3g} s'

    def add_frame(self, estimate: Estimate, focus_distance: float, threshold: float, left: float = math.nan) -> None:
        """left: share of the pixels that have depth after the filters; NaN = not known."""
        small = estimate.reduced
        known = ~np.isnan(small.depth) & (small.confidence >= threshold)
        count = np.count_nonzero(known)
        share = count / known.size
        self._out.add()
        self._known.append(min(share, share if math.isnan(left) else left))
        if share:
            # A tenth of the time of a mean with a mask, NumPy's or OpenCV's.
            self._confidence.append(float(np.vdot(small.confidence, known)) / count)
        self._foci.add(vergence(focus_distance))
        self._swept.add(vergence(focus_distance), max(_same_focus(self._foci.values), 1e-6))
        self._no_depth_because = estimate.unknown_because
        self._unknown_because = estimate.unknown_because or (
            'the filters edge_jump, speckle_size and out_of_range remove it'
            if left < share / 2
            else f'confidence is below confidence_threshold ({threshold:g}): {WHY_LOW}'
        )
        self._frames = estimate.frames

    def add_latency(self, seconds: float) -> None:
        """Time from a stamp to now; stamps of another clock say nothing."""
        if -1 < seconds < MAX_LATENCY:
            self.latency.add(seconds)

    def note_images(self, arrived: int, unpaired: int) -> None:
        """Totals so far, once a second."""
        self._images.add(arrived - self._images_so_far)
        self._lost_images.add(unpaired - self._lost_so_far)
        self._images_so_far, self._lost_so_far = arrived, unpaired

    def figures(self) -> dict[str, float | int | str]:
        median, p95, p99 = (1e3 * seconds for seconds in self.latency.percentiles(50, 95, 99))
        return {
            'rate in (Hz)': self.pairs.rate,
            'rate out (Hz)': self._out.rate,
            'latency, median (ms)': median,
            'latency, 95 % (ms)': p95,
            'latency, 99 % (ms)': p99,
            'waiting for the network (ms)': 1e3 * self.waiting.mean,
            'network (ms)': 1e3 * self.network.mean,
            'messages (ms)': 1e3 * self.added.mean,
            'received': self.counts['received'],
            'dropped': self.drops.total(),
            **{f'dropped: {reason}': count for reason, count in self.drops.items()},
            'not settled': self.counts['unsettled'],
            'refused': self.counts['refused'],
            'last refused because': self._refusal,
            'resets': self.counts['resets'],
            'last reset because': self._reset_reason,
            'frames since reset': self._frames,
            'focus positions': self._positions(),
            'focus positions in the last sweep': self._swept.last,
            'pixels with depth (%)': 100 * self._known_share(),
            'confidence of the depth': self._mean_confidence(),
            'response of the images to the focus': self._response,
            'frames from lens state to image, by arrival': self.offset.frames,
            'frames from lens state to image, by sharpness': 'unknown' if (lag := self._shown_lag()) is None else lag,
        }

    def _known_share(self) -> float:
        return statistics.fmean(self._known) if self._known else math.nan

    def _mean_confidence(self) -> float:
        return statistics.fmean(self._confidence) if self._confidence else math.nan

    def _positions(self) -> int:
        """Different foci in the last frames."""
        foci = sorted(self._foci.values)
        if not foci:
            return 0
        return 1 + int((np.diff(foci) > max(_same_focus(foci), 1e-6)).sum())

    def problem(self, limits: DepthParameters) -> str | None:
        """Why nothing comes out, or nothing good, in one line."""
        pairs, out = len(self.pairs.values), len(self._out.values)
        refused = len(self._refused.values)
        if pairs >= ENOUGH and not out:
            return f'no depth: {self._lost_because or "the network has not finished a frame yet"}'
        if pairs >= ENOUGH and refused > limits.max_refused * pairs:
            return f'{refused} of the last {pairs} pairs are refused: {self._refusal}'
        resets = len(self._resets.values)
        if resets > limits.max_resets:
            return f'the memory restarted {resets} times in the last minute: {self._reset_reason}'
        if out < ENOUGH:
            return None
        if self._known_share() < limits.min_known:
            return f'depth for {self._known_share():.0%} of the pixels: {self._unknown_because}'
        if self._no_depth_because:
            return self._no_depth_because
        if (positions := self._positions()) < limits.min_positions:
            return f'only {plural(positions, "focus position")} in the last {SPAN:g} s'
        return self._outside(limits)

    def remark(self) -> str | None:
        """What to look at although no limit is exceeded, in one line."""
        if len(self._out.values) < ENOUGH or not self._mean_confidence() < LOW_CONFIDENCE:
            return None
        return f'confidence of the depth is {self._mean_confidence():.2f} on average: {WHY_LOW}'

    def _outside(self, limits: DepthParameters) -> str | None:
        """The first figure that is outside its limit, in one line."""
        if self._out.rate < limits.min_rate:
            return f'{self._out.rate:.1f} depth images a second, less than min_rate ({limits.min_rate:g} Hz)'
        latency = self.latency.percentiles(95)[0]
        if limits.max_latency and latency > limits.max_latency:
            return f'latency is {latency:.3f} s (95 %), more than max_latency ({limits.max_latency:g} s)'
        dropped, pairs = len(self._dropped.values), len(self.pairs.values)
        if dropped > limits.max_dropped * pairs:
            return f'{dropped} of the last {pairs} pairs are dropped, more than the share max_dropped'
        if self._mean_confidence() < limits.min_confidence:
            return (
                f'confidence is {self._mean_confidence():.2f}, less than min_confidence ({limits.min_confidence:g}): '
                f'{WHY_LOW}'
            )
        return None

    def unpaired_share(self) -> float:
        """Of the images of the last seconds; 0 for a few."""
        images = self._images.total
        return self._lost_images.total / images if images >= ENOUGH else 0.0
