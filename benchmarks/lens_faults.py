"""Which lenses that do not follow their lens states the estimator notices, before moving cameras.

    .venv/bin/python benchmarks/lens_faults.py

Three tables: alarms in streams of the sets `field` and `real` (a motor that is stuck, lens states of other frames, none
of it); depth after the focus has come to rest; what the check costs a frame.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from _common import check, exit_with, frames, machine, network, timed
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core import sweeps
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.markdown_table import table
from dfd_ros.core.optics import VergenceRange
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.evaluation.evaluation_stacks import SETS
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.evidence import ONE_FOCUS, Evidence
from dfd_ros.inference.focus_response import FocusResponse
from dfd_ros.networks.network import Prediction
from dfd_ros.synthesis.procedural import render_stack

FIRST_SEED = 2_200_000_000
SIZE = 160
STEPS = 5
UNIT = VergenceRange(1.0, math.inf)  # its vergences are v
PATTERNS: dict[str, Callable[[int], list[float]]] = {
    'ramp': lambda ramps: sweeps.ramp(UNIT, STEPS) * ramps,
    'ping_pong': lambda ramps: sweeps.ping_pong(UNIT, STEPS, 2 * ramps)[: STEPS * ramps],
    'jumps': lambda ramps: sweeps.jumps(UNIT, STEPS, ramps),
}
FAULTS: dict[str, Callable[[list[float], int], list[float]]] = {
    'none': lambda stated, seed: stated,
    'stuck': lambda stated, seed: [stated[seed % STEPS]] * len(stated),
    'lens states a frame late': lambda stated, seed: np.roll(stated, -1).tolist(),
    'lens states a frame early': lambda stated, seed: np.roll(stated, 1).tolist(),
}
"""The foci that the images show, from those that the lens states state."""
REST_SWEEPS, REST_FRAMES, REST_RATE, REST_SPAN = 4, 60, 5.0, 2.0  # frames, Hz, s


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--streams', type=int, default=4, help='of each set, fault and order; 0: no table of alarms')
    parser.add_argument('--ramps', type=int, default=10, help=f'of {STEPS} frames, in each stream')
    parser.add_argument('--rests', type=int, default=3, help='streams of each set that come to rest; 0: no table')
    options = parser.parse_args(arguments)
    check(options, streams=0, ramps=5, rests=0)
    torch.set_num_threads(1)
    print(machine())
    if options.streams:
        print(alarms(options.streams, options.ramps))
    if options.rests:
        print(rests(options.rests))
    print(cost())
    return 0


class Constant(networks.Network):
    """Depth costs nothing where it is of no interest."""

    def forward(self, image, focus, blur_scale, *state):
        u = image[:, :1] * 0 + 0.5
        return Prediction(u, u * 0 - 3, u * 0), u[..., ::8, ::8]


def stream(name: str, seed: int, stated: list[float], shown: list[float]) -> Sample:
    """A stream of a set, before a moving camera."""
    size = {'height': SIZE, 'width': SIZE, 'frames': len(shown), 'split': 'test', 'breathing_residual': None}
    batch = render_stack(FIRST_SEED + seed, SETS[name](**size), foci=shown)
    # A lens that lies does so about its magnification too; without one, the images are registered by themselves.
    unknown = torch.full_like(batch.magnification, math.nan)
    return to_sample(replace(batch, focus=torch.tensor([stated]), magnification=unknown), f'{name} {seed}')


def foci(pattern: str, ramps: int) -> list[float]:
    return [UNIT.normalise(focus) for focus in PATTERNS[pattern](ramps)]


def alarms(streams: int, ramps: int) -> str:
    rows = []
    for name in ('field', 'real'):
        for fault, shows in FAULTS.items():
            for pattern in PATTERNS:
                noticed, first = [], []
                for seed in tqdm(range(streams), desc=f'{name}, {fault}, {pattern}', leave=False):
                    stated = foci(pattern, ramps)
                    sample = stream(name, seed, stated, shows(stated, seed))
                    raised = np.array([bool(reason) for reason in reasons(sample)])
                    noticed.append(raised.reshape(ramps, STEPS).any(1))
                    first += [int(raised.argmax()) + 1] if raised.any() else []
                rows.append(
                    [
                        name,
                        fault,
                        pattern,
                        len(noticed),
                        f'{np.mean([sweep.any() for sweep in noticed]):.0%}',
                        f'{np.mean(noticed):.1%}',
                        f'{np.median(first):.0f}' if first else '-',
                    ]
                )
    header = ['set', 'fault', 'sweep', 'streams', 'with an alarm', 'sweeps with an alarm', 'first at frame']
    return '\nalarms\n\n' + table(header, rows)


def reasons(sample: Sample) -> Iterator[str]:
    """Why the estimator gives no depth, after each frame but for those that have seen one focus."""
    estimator = DepthEstimator(network=Constant())
    for image, state in zip(sample.images, sample.lens_states):
        reason = estimator.push(image, replace(state, stamp=math.nan)).unknown_because
        yield '' if reason == ONE_FOCUS else reason


def rests(streams: int) -> str:
    """Depth in the seconds after the last sweep."""
    known: dict[int, list[float]] = {}
    error: dict[int, list[float]] = {}
    shipped = network(None)
    for name in ('field', 'real'):
        for seed in tqdm(range(streams), desc=f'{name}, rests', leave=False):
            swept = foci('ramp', REST_SWEEPS)
            shown = swept + [swept[seed % STEPS]] * REST_FRAMES
            sample = stream(name, seed, shown, shown)
            estimator = DepthEstimator(network=shipped)
            for i, (image, state) in enumerate(zip(sample.images, sample.lens_states)):
                estimate = estimator.push(image, replace(state, stamp=i / REST_RATE))
                span = math.floor((i - len(swept)) / REST_RATE / REST_SPAN) if i >= len(swept) else -1
                if i < len(swept) - STEPS:
                    continue
                depth, truth = estimate.masked_depth(0.3), sample.depth[i]
                both = np.isfinite(depth) & np.isfinite(truth)
                known.setdefault(span, []).append(float(np.isfinite(depth).mean()))
                if both.any():
                    error.setdefault(span, []).append(float(np.median(abs(depth - truth)[both] / truth[both])))
    rows = [
        [
            'the last sweep' if span < 0 else f'{REST_SPAN * span:g} to {REST_SPAN * (span + 1):g}',
            f'{np.mean(known[span]):.0%}',
            f'{np.mean(error[span]):.1%}' if span in error else '-',
        ]
        for span in sorted(known)
    ]
    return f'\nfocus at rest, {2 * streams} streams\n\n' + table(
        ['s of rest', 'pixels with depth', 'median relative error'], rows
    )


class Anew(FocusResponse):
    """The same, but each frame compares all of the window."""

    def _fit(self) -> None:
        self._normal[:], self._products[:], self._total = 0, 0, 0.0
        for row in self._rows:
            self._add(1, *row)
        super()._fit()

    def push(self, image: torch.Tensor, focus: float, motion: Similarity) -> None:
        super().push(image, focus, motion)
        if self._rows:
            self._fit()


def cost() -> str:
    """Of a frame of 640x480, on one thread."""
    stream_, estimator, evidence, anew = frames(480, 640), DepthEstimator(network=network(None)), Evidence(), Evidence()
    anew._response = Anew()
    times: dict[str, list[float]] = {'estimator': [], 'evidence': [], 'evidence, compared anew': []}
    motion = Similarity(dx=0.5)
    for i in range(140):
        image, state = next(stream_)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        focus = state.range.normalise(state.focus_distance) if state.range else 0.0

        def judge(by: Evidence, tensor=tensor, focus=focus) -> None:
            by.push(tensor, focus, 20.0, motion)
            by.seen()

        if i < 20:
            times['estimator'].append(timed(lambda: estimator.push(image, state))[1])
        times['evidence'].append(timed(lambda: judge(evidence))[1])
        times['evidence, compared anew'].append(timed(lambda: judge(anew))[1])
    ours = float(np.median(times['evidence'][70:]))
    rows = [[name, f'{np.median(t[-70:]):.2f}', f'{np.median(t[-70:]) / ours:.1f}'] for name, t in times.items()]
    return '\ncost, 640x480, one thread\n\n' + table(['', 'median CPU time a frame, ms', 'times evidence'], rows)


if __name__ == '__main__':
    exit_with(main)
