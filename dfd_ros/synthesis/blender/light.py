"""Random light: families, split like all pools, and the user's HDRIs. Exposure compensates for their brightness."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from dfd_ros.synthesis.blender.materials import load_picture
from dfd_ros.synthesis.blender.split_pools import log_uniform

SUFFIXES = ('.hdr', '.exr')


def light_up(rng: np.random.Generator, split: str, hdris: list[Path], depth: float) -> str:
    """Light a scene of this depth (m), seen from the origin along +y; returns the name of the family."""
    if hdris and rng.random() < 0.6:
        _environment(rng, hdris[rng.integers(len(hdris))])
        if rng.random() < 0.5:
            _lamp(rng, 'AREA', depth, 4.0)
        return 'hdri'
    families = FAMILIES[split]
    family = families[rng.integers(len(families))]
    family(rng, depth)
    return family.__name__.lstrip('_')


def _areas(rng: np.random.Generator, depth: float) -> None:
    """A room: one to three panels and dim, even surroundings."""
    _surround(rng, log_uniform(rng, 0.1, 0.6))
    for _ in range(rng.integers(1, 4)):
        _lamp(rng, 'AREA', depth, log_uniform(rng, 2, 12))


def _sun(rng: np.random.Generator, depth: float) -> None:
    """Outdoors: sun through haze, and an even sky."""
    _surround(rng, log_uniform(rng, 0.3, 1.0))
    _sunlight(rng)


def _dusk(rng: np.random.Generator, depth: float) -> None:
    """A sun without haze and little other light: hard, dark shadows."""
    _surround(rng, log_uniform(rng, 0.03, 0.2))
    _sunlight(rng, haze=(0.2, 1.5))


def _overcast(rng: np.random.Generator, depth: float) -> None:
    """No lamps: a gradient from bright to dim, in a random direction."""
    tree = _world()
    nodes, links = tree.nodes, tree.links
    mapping = nodes.new('ShaderNodeMapping')
    mapping.inputs['Rotation'].default_value = rng.uniform(0, 2 * math.pi, 3)
    gradient = nodes.new('ShaderNodeTexGradient')
    links.new(nodes.new('ShaderNodeTexCoord').outputs['Generated'], mapping.inputs['Vector'])
    links.new(mapping.outputs['Vector'], gradient.inputs['Vector'])
    _colours(rng, tree, gradient.outputs['Fac'], log_uniform(rng, 0.03, 0.3), log_uniform(rng, 1, 3))


def _studio(rng: np.random.Generator, depth: float) -> None:
    """Random bright patches all around, which glossy things mirror."""
    tree = _world()
    nodes, links = tree.nodes, tree.links
    noise = nodes.new('ShaderNodeTexNoise')
    noise.inputs['Scale'].default_value = log_uniform(rng, 1, 5)
    noise.inputs['Detail'].default_value = rng.uniform(0, 3)
    links.new(nodes.new('ShaderNodeTexCoord').outputs['Generated'], noise.inputs['Vector'])
    _colours(rng, tree, noise.outputs['Fac'], log_uniform(rng, 0.02, 0.3), log_uniform(rng, 2, 6), at=(0.45, 0.6))
    if rng.random() < 0.5:
        _lamp(rng, 'AREA', depth, log_uniform(rng, 2, 8))


def _colours(
    rng: np.random.Generator, tree, value, dim: float, bright: float, at: tuple[float, float] = (0, 1)
) -> None:
    """Make the world `dim` where `value` is at[0] and `bright` where it is at[1], each with its own tint."""
    ramp = tree.nodes.new('ShaderNodeValToRGB')
    for element, place, strength in zip(ramp.color_ramp.elements, at, (dim, bright)):
        element.position = place
        element.color = (*(strength * part for part in _tint(rng)), 1)
    tree.links.new(value, ramp.inputs['Fac'])
    tree.links.new(ramp.outputs['Color'], tree.nodes['Background'].inputs['Color'])
    # Cycles computes an importance map of the world. Its default of 1024 pixels takes seconds; 128 are enough here.
    cycles = bpy.context.scene.world.cycles
    cycles.sampling_method, cycles.sample_map_resolution = 'MANUAL', 128


def _ring(rng: np.random.Generator, depth: float) -> None:
    """Several bulbs around the camera."""
    _surround(rng, log_uniform(rng, 0.1, 0.5))
    for _ in range(rng.integers(3, 7)):
        _lamp(rng, 'POINT', depth, log_uniform(rng, 1, 4))


def _spots(rng: np.random.Generator, depth: float) -> None:
    """Two to four spotlights: hard cones, with darkness between them."""
    _surround(rng, log_uniform(rng, 0.15, 0.5))
    for _ in range(rng.integers(2, 5)):
        _lamp(rng, 'SPOT', depth, log_uniform(rng, 4, 16))


def _sky(rng: np.random.Generator, depth: float) -> None:
    """The colours of the atmosphere, and its sun. Hosek and Wilkie, SIGGRAPH 2012."""
    tree = _world()
    sky = tree.nodes.new('ShaderNodeTexSky')
    sky.sky_type = 'HOSEK_WILKIE'
    sky.turbidity = rng.uniform(2, 8)
    sky.sun_direction = Vector((rng.uniform(-1, 1), rng.uniform(-1, 0.2), rng.uniform(0.2, 1))).normalized()
    tree.links.new(sky.outputs['Color'], tree.nodes['Background'].inputs['Color'])
    tree.nodes['Background'].inputs['Strength'].default_value = 0.5
    _sunlight(rng)


def _environment(rng: np.random.Generator, path: Path) -> None:
    tree = _world()
    nodes, links = tree.nodes, tree.links
    picture = load_picture(path)
    mapping = nodes.new('ShaderNodeMapping')
    mapping.inputs['Rotation'].default_value = (0, 0, rng.uniform(0, 2 * math.pi))
    links.new(nodes.new('ShaderNodeTexCoord').outputs['Generated'], mapping.inputs['Vector'])
    texture = nodes.new('ShaderNodeTexEnvironment')
    texture.image = picture
    links.new(mapping.outputs['Vector'], texture.inputs['Vector'])
    links.new(texture.outputs['Color'], nodes['Background'].inputs['Color'])


def _world():
    """Start a new world; returns its node tree."""
    world = bpy.data.worlds.new('world')
    bpy.context.scene.world = world
    world.use_nodes = True
    return world.node_tree


def _surround(rng: np.random.Generator, strength: float) -> None:
    background = _world().nodes['Background']
    background.inputs['Color'].default_value = (*_tint(rng), 1)
    background.inputs['Strength'].default_value = strength


def _sunlight(rng: np.random.Generator, haze: tuple[float, float] = (0.5, 10)) -> None:
    """haze: minimum and maximum apparent width of the sun (degrees)."""
    data = bpy.data.lights.new('sun', 'SUN')
    data.energy, data.angle, data.color = log_uniform(rng, 1, 5), math.radians(rng.uniform(*haze)), _tint(rng)
    # From behind the camera, because the wall blocks light from the front.
    _place(data, Vector((rng.uniform(-1, 1), rng.uniform(-1, -0.15), rng.uniform(0.2, 1.2))), Vector())


def _lamp(rng: np.random.Generator, kind: str, depth: float, radiance: float) -> None:
    """A lamp on the camera's side of the scene, as bright in the middle of it from any distance."""
    place = depth * Vector((rng.uniform(-1.2, 1.2), rng.uniform(-1.0, 0.3), rng.uniform(-0.3, 1.2)))
    target = depth * Vector((rng.uniform(-0.3, 0.3), rng.uniform(0.4, 1.0), rng.uniform(-0.3, 0.3)))
    distance = (target - place).length
    data = bpy.data.lights.new('lamp', kind)
    data.energy, data.color = radiance * 4 * distance**2, _tint(rng)
    size = depth * log_uniform(rng, 0.05, 0.8)
    if kind == 'AREA':
        data.shape, data.size = 'SQUARE', size
    else:
        data.shadow_soft_size = 0.1 * size
        data.energy *= 4
    if kind == 'SPOT':
        data.spot_size, data.spot_blend = math.radians(rng.uniform(40, 90)), rng.uniform(0.1, 0.6)
    _place(data, place, target)


def _place(data, place: Vector, target: Vector) -> None:
    lamp = bpy.data.objects.new(data.name, data)
    lamp.location = place
    lamp.rotation_mode = 'QUATERNION'
    lamp.rotation_quaternion = (target - place).to_track_quat('-Z', 'Y')
    bpy.context.scene.collection.objects.link(lamp)


def _tint(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour roughly from candle light (more red) to blue sky (more blue)."""
    warmth = rng.uniform(-0.35, 0.5)
    return 1 + min(warmth, 0), 1 - abs(warmth) * 0.45, 1 - max(warmth, 0)


FAMILIES = {'train': (_areas, _sun, _dusk, _overcast, _studio), 'validation': (_ring,), 'test': (_spots, _sky)}
