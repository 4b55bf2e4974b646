"""How well the blur scale of an unknown aperture is found, and what it is worth.

    python benchmarks/blur_scale.py --data field --stacks 20

Takes the stacks of a set of `dfd evaluate` whose lens is known, and hides the aperture. Prints the error of the blur
scale that the estimator finds, and MAE of u and accuracy with the true aperture, with the blur scale that is found,
and with none: of all pixels, of those at most 32 px from where sharpness visibly changes with the focus, and of the
others, which show no blur.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from _common import check, exit_with, machine
from tqdm import tqdm

from dfd_ros import DepthEstimator, networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.sample import Sample
from dfd_ros.evaluation.evaluation_stacks import counted, find_procedural_set, procedural_stacks
from dfd_ros.inference.backends import to_tensor
from dfd_ros.networks.stream import focus_measures

REACH = 32  # px
VISIBLE = 0.35  # change of the log energy, smoothed over `SMOOTHED` px; noise changes it by about 0.15
SMOOTHED = 9


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
    errors, shares = [], []
    rows: dict[str, list] = {'true': [], 'found': [], 'none': []}
    for sample in tqdm(itertools.islice(known, options.stacks), total=options.stacks):
        hidden = replace(sample, lens_states=[replace(state, f_number=math.nan) for state in sample.lens_states])
        shows_blur = _shows_blur(sample)
        rows['true'].append(_figures(searching, sample, shows_blur))
        rows['none'].append(_figures(told_nothing, hidden, shows_blur))
        rows['found'].append(_figures(searching, hidden, shows_blur))
        shares.append(float(shows_blur.mean()))
        errors.append(math.log(searching.found_blur_scale / _blur_scale(sample)))

    print(f'\n{machine()}\n{options.data}, {len(errors)} stacks of {options.frames} frames\n')
    found = np.abs([error for error in errors if math.isfinite(error)])
    print(f'blur scale found in {len(found)}')
    if len(found):
        factor = np.exp(np.quantile(found, [0.5, 0.9]))
        print(f'off by a factor of {factor[0]:.2f} (median), {factor[1]:.2f} (90 %)')
    share = 1 - np.mean(shares)
    print(f'\n             all                     near visible blur       elsewhere ({share:.0%} of the pixels)')
    print('blur scale ' + '    MAE of u   accuracy' * 3)
    for how, figures in rows.items():
        print(f'{how:11}' + ''.join(f'{mae:12.4f} {accuracy:8.1f} %' for mae, accuracy in np.nanmean(figures, 0)))


def _blur_scale(sample: Sample) -> float:
    state = sample.lens_states[0]
    return state.lens.blur_scale(state.range or sample.range)


def _shows_blur(sample: Sample) -> np.ndarray:
    """(H, W) bool: pixels within `REACH` of those whose sharpness changes over the frames."""
    images = torch.cat([to_tensor(image, torch.device('cpu')) for image in sample.images])
    height, width = images.shape[-2:]
    images = images[..., : height // 16 * 16, : width // 16 * 16]
    energy = focus_measures(images)[1][:, :2]  # at 1/4; coarser bands see strong edges from afar
    change = (energy.amax(0) - energy.amin(0)).amax(0).numpy()
    change = cv2.blur(cv2.resize(change, (width, height), interpolation=cv2.INTER_NEAREST), (SMOOTHED, SMOOTHED))
    if not (change >= VISIBLE).any():
        return np.zeros((height, width), bool)
    return cv2.distanceTransform((change < VISIBLE).astype(np.uint8), cv2.DIST_L2, 5) <= REACH


def _figures(estimator: DepthEstimator, sample: Sample, shows_blur: np.ndarray) -> list[tuple[float, float]]:
    """MAE of u, and accuracy (delta 1.25, %) after the last frame, of all pixels, those that show blur, and others."""
    estimate = estimator.estimate_stack(sample.to_focal_stack())
    depth, range_ = sample.depth[-1], sample.lens_states[0].range or sample.range
    known = counted(sample, -1) & np.isfinite(estimate.depth)
    figures = []
    for mask in (known, known & shows_blur, known & ~shows_blur):
        if not mask.any():
            figures.append((math.nan, math.nan))
            continue
        ratio = estimate.depth[mask] / depth[mask]
        error = np.abs(estimate.vergence[mask] - range_.normalise(depth[mask].astype(np.float64)))
        figures.append((float(error.mean()), 100 * float((np.maximum(ratio, 1 / ratio) < 1.25).mean())))
    return figures


if __name__ == '__main__':
    exit_with(main)
