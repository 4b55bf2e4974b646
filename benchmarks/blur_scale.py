"""How well the blur scale of an unknown aperture is found, and what it is worth.

    python benchmarks/blur_scale.py --data field --stacks 20

Takes the stacks of a set of `dfd evaluate` whose lens is known, and hides the aperture. Prints the error of the blur
scale that the estimator finds, and MAE of u and accuracy with the true aperture, with the blur scale that is found,
and with none.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from _common import check, exit_with, machine
from tqdm import tqdm

from dfd_ros import DepthEstimator, networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.evaluation.evaluation_stacks import counted, find_procedural_set, procedural_stacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='field', help='a set of dfd evaluate, such as field, real or rooms:DIR')
    parser.add_argument('--stacks', type=int, default=20, help='stacks whose lens is known (default: 20)')
    parser.add_argument('--frames', type=int, default=5, help='frames of each, one sweep (default: 5)')
    parser.add_argument('--weights', type=Path, help='(default: those that ship)')
    options = parser.parse_args()
    check(options, stacks=1, frames=2)
    found_set = find_procedural_set(options.data)
    if found_set is None:
        raise InputError(f'--data {options.data}: give a set that is rendered, such as field, real or rooms:DIR')

    name, folder = found_set
    samples = procedural_stacks(name, 10 * options.stacks, options.frames, folder=folder)
    known = (sample for sample in samples if math.isfinite(_blur_scale(sample)))
    weights = options.weights or networks.default_weights()
    searching, told_nothing = (DepthEstimator(network=networks.load(weights)) for _ in range(2))
    told_nothing._backend.reads_blur_scale = False
    errors, rows = [], {'true': [], 'found': [], 'none': []}
    for sample in tqdm(itertools.islice(known, options.stacks), total=options.stacks):
        hidden = replace(sample, lens_states=[replace(state, f_number=math.nan) for state in sample.lens_states])
        rows['true'].append(_figures(searching, sample))
        rows['none'].append(_figures(told_nothing, hidden))
        rows['found'].append(_figures(searching, hidden))
        errors.append(math.log(searching.found_blur_scale / _blur_scale(sample)))

    print(f'\n{machine()}\n{options.data}, {len(errors)} stacks of {options.frames} frames\n')
    found = np.abs([error for error in errors if math.isfinite(error)])
    factor = np.exp(np.quantile(found, [0.5, 0.9]))
    print(f'blur scale found in {len(found)}; off by a factor of {factor[0]:.2f} (median), {factor[1]:.2f} (90 %)\n')
    print('blur scale   MAE of u   accuracy')
    for how, figures in rows.items():
        mae, accuracy = np.mean(figures, 0)
        print(f'{how:10}   {mae:8.4f}   {accuracy:6.1f} %')


def _blur_scale(sample: Sample) -> float:
    state = sample.lens_states[0]
    return state.lens.blur_scale(state.range or sample.range)


def _figures(estimator: DepthEstimator, sample: Sample) -> tuple[float, float]:
    """MAE of u, and accuracy (delta 1.25, %) after the last frame."""
    estimate = estimator.estimate_stack(sample.to_focal_stack())
    depth, range_ = sample.depth[-1], sample.lens_states[0].range or sample.range
    mask = counted(sample, -1) & np.isfinite(estimate.depth)
    ratio = estimate.depth[mask] / depth[mask]
    error = np.abs(estimate.vergence[mask] - range_.normalise(depth[mask].astype(np.float64)))
    return float(error.mean()), 100 * float((np.maximum(ratio, 1 / ratio) < 1.25).mean())


if __name__ == '__main__':
    exit_with(main)
