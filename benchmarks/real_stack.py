"""Agreement of the estimate with best focus by sharpness, on a real focal stack without ground truth.

    .venv/bin/python benchmarks/real_stack.py STACK

Where a surface has strong texture, the frame in which it is sharpest reveals its depth without a network at all:

* Sharpness of a frame is the local energy (Gaussian window) of its band-passed grey image, measured in the frame
  itself and then brought into the view of the last frame: the lens breathes, and the estimate is in that view.
* A pixel counts as textured where the sharpest frame stands out: its energy is more than `--contrast` times that
  of the most blurred frame, and above a floor that noise does not reach.
* The estimate agrees where the position of its u among the focus distances of the frames (a fractional number of
  a frame) is within one frame of the sharpest one.
* Agreement is the mean over the frames of the agreement on the pixels that are sharpest in that frame: each
  frame's pixels count the same, however few. So a constant depth gets three frames of all, 0.3 of ten.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.geometry import Similarity
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.registration import Registration

TOLERANCE = 1.0  # frames
CONTRAST = 8.0  # of energies
FLOOR = 2.0  # of energy, square grey levels of 255
MIN_PIXELS = 200  # of a frame, for its agreement to mean something
MARGIN = 16  # px at the border of any frame, where windows and registration are not to be trusted


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stack', metavar='STACK', type=Path, help='folder with images and stack.yaml')
    parser.add_argument('--sweeps', type=int, default=1, help='read the stack N times')
    parser.add_argument('--contrast', type=float, default=CONTRAST, help='of sharpest against most blurred frame')
    parser.add_argument('--window', type=float, default=4.0, help='standard deviation of the window, px')
    parser.add_argument(
        '--resolution',
        type=int,
        default=640,
        help='longer side that the network sees; 0: all (default: 640, as for dfd estimate)',
    )
    parser.add_argument('--weights', type=Path, help='(default: those that ship with the package)')
    parser.add_argument('--network', help='best_focus or variational, which take no weights')
    parser.add_argument(
        '--no-registration',
        dest='registration',
        action='store_false',
        help='of the estimator; the sharpness is always registered',
    )
    parser.add_argument('--picture', metavar='FILE', type=Path, help='write both maps side by side')
    options = parser.parse_args(arguments)
    stack = FocalStack.read(options.stack)
    range_ = stack.range
    positions = np.array([range_.normalise(state.focus_distance) for state in stack.lens_states])

    sharpest, textured = best_focus(stack.images, options.window, options.contrast)
    estimator = DepthEstimator(
        options.weights,
        network=options.network,
        range_=range_,
        resolution=options.resolution or None,
        registration=options.registration,
    )
    estimate = estimator.estimate_stack(stack, options.sweeps)

    order = np.argsort(positions)
    frame = np.interp(estimate.vergence, positions[order], np.arange(len(order)))
    rank = np.empty(len(order), int)  # by focus: neighbours in focus need not be neighbours in time
    rank[order] = np.arange(len(order))
    agrees = np.abs(frame - rank[sharpest]) <= TOLERANCE
    report(stack, sharpest, textured, agrees, rank)
    if options.picture:
        write_picture(options.picture, stack, estimate, positions[sharpest], textured, agrees)
    return 0


def sharpness(image: np.ndarray, window: float) -> np.ndarray:
    """(H, W) local energy of a band-passed image, square grey levels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    band = cv2.GaussianBlur(grey, (0, 0), 0.7) - cv2.GaussianBlur(grey, (0, 0), 2.0)
    return cv2.GaussianBlur(band * band, (0, 0), window)


def to_last_view(images: list[np.ndarray]) -> list[Similarity]:
    """For each frame, what maps pixels of the last frame to it."""
    registration = Registration()
    steps = [registration.push(image) for image in images]  # each maps to the frame before
    result = [Similarity()]
    for step in reversed(steps[1:]):
        result.append(step @ result[-1])
    return result[::-1]


def best_focus(images: list[np.ndarray], window: float, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """The index of the sharpest frame (H, W), in the view of the last, and where that means something."""
    height, width = images[0].shape[:2]
    inside = np.zeros((height, width), np.float32)
    inside[MARGIN:-MARGIN, MARGIN:-MARGIN] = 1
    energies, in_view = [], inside > 0
    brightness = [float(image.mean()) for image in images]
    for image, similarity, bright in zip(images, to_last_view(images), brightness):

        def warp(map_):
            return cv2.warpAffine(
                map_, similarity.matrix(height, width), (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )

        # Exposure differs between frames: so does energy, by the square.
        energies.append(warp(sharpness(image, window)) * (np.median(brightness) / bright) ** 2)
        in_view &= warp(inside) > 0.5
    energy = np.stack(energies)
    peak = energy.max(0)
    textured = (peak > contrast * energy.min(0)) & (peak > FLOOR) & in_view
    return energy.argmax(0), textured


def report(stack: FocalStack, sharpest: np.ndarray, textured: np.ndarray, agrees: np.ndarray, rank: np.ndarray) -> None:
    from dfd_ros.core.markdown_table import table

    rows, shares, counted = [], [], []
    for i in np.argsort(rank):
        pixels = textured & (sharpest == i)
        share = float(agrees[pixels].mean()) if pixels.any() else math.nan
        enough = pixels.sum() >= MIN_PIXELS
        if enough:
            shares.append(share)
            counted.append(rank[i])
        rows.append(
            [
                i,
                f'{stack.lens_states[i].focus_distance:.3g}',
                int(pixels.sum()),
                f'{share:.3f}' if enough else f'({share:.3f}, too few)',
            ]
        )
    if not shares:
        raise InputError(f'{stack.name}: no frame has {MIN_PIXELS} textured pixels, nothing to compare with')
    constant = max(np.mean(np.abs(np.array(counted) - c) <= TOLERANCE) for c in range(len(stack)))
    print(table(['frame', 'focus m', 'textured pixels sharpest in it', 'agreement'], rows))
    print(
        f"\nagreement with best focus, each frame's pixels counting the same: {np.mean(shares):.3f}"
        f'   (the best constant: {constant:.3f})'
        f'\nof all textured pixels alike: {agrees[textured].mean():.3f}; textured are {textured.mean():.0%}'
    )


def write_picture(
    path: Path, stack: FocalStack, estimate, best: np.ndarray, textured: np.ndarray, agrees: np.ndarray
) -> None:
    from dfd_ros.drawing import visualise

    range_ = stack.range
    seen = visualise.colour(np.where(textured, best, np.nan))
    wrong = visualise.colour(np.where(textured, ~agrees, np.nan).astype(float), 'inferno')
    panels = [
        [
            visualise.Panel(stack.images[-1], 'last frame'),
            visualise.Panel(visualise.depth_picture(estimate.depth, range_), 'estimate'),
        ],
        [
            visualise.Panel(seen, 'best focus by sharpness', visualise.Bar.depth(range_)),
            visualise.Panel(wrong, 'bright: more than a frame apart'),
        ],
    ]
    visualise.write_picture(path, visualise.sheet(panels, 'agreement with best focus', stack.name))


if __name__ == '__main__':
    from _common import exit_with

    exit_with(main)
