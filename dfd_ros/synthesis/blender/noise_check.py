"""Measures the noise of rendered frames after denoising: ``python -m dfd_ros.synthesis.blender.noise_check FILE``.

Reads a JSON job from stdin and writes a JSON list of results to FILE::

    {"settings": {...}, "seeds": [0, 1], "frames": [0, 4], "samples": [16, 32], "reference": 256}
    -> [{"samples": 16, "seed": 0, "frame": 0, "typical": 0.003, "noise": 0.004, "error": 0.006}, ...]

Each frame is rendered twice with different random numbers. The noise is the difference of the two divided by the square
root of two. The error is the difference to a rendering with `reference` samples: noise, and the detail that denoising
removes. Both are RMS of linear light, exposed like samples, where the reference is mid-grey. The typical noise is the
median over tiles of 8x8 pixels, because edges and highlights have much more noise than the rest.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import bpy
import numpy as np

from dfd_ros.synthesis.blender import blender_scene as scenes
from dfd_ros.synthesis.blender.passes import Renderer
from dfd_ros.synthesis.blender.render_settings import RenderSettings
from dfd_ros.synthesis.blender.sample_rendering import exposure

GREY = 0.18
TILE = 8


def measure(renderer: Renderer, frame: int, gain: float, samples: list[int], reference: int) -> list[dict]:
    """Noise and error of a frame of the current scene, for each number of samples."""
    bpy.context.scene.frame_set(frame)

    def render(count: int, seed: int) -> np.ndarray:
        return gain * renderer.colour(count, seed)

    best = render(reference, 1)
    grey = (best > GREY / 2) & (best < GREY * 2)
    found = []
    for count in samples:
        one, other = render(count, 2), render(count, 3)
        noise = (one - other) / math.sqrt(2)
        found.append(
            {
                'samples': count,
                'frame': frame,
                'typical': _of_tiles(noise, grey),
                'noise': _rms(noise[grey]),
                'error': _rms((one - best)[grey]),
            }
        )
    return found


def _of_tiles(values: np.ndarray, counted: np.ndarray) -> float:
    """The median over tiles of the RMS of `values` where `counted`, both (H, W, 3)."""
    rows, columns = (n // TILE for n in values.shape[:2])

    def total(of: np.ndarray) -> np.ndarray:
        tiles = of[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
        return tiles.sum(axis=(1, 3, 4), dtype=float)

    count, squares = total(counted), total(counted * values**2)
    return float(np.median(np.sqrt(squares[count > 0] / count[count > 0])))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


def main(path: str) -> None:
    job = json.load(sys.stdin)
    settings = RenderSettings.from_json(job['settings'])
    renderer = Renderer(settings.height, settings.width, device='cpu')
    results = []
    for seed in job['seeds']:
        scenes.build(seed, settings, scenes.Pools(settings))
        renderer.prepare()
        camera = bpy.context.scene.camera.data
        camera.dof.use_dof = False
        gain = exposure(renderer.colour(settings.samples, seed=0))
        camera.dof.use_dof = True
        for frame in job['frames']:
            results += [
                {'seed': seed, **found} for found in measure(renderer, frame, gain, job['samples'], job['reference'])
            ]
    Path(path).write_text(json.dumps(results))


if __name__ == '__main__':
    main(sys.argv[1])
