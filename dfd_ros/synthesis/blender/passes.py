"""Renders with Cycles, into arrays."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.blender_lens import MAX_DISTANCE

_GPUS = ('OPTIX', 'CUDA', 'HIP', 'ONEAPI', 'METAL')


class Renderer:
    """Renders Blender's current scene with Cycles.

    Args:
        height, width: px; threads: number of CPU threads.
        device: cpu, gpu, or auto (a GPU if there is one).

    Raises:
        InputError: the device is gpu, and there is none.
    """

    def __init__(self, height: int, width: int, threads: int = 1, device: str = 'auto'):
        self.height, self.width, self.threads = height, width, threads
        self.device = device
        self._folder = tempfile.TemporaryDirectory(prefix='dfd-blender-')
        self._read = _openimageio()

    def prepare(self) -> None:
        """Set up rendering of the current scene."""
        scene = bpy.context.scene
        scene.render.engine = 'CYCLES'
        scene.cycles.device = 'GPU' if self.on_gpu() else 'CPU'
        scene.render.resolution_x, scene.render.resolution_y = self.width, self.height
        scene.render.resolution_percentage = 100
        scene.render.threads_mode, scene.render.threads = 'FIXED', self.threads
        scene.render.use_persistent_data = True  # frames of a stack share most of the scene
        scene.render.use_motion_blur = False
        scene.render.film_transparent = False
        settings = scene.render.image_settings
        settings.file_format, settings.color_depth, settings.exr_codec = 'OPEN_EXR_MULTILAYER', '32', 'NONE'
        cycles = scene.cycles
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 2
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.sample_clamp_indirect = 4.0
        cycles.use_adaptive_sampling = False
        cycles.use_auto_tile = False
        cycles.denoiser = 'OPENIMAGEDENOISE'
        cycles.denoising_input_passes = 'RGB_ALBEDO_NORMAL'
        cycles.denoising_prefilter = 'ACCURATE'  # out of focus, albedo and normals are as noisy as colour
        cycles.denoising_quality = 'HIGH'
        layer = scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_object_index = True

    def colour(self, samples: int, seed: int, denoise: bool = True) -> np.ndarray:
        """(H, W, 3) float32 linear light from the current camera."""
        return self.colour_and_depth(samples, seed, denoise)[0]

    def colour_and_depth(self, samples: int, seed: int, denoise: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """`colour`, and the depth (H, W) of an arbitrary point in each pixel, which is cheaper than `truth`."""
        cycles = bpy.context.scene.cycles
        cycles.samples, cycles.seed, cycles.use_denoising = samples, seed, denoise
        cycles.pixel_filter_type, cycles.filter_width = 'BLACKMAN_HARRIS', 1.5
        passes = self._render(('Combined.R', 'Combined.G', 'Combined.B', 'Depth.Z'))
        return np.ascontiguousarray(passes[..., :3]), _finite(passes[..., 3])

    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """(depth, index) at the centre of each pixel: (H, W) float32 m along the optical axis, infinity = nothing, and
        (H, W) int pass index of the visible object. The camera must be a pinhole."""
        cycles = bpy.context.scene.cycles
        # Both passes are from the first ray, which a filter of nearly zero width sends through the centre.
        cycles.samples, cycles.seed, cycles.use_denoising = 1, 0, False
        cycles.pixel_filter_type, cycles.filter_width = 'BOX', 0.01
        passes = self._render(('Depth.Z', 'IndexOB.X'))
        depth, index = passes[..., 0], np.rint(passes[..., 1]).astype(int)
        return _finite(depth), index

    def _render(self, wanted: tuple[str, ...]) -> np.ndarray:
        path = Path(self._folder.name) / 'frame.exr'
        scene = bpy.context.scene
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        image = self._read.open(str(path))
        names = [name.partition('.')[2] for name in image.spec().channelnames]
        pixels = np.asarray(image.read_image('float')).reshape(self.height, self.width, -1)
        image.close()
        return np.ascontiguousarray(pixels[..., [names.index(name) for name in wanted]])

    def on_gpu(self) -> bool:
        """As the function `on_gpu`, for the device of this renderer."""
        return on_gpu(self.device)


def on_gpu(device: str) -> bool:
    """Whether a GPU renders on `device` (cpu, gpu or auto). Sets up the GPU.

    Raises:
        InputError: the device is gpu, and there is none.
    """
    if device == 'cpu':
        return False
    preferences = bpy.context.preferences.addons['cycles'].preferences
    for kind in _GPUS:
        try:
            preferences.compute_device_type = kind
        except TypeError:  # not built into this Blender
            continue
        preferences.refresh_devices()
        if found := [d for d in preferences.devices if d.type == kind]:
            for each in preferences.devices:
                each.use = each in found
            return True
    if device == 'gpu':
        raise InputError('device gpu: Blender finds no supported GPU, use cpu')
    return False


def _finite(depth: np.ndarray) -> np.ndarray:
    """Depth with infinity instead of the large number by which Cycles means "no surface"."""
    return np.where(depth < MAX_DISTANCE, depth, np.inf).astype(np.float32)


def _openimageio():
    """The image reader that comes with bpy, in a folder that is not on the path."""
    version = f'python{sys.version_info.major}.{sys.version_info.minor}'
    folder = Path(bpy.utils.system_resource('PYTHON')) / 'lib' / version / 'site-packages'
    if str(folder) not in sys.path and os.path.isdir(folder):
        sys.path.append(str(folder))  # at the end, so that its other modules do not shadow ours
    try:
        import OpenImageIO
    except ImportError:
        raise InputError(
            f'bpy {bpy.app.version_string} comes without OpenImageIO in {folder}: '
            'install the version that setup.py names'
        ) from None
    return OpenImageIO.ImageInput
