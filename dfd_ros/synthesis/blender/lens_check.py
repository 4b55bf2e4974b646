"""Measures the blur of a small light that Blender renders: ``python -m dfd_ros.synthesis.blender.lens_check FILE``.

Reads a JSON list of cases from stdin and writes a JSON list of blur diameters (px) to FILE::

    [{"focal_length": 0.025, "f_number": 2, "pixel_pitch": 27e-6, "distance": 0.3, "focus_distance": 0.6,
      "breathing": false}, ...]

A glowing disc that faces the camera is rendered with the lens and with a pinhole. The lens scatters each point over the
circle of confusion, so the variances of the two images differ by that of the circle: (diameter / 4)^2 along each axis
for a uniform circle. The light therefore need not be a point, which a path tracer would hardly ever hit.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import bpy
import numpy as np

from dfd_ros.core.optics import Lens
from dfd_ros.synthesis.blender.blender_lens import SENSOR, apply, blender_lens, set_sensor
from dfd_ros.synthesis.blender.passes import Renderer

RADIUS = 4.0
"""px, radius of the light in the image."""
SIDES = 72


def measure_blur(
    renderer: Renderer, lens: Lens, distance: float, focus_distance: float, breathing: bool = False, samples: int = 64
) -> float:
    """Blur diameter (px) of a light on the axis at `distance` (m). The renderer's image must be square and large
    enough for the blur."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    values = blender_lens(lens, focus_distance, renderer.width, breathing)
    data = bpy.data.cameras.new('camera')
    scene.camera = bpy.data.objects.new('camera', data)
    scene.collection.objects.link(scene.camera)
    apply(data, values)
    set_sensor(data, renderer.height, renderer.width)
    _light(distance, RADIUS / renderer.width * SENSOR / values.lens * distance)
    renderer.prepare()
    spread = _variance(renderer.colour(samples, seed=1, denoise=False))
    data.dof.use_dof = False
    return 4 * math.sqrt(max(0.0, spread - _variance(renderer.colour(samples, seed=2, denoise=False))))


def _light(distance: float, radius: float) -> None:
    angle = np.arange(SIDES) * (2 * np.pi / SIDES)
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(SIDES, -distance)], -1)
    mesh = bpy.data.meshes.new('light')
    mesh.from_pydata(corners.tolist(), [], [list(range(SIDES))])
    material = bpy.data.materials.new('light')
    material.use_nodes = True
    nodes = material.node_tree.nodes
    emission = nodes.new('ShaderNodeEmission')
    material.node_tree.links.new(emission.outputs['Emission'], nodes['Material Output'].inputs['Surface'])
    mesh.materials.append(material)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new('light', mesh))


def _variance(image: np.ndarray) -> float:
    """The variance (px^2) of light along one axis."""
    light = image[..., 1].astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    total = light.sum()
    return sum(float((light * (a - (light * a).sum() / total) ** 2).sum() / total) for a in (x, y)) / 2


def main(path: str) -> None:
    renderer = None
    results = []
    for case in json.load(sys.stdin):
        lens = Lens(case['focal_length'], case['f_number'], case['pixel_pitch'])
        # Room for the blur and the light, rounded up so that cases can share a renderer.
        side = 16 * math.ceil((1.5 * lens.coc_px(case['distance'], case['focus_distance']) + 4 * RADIUS) / 16)
        if renderer is None or renderer.width != side:
            renderer = Renderer(side, side, device='cpu')
        results.append(measure_blur(renderer, lens, case['distance'], case['focus_distance'], case['breathing']))
    Path(path).write_text(json.dumps(results))


if __name__ == '__main__':
    main(sys.argv[1])
