"""Adds objects to Blender's scene: generated meshes and the user's files."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from dfd_ros.core.errors import InputError, reason
from dfd_ros.synthesis.blender.meshes import Mesh

SUFFIXES = ('.obj', '.glb', '.ply')


def add_mesh(name: str, mesh: Mesh):
    """Add a mesh to the scene as a bpy object."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    data.uv_layers.new().data.foreach_set('uv', mesh.uv.astype(np.float32).ravel())
    if mesh.smooth:
        data.shade_smooth()
    # Lathed meshes have seams and rows of zero width, which Cycles does not accept.
    data.validate()
    created = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(created)
    return created


def add_plane(name: str, size: float):
    """Add a square with sides of `size` m in the x, y plane, facing +z."""
    half = size / 2
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    uv = np.array([[[0, 0], [1, 0], [1, 1], [0, 1]]], float)
    return add_mesh(name, Mesh(corners, np.array([[0, 1, 2, 3]]), uv, smooth=False))


def add_file(path: Path):
    """Add the meshes of a file as one bpy object of unit size, with their own materials.

    Raises:
        InputError: Blender cannot read the file, or it has no mesh.
    """
    before = set(bpy.data.objects)
    try:
        {'.obj': bpy.ops.wm.obj_import, '.ply': bpy.ops.wm.ply_import, '.glb': bpy.ops.import_scene.gltf}[
            path.suffix.lower()
        ](filepath=str(path))
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f'{path}: Blender cannot read it: {reason(error)}') from None
    added = [created for created in bpy.data.objects if created not in before]
    meshes = [created for created in added if created.type == 'MESH' and len(created.data.polygons)]
    if not meshes:
        raise InputError(f'{path}: no mesh with faces in it')
    for created in added:  # an animation in the file would override the scene's motion, which the truth follows
        created.animation_data_clear()
    bpy.context.view_layer.update()
    for created in meshes:
        created.data = created.data.copy()
        created.shape_key_clear()
        created.data.transform(created.matrix_world)
        created.parent, created.matrix_world = None, Matrix()
    with bpy.context.temp_override(
        active_object=meshes[0], object=meshes[0], selected_objects=meshes, selected_editable_objects=meshes
    ):
        if len(meshes) > 1:
            bpy.ops.object.join()
    joined = meshes[0]
    for created in [o for o in bpy.data.objects if o not in before and o != joined]:
        bpy.data.objects.remove(created)
    corners = np.empty(3 * len(joined.data.vertices), np.float32)
    joined.data.vertices.foreach_get('co', corners)
    points = corners.reshape(-1, 3)
    centre = (points.max(0) + points.min(0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    if not 0 < radius < np.inf:
        raise InputError(f'{path}: its mesh has no size')
    joined.data.transform(Matrix.Scale(1 / radius, 4) @ Matrix.Translation(-Vector(centre.tolist())))
    return joined
