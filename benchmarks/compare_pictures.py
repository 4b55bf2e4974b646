"""Depth of several networks on the same test stacks, side by side, as one picture.

    dfd render --world hospital.world --models models --out data/hospital --views 24
    .venv/bin/python benchmarks/compare_pictures.py --data rooms:data/hospital --stacks 0,3,5 --out rooms.jpg \
        before=old.safetensors now=weights/stream.safetensors variational

A row for each stack: its last image, true depth, then depth and confidence of each network after one sweep. Networks
are weights files or names without weights, TITLE= before them gives the title.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from _common import exit_with

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.drawing.visualise import Bar, Panel, confidence_picture, depth_picture, sheet, write_picture
from dfd_ros.evaluation.evaluation_stacks import find_procedural_set, procedural_stacks
from dfd_ros.inference.estimator import DepthEstimator


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', metavar='[TITLE=]NETWORK', nargs='+')
    parser.add_argument('--data', default='real', help='a test set of dfd evaluate: field, real, rooms:DIR, ...')
    parser.add_argument('--stacks', default='0,1,2', help='which of its stacks, counted from 0')
    parser.add_argument('--size', type=int, default=256, help='image side, px')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args(arguments)
    data = find_procedural_set(options.data)
    if data is None:
        raise InputError(f'--data {options.data}: no procedural test set of dfd evaluate')
    chosen = [int(number) for number in options.stacks.split(',')]
    estimators = [_estimator(network) for network in options.networks]
    samples = islice(procedural_stacks(data[0], max(chosen) + 1, 5, options.size, 5, data[1]), max(chosen) + 1)
    rows = [_row(sample, estimators) for i, sample in enumerate(samples) if i in chosen]
    write_picture(options.out, sheet(rows, width=1800))
    print(options.out)
    return 0


def _estimator(text: str) -> tuple[str, DepthEstimator]:
    title, _, network = text.rpartition('=')
    is_file = network.endswith('.safetensors')
    estimator = DepthEstimator(weights=network) if is_file else DepthEstimator(network=network)
    return title or Path(network).stem, estimator


def _row(sample, estimators: list[tuple[str, DepthEstimator]]) -> list[Panel]:
    stack, range_ = FocalStack(sample.images, sample.lens_states), sample.lens_states[0].range or sample.range
    clipped = np.clip(sample.depth[-1], range_.near, range_.far)
    row = [
        Panel(stack.images[-1], 'last image'),
        Panel(depth_picture(clipped, range_), 'true depth', Bar.depth(range_)),
    ]
    for title, estimator in estimators:
        estimate = estimator.estimate_stack(stack)
        row.append(Panel(depth_picture(estimate.depth, range_), title))
        row.append(Panel(confidence_picture(estimate.confidence), 'its confidence'))
    return row


if __name__ == '__main__':
    exit_with(main)
