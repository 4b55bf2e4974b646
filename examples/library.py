"""Depth of a focal stack in Python: of the whole stack, and frame by frame as from a camera.

    python examples/library.py [STACK]

STACK: a folder of photographs, a folder with a stack.yaml, a video of a focus pull, or a TIFF file with pages.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from dfd_ros import DepthEstimator, read_focal_stack

EXAMPLE = Path(__file__).parent / 'push_button'


def main() -> None:
    parser = argparse.ArgumentParser(description='Depth of a focal stack.')
    parser.add_argument('stack', nargs='?', default=EXAMPLE, type=Path)
    parser.add_argument('--weights', type=Path, help='weights file (default: the ones included)')
    args = parser.parse_args()

    stack = read_focal_stack(args.stack)
    print(f'{len(stack)} frames; {stack.focus_source}')
    estimator = DepthEstimator(args.weights, all_in_focus=True)

    # A whole stack, in the view of its last frame.
    estimate = estimator.estimate_stack(stack)
    trusted = estimate.confidence >= 0.3
    if not trusted.any():
        print('nothing is known with a confidence of 0.3 or more')
    elif stack.is_metric:
        print(f'median depth {np.median(estimate.depth[trusted]):.3g} m, {trusted.mean():.0%} of the pixels trusted')
    else:  # no focus distances, no metres: 0 is the farthest focus, 1 the nearest
        nearest, farthest = np.quantile(estimate.vergence[trusted], [0.98, 0.02])
        print(f'relative depth {farthest:.2f} to {nearest:.2f}, {trusted.mean():.0%} of the pixels trusted')

    # The same as from a camera that delivers one frame after the other. near and far are the limits of the sweep.
    estimator.reset()
    for number, (image, lens_state) in enumerate(stack, 1):
        lens_state = replace(lens_state, near=stack.range.near, far=stack.range.far)
        estimate = estimator.push(image, lens_state)
        print(f'after frame {number}: confidence {estimate.confidence.mean():.2f}')


if __name__ == '__main__':
    main()
