"""Settings of a Blender data set, lens presets, and the focus of the frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import Lens, VergenceRange, magnification

SPLITS = ('train', 'validation', 'test')
OBJECT_SETS = {'small': (0.03, 0.10), 'small_and_large': (0.03, 0.35)}
"""Minimum and maximum radius of the objects, as a share of the image's side."""
MOTIONS = ('static', 'camera', 'objects', 'both')
SURFACES = {'textured': 0.0, 'real': 0.35}
"""Share of the surfaces without a picture that are plain paint."""
MIN_SIDE = 16


@dataclass(frozen=True)
class LensPreset:
    """A lens and the distances in its scenes.

    Attributes:
        focal_length (m), f_number; sensor_side: shorter side of the sensor (m).
        near, far: the swept range (m); far may be infinite.
        depth: maximum distance of an object (m); the wall is slightly behind it.
        focus: focus distances of a ramp (m), far to near; empty = even steps of vergence.
    """

    focal_length: float
    f_number: float
    sensor_side: float
    near: float
    far: float
    depth: float
    focus: tuple[float, ...] = ()


PRESETS = {
    # The data set of Maximov et al., "Focus on Defocus", CVPR 2020.
    'defocusnet': LensPreset(2.9e-3, 1.0, 3.1e-3, 0.1, 1.5, 3.0, (1.5, 0.7, 0.3, 0.15, 0.1)),
    # The main camera of a current phone: 1/1.3" sensor, 24 mm equivalent.
    'phone': LensPreset(6.8e-3, 1.8, 7.3e-3, 0.15, math.inf, 6.0),
    # A 2/3" camera with a liquid lens on a robot's arm.
    'machine_vision': LensPreset(25e-3, 2.0, 6.6e-3, 0.25, 1.25, 1.4),
}


@dataclass(frozen=True)
class RenderSettings:
    """How the scenes of a data set are drawn and rendered.

    Attributes:
        preset: lens, one of PRESETS.
        split: which pools of objects, textures and lights to use.
        objects: small, or small_and_large.
        motion: what moves between frames, one of MOTIONS.
        surfaces: textured, or real: some are plain paint without grain. One of SURFACES.
        frames: frames of a stack; ramp: frames of one rising sweep of the focus. After a ramp the focus jumps back.
        height, width: image size (px).
        breathing: nearer focus magnifies the image, as with a lens that moves to focus; otherwise the scale is
            constant.
        samples: paths per pixel of a frame; half as many for the all-in-focus image.
        meshes, textures, hdris: the user's folders; '' = none.
    """

    preset: str = 'defocusnet'
    split: str = 'train'
    objects: str = 'small_and_large'
    motion: str = 'static'
    surfaces: str = 'textured'
    frames: int = 5
    ramp: int = 5
    height: int = 256
    width: int = 256
    breathing: bool = False
    samples: int = 16
    meshes: str = ''
    textures: str = ''
    hdris: str = ''

    def __post_init__(self):
        """Raises `InputError` for an invalid setting."""
        for name, choices in (
            ('preset', PRESETS),
            ('split', SPLITS),
            ('objects', OBJECT_SETS),
            ('motion', MOTIONS),
            ('surfaces', SURFACES),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f'{name} {getattr(self, name)!r}: choose one of {", ".join(choices)}')
        for name, minimum in (('frames', 2), ('ramp', 2), ('height', MIN_SIDE), ('width', MIN_SIDE), ('samples', 1)):
            if getattr(self, name) < minimum:
                raise InputError(f'{name} {getattr(self, name)}: must be at least {minimum}')
        listed = len(self.lens_preset.focus)
        if listed and self.ramp != listed:
            raise InputError(f'ramp {self.ramp}: preset {self.preset} has {listed} focus distances')
        for name in ('meshes', 'textures', 'hdris'):
            if getattr(self, name) and not Path(getattr(self, name)).is_dir():
                raise InputError(f'{name} {getattr(self, name)}: no such folder')

    @classmethod
    def from_json(cls, values: dict) -> RenderSettings:
        # Data sets of older versions lack newer settings.
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    @property
    def lens_preset(self) -> LensPreset:
        return PRESETS[self.preset]

    @property
    def lens(self) -> Lens:
        preset = self.lens_preset
        return Lens(preset.focal_length, preset.f_number, preset.sensor_side / min(self.height, self.width))

    @property
    def range(self) -> VergenceRange:
        return VergenceRange(self.lens_preset.near, self.lens_preset.far)

    def focus_distances(self) -> list[float]:
        """(T,) m: rising ramps, from far to near, with a jump back after each."""
        preset, range_ = self.lens_preset, self.range
        ramp = preset.focus or tuple(range_.denormalise(v) for v in np.linspace(0.0, 1.0, self.ramp).tolist())
        return [ramp[t % self.ramp] for t in range(self.frames)]

    def magnifications(self) -> list[float]:
        """(T,) of the images, relative to focus at infinity."""
        f = self.lens_preset.focal_length
        return [magnification(focus, f) if self.breathing else 1.0 for focus in self.focus_distances()]
