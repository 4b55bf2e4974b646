"""A random scene: 20 to 30 objects in front of a wall, light, a camera, and their motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from dfd_ros.core.geometry import matrix_about_axis, rigid_transform
from dfd_ros.synthesis.blender import blender_lens, light, materials, meshes, motion, objects, split_pools
from dfd_ros.synthesis.blender.render_settings import OBJECT_SETS, SURFACES, RenderSettings

OBJECTS = (20, 30)
USERS = 0.5
"""Share of objects and textures from the user's folders, if given."""
LEVEL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]])
"""Camera (x right, y down, z forward) to world (z up), for a camera that looks along +y."""
TO_BLENDER = np.diag([1, -1, -1, 1.0])
"""Blender's camera has y up and looks along -z."""
WALL, GROUND = 1, 2
"""Pass indices; those of the objects follow. 0 means nothing."""


@dataclass
class BlenderScene:
    """The geometry of a scene, from which its ground truth is computed.

    Attributes:
        camera_poses: (T, 4, 4) camera to world, x right, y down, z forward.
        object_poses: (T, N, 4, 4) object to world, rigid, by pass index.
        objects: number of objects, not counting wall and ground.
        meshes, textures, light: families and files used.
    """

    camera_poses: np.ndarray
    object_poses: np.ndarray
    objects: int
    meshes: list[str]
    textures: list[str]
    light: str


class Pools:
    """The user's files of a split."""

    def __init__(self, settings: RenderSettings):
        self.meshes = split_pools.files(settings.meshes, objects.SUFFIXES, settings.split)
        self.textures = split_pools.files(settings.textures, materials.SUFFIXES, settings.split)
        self.hdris = split_pools.files(settings.hdris, light.SUFFIXES, settings.split)


def build(seed: int, settings: RenderSettings, files: Pools) -> BlenderScene:
    """Replace the scene in Blender with a random one, with keyframes 0..T - 1.

    Raises:
        InputError: a user's file cannot be read.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rng = split_pools.generator(seed, settings.split)
    preset, blender = settings.lens_preset, bpy.context.scene
    pixels = settings.lens.focal_length / settings.lens.pixel_pitch
    half = 0.5 * min(settings.height, settings.width) / pixels  # half of the shorter side of the view, at 1 m

    tilt = matrix_about_axis((1, 0, 0), math.radians(rng.uniform(-8, 8))) @ matrix_about_axis(
        (0, 0, 1), math.radians(rng.normal() * 3)
    )
    start = rigid_transform(LEVEL @ tilt, np.zeros(3))
    path = np.tile(np.eye(4), (settings.frames, 1, 1))
    if settings.motion in ('camera', 'both'):
        path = motion.camera_path(rng, settings.frames, preset.near, pixels)
    camera_poses = start @ path

    wall_distance = preset.depth * rng.uniform(1.02, 1.15)
    poses = [np.tile(np.eye(4), (settings.frames, 1, 1))]
    for background, matrix in _backgrounds(rng, start, wall_distance, half):
        width = 2 * half * wall_distance
        background.data.materials.append(
            _material(rng, settings, files, detail=split_pools.log_uniform(rng, 5, 14) / width, repeat=4)
        )
        poses.append(np.tile(matrix, (settings.frames, 1, 1)))
        _keyframes(background, poses[-1], len(poses) - 1)
    if len(poses) == GROUND:  # no ground: keep its index free
        poses.append(poses[0])

    meshes = set()
    count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))
    for centre, radius in _layout(rng, settings, count, half, wall_distance):
        index = len(poses)
        name, created = _object(rng, settings, files)
        meshes.add(name)
        share = radius / (half * centre[2])
        if not created.data.materials:
            # Periods from a few pixels to a few tens.
            detail = float(np.clip(share * min(settings.height, settings.width) / 20, 0.7, 8))
            created.data.materials.append(_material(rng, settings, files, detail, 1, bool(created.data.uv_layers)))
        first = rigid_transform(motion.random_rotation(rng), (start @ [*centre, 1])[:3])
        frames = np.tile(first, (settings.frames, 1, 1))
        if settings.motion in ('objects', 'both') and rng.random() < motion.MOVING:
            frames = motion.object_path(rng, settings.frames, first, centre[2], pixels)
        created.scale = (radius,) * 3
        poses.append(frames)
        _keyframes(created, frames, index)

    _camera(settings, camera_poses)
    family = light.light_up(rng, settings.split, files.hdris, preset.depth)
    blender.frame_start, blender.frame_end = 0, settings.frames - 1
    # Blender numbers duplicate names: brick, brick.001, ...
    textures = {material.name.partition('.')[0] for material in bpy.data.materials}
    return BlenderScene(camera_poses, np.stack(poses, 1), count, sorted(meshes), sorted(textures), family)


def _backgrounds(rng, start: np.ndarray, distance: float, half: float):
    """(bpy object, pose) of the wall, roughly facing the camera, and in every third scene of the ground."""
    size = 12 * distance * max(half, 0.2)
    turn = matrix_about_axis((0, 1, 0), math.radians(rng.uniform(-15, 15))) @ matrix_about_axis(
        (1, 0, 0), math.radians(rng.uniform(-10, 10))
    )
    facing = rigid_transform(turn @ np.diag([1, -1, -1]), (0, 0, distance))
    yield objects.add_plane('wall', size), start @ facing
    if rng.random() < 1 / 3:
        # Along the lower edge of the view at about half the depth.
        flat = matrix_about_axis((1, 0, 0), math.radians(rng.uniform(-4, 4)))
        below = rigid_transform(
            flat @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]]),
            (0, half * distance * rng.uniform(0.4, 0.7), distance / 2),
        )
        yield objects.add_plane('ground', size), start @ below


def _layout(rng, settings: RenderSettings, count: int, half: float, wall: float):
    """(centre in the camera frame, radius) of the objects in m, larger ones first: in view, in the range of the lens,
    and apart from each other if there is room."""
    preset, least_most = settings.lens_preset, OBJECT_SETS[settings.objects]
    wide = max(settings.width / settings.height, 1.0), max(settings.height / settings.width, 1.0)
    shares = sorted((split_pools.log_uniform(rng, *least_most) for _ in range(count)), reverse=True)
    placed: list[tuple[np.ndarray, float]] = []
    for share in shares:
        for _ in range(40):
            # Half of them uniform in vergence, as blur is, and half uniform in distance.
            near, far = preset.near * 1.05, preset.depth * 0.97
            depth = rng.uniform(near, far) if rng.random() < 0.5 else 1 / rng.uniform(1 / far, 1 / near)
            radius = 2 * share * half * depth
            side = half * depth
            centre = np.array([rng.uniform(-1, 1) * side * wide[0], rng.uniform(-1, 1) * side * wide[1], depth])
            free = all(np.linalg.norm(centre - c) > radius + r for c, r in placed)
            if free and depth + radius < 0.95 * wall and depth - radius > 0.5 * preset.near:
                break
        placed.append((centre, radius))
    return placed


def _object(rng, settings: RenderSettings, files: Pools):
    """(family or file, bpy object)"""
    if files.meshes and rng.random() < USERS:
        path = files.meshes[rng.integers(len(files.meshes))]
        return path.name, objects.add_file(path)
    family, mesh = meshes.random_mesh(rng, settings.split)
    return family, objects.add_mesh(family, mesh)


def _material(rng, settings: RenderSettings, files: Pools, detail: float, repeat: float, has_uv: bool = True):
    if files.textures and rng.random() < USERS:
        return materials.image(rng, Path(files.textures[rng.integers(len(files.textures))]), repeat, has_uv)
    plain = SURFACES[settings.surfaces]
    if plain and rng.random() < plain:
        return materials.plain(rng)
    return materials.procedural(rng, settings.split, detail)


def _keyframes(created, poses: np.ndarray, index: int) -> None:
    """Set rigid poses (T, 4, 4), as keyframes if they change."""
    created.pass_index = index
    created.rotation_mode = 'QUATERNION'
    moving = bool((poses != poses[0]).any())
    for t, pose in enumerate(poses if moving else poses[:1]):
        matrix = Matrix(pose.tolist())
        created.location, created.rotation_quaternion = matrix.to_translation(), matrix.to_quaternion()
        if moving:
            created.keyframe_insert('location', frame=t)
            created.keyframe_insert('rotation_quaternion', frame=t)


def _camera(settings: RenderSettings, poses: np.ndarray) -> None:
    """Add the camera, with the lens of each frame as keyframes."""
    data = bpy.data.cameras.new('camera')
    camera = bpy.data.objects.new('camera', data)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    side = min(settings.height, settings.width)
    for t, focus in enumerate(settings.focus_distances()):
        values = blender_lens.blender_lens(settings.lens, focus, side, settings.breathing)
        blender_lens.apply(data, values)
        for path in ('lens', 'dof.focus_distance', 'dof.aperture_fstop'):
            data.keyframe_insert(path, frame=t)
    blender_lens.set_sensor(data, settings.height, settings.width)
    _keyframes(camera, poses @ TO_BLENDER, 0)
