"""Renders one sample: the frames of a scene, and their ground truth."""

from __future__ import annotations

import time

import bpy
import numpy as np

from dfd_ros.core.colour import srgb_encode
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.sample import Sample
from dfd_ros.synthesis.blender import blender_scene as scenes
from dfd_ros.synthesis.blender import truth
from dfd_ros.synthesis.blender.passes import Renderer
from dfd_ros.synthesis.blender.render_settings import RenderSettings

FRAME_RATE = 30.0
WHITE = 0.85
"""Linear light of the brightest part of a scene after exposure."""


def render_sample(
    seed: int, settings: RenderSettings, files: scenes.Pools, renderer: Renderer
) -> tuple[Sample, dict[str, dict[str, float]]]:
    """Render the sample of a seed. Returns the `seconds` and `cpu_seconds` of each part beside it: a sample that is
    rendered again is the same, byte for byte.

    Raises:
        InputError: a user's file cannot be read.
    """
    clock = _Clock()
    built = scenes.build(seed, settings, files)
    renderer.prepare()
    camera = bpy.context.scene.camera.data
    clock.tick('scene')

    focus, growth = settings.focus_distances(), settings.magnifications()
    moves = settings.motion != 'static'
    frames = range(settings.frames)
    sharp: list[np.ndarray] = []
    depth: list[np.ndarray] = []
    index: list[np.ndarray] = []
    for t in frames:
        if t and not moves and growth[t] == growth[t - 1]:
            for parts in (sharp, depth, index):
                parts.append(parts[-1])
            continue
        bpy.context.scene.frame_set(t)
        camera.dof.use_dof = False
        found = renderer.truth()
        depth.append(found[0])
        index.append(found[1])
        clock.tick('truth')
        # Half the samples: images without blur have less noise.
        sharp.append(renderer.colour(max(1, settings.samples // 2), seed=t))
        clock.tick('all in focus')
    camera.dof.use_dof = True
    blurred = []
    for t in frames:
        bpy.context.scene.frame_set(t)
        blurred.append(renderer.colour(settings.samples, seed=1000 + t))
        clock.tick('frames')

    gain = exposure(sharp[0])
    range_, lens = settings.range, settings.lens
    states = [LensState.of_lens(focus[t], lens, range_, magnification=growth[t], stamp=t / FRAME_RATE) for t in frames]
    intrinsics = truth.intrinsics(lens.focal_length, lens.pixel_pitch, settings.height, settings.width)
    flows = [
        truth.flow(
            depth[t],
            index[t],
            built.object_poses[t],
            built.object_poses[t + 1],
            built.camera_poses[t],
            built.camera_poses[t + 1],
            intrinsics,
            growth[t],
            growth[t + 1],
        )
        for t in frames[:-1]
    ]
    sample = Sample(
        images=_encode(np.stack(blurred) * gain),
        lens_states=states,
        depth=np.stack(depth),
        background=np.isin(index, (0, scenes.WALL, scenes.GROUND)),
        coc=np.stack([lens.coc_px(d, f).astype(np.float32) for d, f in zip(depth, focus)]),
        flow=np.stack(flows),
        all_in_focus=_encode(np.stack(sharp) * gain),
        intrinsics=intrinsics,
        poses=built.camera_poses,
        source='blender',
        seed=seed,
        about={
            'preset': settings.preset,
            'split': settings.split,
            'motion': settings.motion,
            'object_set': settings.objects,
            'objects': built.objects,
            'meshes': built.meshes,
            'textures': built.textures,
            'light': built.light,
            'samples': settings.samples,
            'blender': bpy.app.version_string,
        },
    )
    return sample, {'seconds': clock.seconds, 'cpu_seconds': clock.cpu_seconds}


def exposure(sharp: np.ndarray) -> float:
    """The gain that exposes the brightest part of a scene to `WHITE`; `sharp` is its first all-in-focus image."""
    return WHITE / max(float(np.quantile(sharp[..., 1], 0.98)), 1e-6)


def _encode(linear: np.ndarray) -> np.ndarray:
    """Linear light to uint8 sRGB."""
    return np.rint(srgb_encode(np.clip(linear, 0, 1)) * 255).astype(np.uint8)


class _Clock:
    """Seconds by part: wall time, and CPU time of all threads, which does not depend on the load of the machine."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._last = time.perf_counter(), time.process_time()

    def tick(self, part: str) -> None:
        now = time.perf_counter(), time.process_time()
        for spent, end, start in zip((self.seconds, self.cpu_seconds), now, self._last):
            spent[part] = round(spent.get(part, 0.0) + end - start, 3)
        self._last = now
