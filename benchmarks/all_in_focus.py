"""How close the all-in-focus image comes to the truth, beside the frames and the pixel-wise sharpest of a sweep.

    .venv/bin/python benchmarks/all_in_focus.py
    .venv/bin/python benchmarks/all_in_focus.py --views data/hospital

The truth is rendered with the aperture closed, in the view and exposure of each frame, without noise. The pixel-wise
sharpest takes each pixel from that frame of the last sweep with the largest squared Laplacian around it, brought into
the view by the same registration and to the same exposure. Then the time per frame at 640x480.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from _common import check, exit_with, frames, machine, network
from tqdm import tqdm

from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.markdown_table import table
from dfd_ros.datasets.stack_batch import to_sample
from dfd_ros.inference.all_in_focus import AllInFocus
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.inference.registration import Registration
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.processing import CameraSettings

FIRST_SEED = 2_100_000_000
METHODS = ('frame as it is', 'pixel-wise sharpest', 'all in focus')


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stacks', type=int, default=8, help='of each set')
    parser.add_argument('--sweep', type=int, default=6, help='frames of a sweep; a stack has two')
    parser.add_argument('--size', type=int, default=256, help='px, sides of the images')
    parser.add_argument('--views', metavar='DIR', help='also photographs of the views in this folder')
    parser.add_argument('--weights', type=Path, help='default: those that ship, or random ones')
    parser.add_argument('--timed-frames', type=int, default=40, help='of 640x480; 0: do not measure time')
    options = parser.parse_args(arguments)
    check(options, stacks=0, sweep=2, size=64, timed_frames=0)
    print(machine())
    if options.stacks:
        estimator = DepthEstimator(network=network(options.weights), all_in_focus=True)
        rows = [
            row
            for name, settings in sets_of(options.sweep, options.size, options.views).items()
            for row in measure(name, settings, options.stacks, options.sweep, estimator)
        ]
        print(table(['set', 'image', 'PSNR dB, SSIM after a sweep', 'in the second sweep'], rows))
    if options.timed_frames:
        print(f'640x480: {timing(options.timed_frames)}')
    return 0


def sets_of(sweep: int, size: int, views: str | None) -> dict[str, StackSettings]:
    common = dict(split='test', frames=2 * sweep, ramp=(sweep, sweep), height=size, width=size, breathing_residual=None)
    sets = {
        name: StackSettings.real(static=static, camera=CameraSettings(), **common)
        for name, static in (('still', 1.0), ('moving', 0.0))
    }
    if views:
        rooms = dict(views=views, views_share=1.0, **common)
        sets['rooms, still'] = StackSettings.field(**(rooms | dict(static=1.0, breathing=0.0)))
        sets['rooms, moving'] = StackSettings.field(**rooms)
    return sets


def measure(
    name: str, settings: StackSettings, stacks: int, sweep: int, estimator: DepthEstimator
) -> list[list[object]]:
    """Rows of the table: mean PSNR and SSIM of each method."""
    first: dict[str, list] = {method: [] for method in METHODS}
    later: dict[str, list] = {method: [] for method in METHODS}
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + stacks), desc=name, unit='stack'):
        sample = to_sample(render_stack(seed, settings), f'{name} {seed}')
        truth = render_stack(seed, settings, all_in_focus=True).images[0].permute(0, 2, 3, 1).numpy()
        estimator.reset()
        sharpest = PixelwiseSharpest(sweep)
        for i, (image, state) in enumerate(zip(sample.images, sample.lens_states)):
            images = image, sharpest.push(image, state), estimator.push(image, state).all_in_focus
            for method, found in zip(METHODS, images):
                if i >= sweep - 1:
                    (first if i == sweep - 1 else later)[method].append((psnr(found, truth[i]), ssim(found, truth[i])))
    return [
        [name, method, *('{:.1f}, {:.3f}'.format(*np.mean(part[method], 0)) for part in (first, later))]
        for method in METHODS
    ]


class PixelwiseSharpest:
    """Of the last frames, in the view of the newest."""

    def __init__(self, frames: int) -> None:
        self._registration, self._magnification = Registration(), math.nan
        self._frames: deque[tuple[np.ndarray, np.ndarray, Similarity]] = deque(maxlen=frames)

    def push(self, image: np.ndarray, state: LensState) -> np.ndarray:
        motion = self._registration.push(image, self._magnification / state.magnification)
        self._magnification = state.magnification
        moved = [(earlier, energy, view @ motion) for earlier, energy, view in self._frames]
        self._frames.clear()
        self._frames.extend(moved)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        energy = cv2.GaussianBlur(cv2.Laplacian(grey, cv2.CV_32F) ** 2, (0, 0), 2)
        self._frames.append((image, energy, Similarity()))
        height, width = grey.shape
        images: list[np.ndarray] = []
        energies: list[np.ndarray] = []
        for earlier, energy, view in self._frames:
            matrix = view.matrix(height, width)
            for found, picture, flags in ((images, earlier, cv2.INTER_CUBIC), (energies, energy, cv2.INTER_LINEAR)):
                found.append(
                    cv2.warpAffine(
                        picture,
                        matrix,
                        (width, height),
                        flags=flags | cv2.WARP_INVERSE_MAP,
                        borderMode=cv2.BORDER_REFLECT,
                    )
                )
        exposed = [np.clip(x * (image.mean((0, 1)) / x.mean((0, 1))), 0, 255).round().astype(np.uint8) for x in images]
        sharpest = np.argmax(energies, 0)[None, ..., None]
        return np.take_along_axis(np.stack(exposed), sharpest, 0)[0]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(cv2.PSNR(image, truth))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Of the grey images: Wang et al., "Image quality assessment", IEEE Trans. Image Processing 13 (2004)."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    a, b = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32) for x in (image, truth))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variances, covariance = mean(a * a) + mean(b * b) - mean_a**2 - mean_b**2, mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2))[5:-5, 5:-5].mean())


def timing(count: int) -> str:
    """Time of a frame, without the network: of a camera that stands still, and of one that moves."""
    unknown = np.full((480, 640), 4, np.float32), np.full((480, 640), 0.8, np.float32)
    stream = frames(480, 640)
    first = next(stream)[0]

    def still(fusion: AllInFocus, i: int) -> None:
        fusion.push(first, i % 9 / 9, Similarity(), *unknown)

    def moving(fusion: AllInFocus, i: int) -> None:
        fusion.push(np.roll(first, i, 1), i % 9 / 9, Similarity(dx=-1.0), *unknown)

    return ', '.join(f'{push.__name__} {median_ms(push, count)}' for push in (still, moving))


def median_ms(push: Callable[[AllInFocus, int], None], count: int) -> str:
    fusion, wall, cpu = AllInFocus(), [], []
    for i in range(count):
        start, start_cpu = time.perf_counter(), time.process_time()
        push(fusion, i)
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - start_cpu))
    return f'{np.median(wall):.1f} ms a frame (processor time of all threads {np.median(cpu):.1f} ms)'


if __name__ == '__main__':
    exit_with(main)
