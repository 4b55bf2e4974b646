"""Random materials: procedural textures by family, split like all pools, and the user's images."""

from __future__ import annotations

import colorsys
from pathlib import Path

import bpy
import numpy as np

from dfd_ros.core.errors import InputError, reason
from dfd_ros.synthesis.blender.split_pools import log_uniform

SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp', '.bmp')
WAVE = 0.314
"""Scale at which Blender's wave texture, a sine of 20 times the position, has a period of 1."""


class _Nodes:
    """A material's node tree."""

    def __init__(self, name: str):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.shader = self.tree.nodes['Principled BSDF']

    def add(self, kind: str, **attributes):
        node = self.tree.nodes.new(kind)
        for name, value in attributes.items():
            setattr(node, name, value)
        return node

    def link(self, source, target) -> None:
        self.tree.links.new(source, target)


def procedural(rng: np.random.Generator, split: str, detail: float = 4.0):
    """A bpy material with a texture from a family of the split, in two to four colours with fine noise. It has the name
    of the family.

    detail: approximate periods of the texture per unit of the object's coordinates.
    """
    families = FAMILIES[split]
    family = families[rng.integers(len(families))]
    nodes = _Nodes(family.__name__.lstrip('_'))
    # The object's coordinates, so that the texture moves with it.
    place = nodes.add('ShaderNodeTexCoord').outputs['Object']
    mapping = nodes.add('ShaderNodeMapping')
    mapping.inputs['Location'].default_value = rng.uniform(-50, 50, 3)
    mapping.inputs['Rotation'].default_value = rng.uniform(0, 6.28, 3)
    mapping.inputs['Scale'].default_value = np.full(3, log_uniform(rng, 0.5, 2.5) * detail)
    nodes.link(place, mapping.inputs['Vector'])
    texture, value = family(nodes, rng)
    nodes.link(mapping.outputs['Vector'], texture.inputs['Vector'])
    ramp = nodes.add('ShaderNodeValToRGB')
    colours = int(rng.integers(2, 5))
    for _ in range(colours - 2):
        ramp.color_ramp.elements.new(float(rng.uniform(0.2, 0.8)))
    # Neighbouring colours differ in brightness: uniform brightness would show no blur.
    brightness = np.sort(rng.uniform(0.03, 0.95, colours))[rng.permutation(colours)]
    if np.ptp(brightness) < 0.4:
        brightness[0], brightness[-1] = 0.05, 0.85
    for element, bright in zip(ramp.color_ramp.elements, brightness):
        element.color = (*_colour(rng, bright), 1)
    ramp.color_ramp.interpolation = ('LINEAR', 'CONSTANT', 'EASE')[rng.integers(3)]
    nodes.link(value, ramp.inputs['Fac'])

    fine = nodes.add('ShaderNodeTexNoise')
    fine.inputs['Scale'].default_value = log_uniform(rng, 2, 6)
    fine.inputs['Detail'].default_value = 2
    nodes.link(mapping.outputs['Vector'], fine.inputs['Vector'])
    mix = nodes.add('ShaderNodeMix', data_type='RGBA', blend_type='OVERLAY')
    mix.inputs['Factor'].default_value = rng.uniform(0, 0.9)
    nodes.link(ramp.outputs['Color'], mix.inputs[6])
    nodes.link(fine.outputs['Color' if rng.random() < 0.3 else 'Fac'], mix.inputs[7])
    nodes.link(mix.outputs[2], nodes.shader.inputs['Base Color'])
    _finish(nodes, rng)
    return nodes.material


def plain(rng: np.random.Generator):
    """A bpy material of one colour, without any grain: paint, plastic."""
    nodes = _Nodes('plain')
    # Half are white to grey, as walls and cupboards are.
    saturation = 0.0 if rng.random() < 0.5 else rng.beta(1, 2)
    nodes.shader.inputs['Base Color'].default_value = (
        *colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.05, 0.9)),
        1,
    )
    _finish(nodes, rng)
    return nodes.material


def load_picture(path: Path):
    """A bpy image. Raises `InputError` if Blender cannot read it."""
    try:
        picture = bpy.data.images.load(str(path), check_existing=True)
    except RuntimeError as error:
        raise InputError(f'{path}: Blender cannot read it: {reason(error)}') from None
    if not picture.size[0]:
        raise InputError(f'{path}: Blender cannot read it as an image')
    return picture


def image(rng: np.random.Generator, path: Path, repeat: float = 1.0, has_uv: bool = True):
    """A bpy material with a picture, named after it. Raises `InputError` if Blender cannot read it.

    has_uv: whether the mesh has texture coordinates; otherwise the picture is projected from six sides.
    """
    nodes = _Nodes(path.stem)
    picture = load_picture(path)
    mapping = nodes.add('ShaderNodeMapping')
    mapping.inputs['Location'].default_value = (*rng.uniform(0, 1, 2), 0)
    mapping.inputs['Rotation'].default_value = (0, 0, rng.uniform(0, 6.28))
    mapping.inputs['Scale'].default_value = np.full(3, repeat * log_uniform(rng, 0.7, 3))
    nodes.link(nodes.add('ShaderNodeTexCoord').outputs['UV' if has_uv else 'Generated'], mapping.inputs['Vector'])
    texture = nodes.add('ShaderNodeTexImage', image=picture, extension='MIRROR', projection='FLAT' if has_uv else 'BOX')
    nodes.link(mapping.outputs['Vector'], texture.inputs['Vector'])
    nodes.link(texture.outputs['Color'], nodes.shader.inputs['Base Color'])
    _finish(nodes, rng)
    return nodes.material


def _finish(nodes: _Nodes, rng: np.random.Generator) -> None:
    """Make a material matt to glossy, sometimes metallic."""
    nodes.shader.inputs['Roughness'].default_value = rng.uniform(0.25, 1)
    nodes.shader.inputs['Metallic'].default_value = rng.uniform(0.5, 1) if rng.random() < 0.12 else 0
    nodes.shader.inputs['Specular IOR Level'].default_value = rng.uniform(0.1, 0.6)


def _colour(rng: np.random.Generator, brightness: float) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(rng.random(), rng.beta(1, 2), brightness)


def _noise(nodes, rng):
    node = nodes.add('ShaderNodeTexNoise')
    node.inputs['Scale'].default_value = 1.0
    node.inputs['Detail'].default_value = rng.uniform(2, 6)
    node.inputs['Roughness'].default_value = rng.uniform(0.4, 0.75)
    node.inputs['Distortion'].default_value = rng.uniform(0, 1.5)
    return node, node.outputs['Fac']


def _cells(nodes, rng):
    node = nodes.add('ShaderNodeTexVoronoi')
    node.inputs['Scale'].default_value = 1.0
    node.distance = ('EUCLIDEAN', 'MANHATTAN')[rng.integers(2)]
    return node, node.outputs['Distance']


def _bands(nodes, rng):
    node = nodes.add('ShaderNodeTexWave', wave_type='BANDS')
    node.inputs['Scale'].default_value = WAVE
    node.inputs['Distortion'].default_value = rng.uniform(0, 6)
    return node, node.outputs['Fac']


def _checker(nodes, rng):
    node = nodes.add('ShaderNodeTexChecker')
    node.inputs['Scale'].default_value = rng.uniform(1, 2.5)
    return node, node.outputs['Fac']


def _ridges(nodes, rng):
    node = nodes.add('ShaderNodeTexNoise', noise_type='RIDGED_MULTIFRACTAL')
    node.inputs['Scale'].default_value = 0.8
    node.inputs['Detail'].default_value = rng.uniform(1, 5)
    return node, node.outputs['Fac']


def _contours(nodes, rng):
    """Contour lines of a hilly map."""
    node = nodes.add('ShaderNodeTexNoise')
    node.inputs['Scale'].default_value = 0.5
    node.inputs['Detail'].default_value = rng.uniform(0, 2)
    heights = _maths(nodes, 'MULTIPLY', node.outputs['Fac'], rng.uniform(4, 12))
    return node, _maths(nodes, 'MULTIPLY', _maths(nodes, 'PINGPONG', heights, 0.5), 2)


def _lattice(nodes, rng):
    """A sum of three sines, one along each axis."""
    node = nodes.add('ShaderNodeVectorMath', operation='MULTIPLY')
    node.inputs[1].default_value = 2 * np.pi * rng.uniform(0.4, 1, 3)
    sine = nodes.add('ShaderNodeVectorMath', operation='SINE')
    nodes.link(node.outputs['Vector'], sine.inputs[0])
    total = nodes.add('ShaderNodeVectorMath', operation='DOT_PRODUCT')
    nodes.link(sine.outputs['Vector'], total.inputs[0])
    total.inputs[1].default_value = (0.25, 0.25, 0.25)
    return node, _maths(nodes, 'ADD', total.outputs['Value'], 0.5)


def _dots(nodes, rng):
    """Balls in rows: the distance to the centre of each cell of a grid."""
    node = nodes.add('ShaderNodeVectorMath', operation='FRACTION')
    middle = nodes.add('ShaderNodeVectorMath', operation='DISTANCE')
    nodes.link(node.outputs['Vector'], middle.inputs[0])
    middle.inputs[1].default_value = (0.5, 0.5, 0.5)
    return node, _maths(nodes, 'MULTIPLY', middle.outputs['Value'], rng.uniform(1, 1.5))


def _wood(nodes, rng):
    """Noise stretched along one axis."""
    node = nodes.add('ShaderNodeVectorMath', operation='MULTIPLY')
    node.inputs[1].default_value = (rng.uniform(0.1, 0.3), rng.uniform(1, 2), rng.uniform(1, 2))
    noise, value = _noise(nodes, rng)
    nodes.link(node.outputs['Vector'], noise.inputs['Vector'])
    return node, value


def _maths(nodes, operation: str, value, second: float):
    """Add a node that computes a number from another one and a constant."""
    node = nodes.add('ShaderNodeMath', operation=operation)
    nodes.link(value, node.inputs[0])
    node.inputs[1].default_value = second
    return node.outputs[0]


def _magic(nodes, rng):
    node = nodes.add('ShaderNodeTexMagic', turbulence_depth=int(rng.integers(2, 5)))
    node.inputs['Scale'].default_value = 1.0
    return node, node.outputs['Fac']


def _mosaic(nodes, rng):
    node = nodes.add('ShaderNodeTexVoronoi', feature='F1', distance='CHEBYCHEV')
    node.inputs['Scale'].default_value = 1.0
    split = nodes.add('ShaderNodeSeparateColor')
    nodes.link(node.outputs['Color'], split.inputs['Color'])
    return node, split.outputs['Red']


def _brick(nodes, rng):
    node = nodes.add('ShaderNodeTexBrick')
    node.inputs['Scale'].default_value = rng.uniform(1, 2)
    node.inputs['Mortar Size'].default_value = rng.uniform(0.02, 0.1)
    node.inputs['Color1'].default_value = (0, 0, 0, 1)
    node.inputs['Color2'].default_value = (0.6, 0.6, 0.6, 1)
    node.inputs['Mortar'].default_value = (1, 1, 1, 1)
    return node, node.outputs['Color']


def _rings(nodes, rng):
    node = nodes.add('ShaderNodeTexWave', wave_type='RINGS', wave_profile='SAW')
    node.inputs['Scale'].default_value = WAVE
    node.inputs['Distortion'].default_value = rng.uniform(1, 8)
    return node, node.outputs['Fac']


def _cracks(nodes, rng):
    node = nodes.add('ShaderNodeTexVoronoi', feature='DISTANCE_TO_EDGE')
    node.inputs['Scale'].default_value = 1.0
    return node, node.outputs['Distance']


def _gabor(nodes, rng):
    # 3D took over half of the time of a scene. Coordinates are rotated at random, so every face shows a texture.
    node = nodes.add('ShaderNodeTexGabor', gabor_type='2D')
    node.inputs['Scale'].default_value = 1.0
    node.inputs['Frequency'].default_value = rng.uniform(1, 4)
    node.inputs['Anisotropy'].default_value = rng.uniform(0.3, 1)
    return node, node.outputs['Value']


FAMILIES = {
    'train': (_noise, _cells, _bands, _checker, _ridges, _contours, _lattice, _dots, _wood),
    'validation': (_magic, _mosaic),
    'test': (_brick, _rings, _cracks, _gabor),
}
