"""How far the points of the depth node are from the geometry of the synthetic scene, and what they cost.

    .venv/bin/python benchmarks/point_cloud.py

The synthetic camera sweeps and moves as in `dfd demo`. The estimator's depth of every frame after the first sweeps
becomes a cloud, and so does the true depth; the error is the distance between the two points of a pixel. Beside it,
how far the network is off: its u (vergence scaled to 0..1 over the range), and what u would have to be right to for
an error of 10 mm at that distance; by scene, distance, distance to depth edges, and contrast of the image (0 to 255).
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from _common import machine
from std_msgs.msg import Header

from dfd_ros.cameras.synthetic_source import SyntheticSource
from dfd_ros.core import sweeps
from dfd_ros.core.markdown_table import table
from dfd_ros.inference import depth_filters
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.ros.messages import camera_info
from dfd_ros.ros.node_parameters import DepthParameters
from dfd_ros.ros.point_clouds import to_point_cloud
from dfd_ros.ros.rectification import rectification

RATE = 10.0  # Hz
FARTHEST = 1.0  # m
ASKED = 0.01  # m
EDGE = 0.02  # of u
AROUND = 9  # px


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scenes', type=int, default=3)
    parser.add_argument('--steps', type=int, default=5, help='focus distances of a sweep')
    parser.add_argument('--sweeps', type=int, default=4, help='the first two are not counted')
    parser.add_argument('--confidence', type=float, default=DepthParameters().confidence_threshold)
    parser.add_argument('--edge-jump', type=float, default=0.0, help='filter, as the parameter of the depth node')
    parser.add_argument('--speckle-size', type=int, default=0, help='the same')
    parser.add_argument('--weights', type=Path, help='default: those that ship')
    options = parser.parse_args(arguments)
    print(machine(), end='\n\n')
    errors = [errors_of(seed, options) for seed in range(options.scenes)]
    print(error_table(errors))
    print(cost_table())
    return 0


def errors_of(seed: int, options: argparse.Namespace) -> np.ndarray:
    """(N, 5), of all points of a scene that are given: true depth and distance of the two points, m; error of u;
    distance to the nearest depth edge, px; contrast of the image around."""
    estimator, source = DepthEstimator(options.weights, device='cpu'), SyntheticSource(seed=seed, desk=False)
    found = []
    focus = sweeps.ramp(SyntheticSource.RANGE, options.steps) * options.sweeps
    for i, distance in enumerate(focus):
        source.focus(distance, i / RATE)
        frame = source.capture(i / RATE)
        estimate = estimator.push(frame.image, frame.lens_state)
        if i < 2 * options.steps:
            continue
        depth = estimate.masked_depth(options.confidence)
        assert estimate.range is not None and frame.depth is not None  # a synthetic camera has both
        depth = depth_filters.clean(depth, estimate.range, options.edge_jump, options.speckle_size)
        height, width = depth.shape
        matrix = np.reshape(camera_info(frame.lens_state, width, height, Header()).k, (3, 3))
        points, truth = (xyz(depth, frame.image, matrix) for depth in (depth, frame.depth))
        z = truth[..., 2]
        given = np.isfinite(points[..., 2]) & (z >= SyntheticSource.RANGE.near) & (z <= FARTHEST)
        u, true_u = (estimate.range.normalise(map_[..., 2]) for map_ in (points, truth))
        distance = np.linalg.norm(points - truth, axis=-1)
        found.append(np.stack([z, distance, u - true_u, edge_distance(true_u), contrast(frame.image)], -1)[given])
    return np.concatenate(found)


def edge_distance(u: np.ndarray) -> np.ndarray:
    """px to the nearest step of u by `EDGE` between neighbours."""
    steps = cv2.morphologyEx(u, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > EDGE
    return cv2.distanceTransform((~steps).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)


def contrast(image: np.ndarray) -> np.ndarray:
    """Standard deviation of the grey values within `AROUND` px, 0 to 255."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, square = (cv2.blur(map_, (AROUND, AROUND)) for map_ in (grey, grey * grey))
    return np.sqrt(np.maximum(square - mean * mean, 0))


def xyz(depth: np.ndarray, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(H, W, 3) of the message."""
    message = to_point_cloud(depth, image, matrix, Header())
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 4)[..., :3]


def error_table(errors: list[np.ndarray]) -> str:
    def row(name: str, points: np.ndarray) -> list[str]:
        if not len(points):
            return [name, '0', *['nan'] * 5]
        z, distance, u = points[:, :3].T
        median, high = np.percentile(1e3 * distance, (50, 90))
        needed = ASKED / (np.median(z) ** 2 * SyntheticSource.RANGE.width)
        of_u = np.median(np.abs(u)), np.median(u), needed
        return [name, f'{len(points):,}', f'{median:.1f}', f'{high:.1f}', *(f'{value:.3f}' for value in of_u)]

    every = np.concatenate(errors)
    rows = [row(f'scene {i}', scene) for i, scene in enumerate(errors)]
    groups: tuple[tuple[int, str, tuple[float, ...]], ...] = (
        (0, '{:g} to {:g} m', (SyntheticSource.RANGE.near, 0.25, 0.5, FARTHEST)),
        (3, '{:g} to {:g} px from an edge', (0, 8, 32, math.inf)),
        (4, 'contrast {:g} to {:g}', (0, 2, 4, 8, math.inf)),
    )
    for column, name, limits in groups:
        for low, high in itertools.pairwise(limits):
            inside = (every[:, column] >= low) & (every[:, column] < high)
            rows.append(row(name.format(low, high), every[inside]))
    rows.append(row('all', every))
    of_u = 'median error of u', 'with sign', f'for {1e3 * ASKED:.0f} mm'
    return table(['points', 'number', 'median error, mm', '90 %, mm', *of_u], rows) + '\n'


def cost_table() -> str:
    """Times of what the depth node may compute beside depth, at 640x480."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640].astype(np.float32)
    u = (0.5 + 0.3 * np.sin(x / 50) + (y > 240) * 0.1).astype(np.float32)
    u[cv2.GaussianBlur(random.normal(size=u.shape), (0, 0), 5) > 0.06] = np.nan  # a sixth, in patches
    image = random.integers(0, 256, (480, 640, 3), np.uint8)
    matrix = np.array([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1.0]])
    info = camera_info(SyntheticSource(64, 48).capture(0.0).lens_state, 640, 480, Header())
    info.d = [-0.2, 0.05, 0.0, 0.0, 0.0]
    view, median = rectification(info, 'camera_info'), depth_filters.MedianOfThree()
    work = {
        'points': lambda: to_point_cloud(u, image, matrix, Header()),
        'points, decimation 2': lambda: to_point_cloud(u, image, matrix, Header(), 2),
        'rectification of depth': lambda: view(u),
        'filter: median': lambda: median(u),
        'filter: flying edges': lambda: depth_filters.flying_edges(u, 0.1),
        'filter: speckles': lambda: depth_filters.speckles(u, 100),
    }
    rows = [[name, f'{1e3 * seconds(function):.2f}'] for name, function in work.items()]
    return table(['at 640x480', 'CPU time, ms'], rows)


def seconds(work: Callable[[], object], repeats: int = 50) -> float:
    times = []
    for _ in range(repeats + 3):
        began = time.process_time()  # a busy machine does not add to it
        work()
        times.append(time.process_time() - began)
    return float(np.median(times[3:]))


if __name__ == '__main__':
    sys.exit(main())
