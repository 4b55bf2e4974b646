"""Builds a world as Blender's scene. Each mesh file is read once."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from dfd_ros.core.errors import InputError, reason
from dfd_ros.synthesis.worlds.collada import repaired
from dfd_ros.synthesis.worlds.sdf import Visual, World, instances

MAX_IMAGE = 100e6  # px
MAX_TEXTURE = 2048  # px, longer side; a view has 480


def build(world: World) -> None:
    """Build the world as Blender's scene. Unreadable parts are added to `world.left_out`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # Read all files first: each import updates the scene, which is fast while it is empty.
    placed: list[tuple[Visual, Any, Matrix]] = []
    for mesh, visuals in instances(world):
        if mesh is None:
            placed += [(visual, _shape(visual), Matrix()) for visual in visuals]
            continue
        try:
            parts: list = _read(mesh)
        except InputError as error:
            world.left_out.append(str(error))
            continue
        for visual in visuals:
            wanted = [part for part in parts if visual.submesh in (None, part[0], part[1].name)]
            stands = _stands(visual, wanted)
            placed += [(visual, data, stands @ pose) for _, data, pose in wanted]
    for visual, data, pose in placed:
        _place(visual, data, pose)
    for image in list(bpy.data.images):
        _check(image, world)


def _stands(visual: Visual, parts) -> Matrix:
    """The transform from the frame of a mesh file to that of its visual."""
    turned = Matrix.Rotation(math.pi / 2, 4, 'X') if visual.y_up else Matrix()
    if visual.fit is None or not parts:
        return Matrix.Diagonal((*visual.scale, 1)) @ turned
    corners = np.array([turned @ pose @ vertex.co for _, data, pose in parts for vertex in data.vertices])
    low, high = corners.min(0), corners.max(0)
    scale = visual.fit / max(float((high - low).max()), 1e-6)
    foot = Vector((-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))
    return Matrix.Diagonal((scale, scale, scale, 1)) @ Matrix.Translation(foot) @ turned


def _place(visual: Visual, data, pose: Matrix) -> None:
    thing = bpy.data.objects.new(visual.name, data)
    thing.matrix_world = Matrix([list(row) for row in visual.pose]) @ pose
    bpy.context.scene.collection.objects.link(thing)
    if visual.texture is not None or (visual.colour is not None and (visual.shape or not any(data.materials))):
        if not data.materials:
            data.materials.append(None)
        thing.material_slots[0].link = 'OBJECT'
        thing.material_slots[0].material = _material(visual)


def _read(path: Path) -> list[tuple[str, object, Matrix]]:
    """(name, mesh, pose) of the parts of a mesh file.

    Raises:
        InputError: Blender cannot read the file, or it has no faces.
    """
    before = set(bpy.data.objects)
    suffix = path.suffix.lower()
    try:
        if suffix == '.dae':
            # In a temporary folder, as models may be read-only. `repaired` made the image paths absolute.
            with tempfile.TemporaryDirectory(prefix='dfd-collada-') as folder:
                mended = Path(folder) / 'mesh.dae'
                mended.write_text(repaired(path))
                bpy.ops.wm.collada_import(filepath=str(mended))
        elif suffix == '.obj':
            # Gazebo reads OBJ with z up.
            bpy.ops.wm.obj_import(filepath=str(path), forward_axis='Y', up_axis='Z')
        elif suffix == '.stl':
            bpy.ops.wm.stl_import(filepath=str(path))
        elif suffix == '.ply':
            bpy.ops.wm.ply_import(filepath=str(path))
        else:
            bpy.ops.import_scene.gltf(filepath=str(path))
    except (RuntimeError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f'{path}: Blender cannot read it: {reason(error)}') from None
    finally:
        new = [thing for thing in bpy.data.objects if thing not in before]
    bpy.context.view_layer.update()
    parts = [
        (thing.name, thing.data, thing.matrix_world.copy())
        for thing in new
        if thing.type == 'MESH' and len(thing.data.polygons)
    ]
    for thing in new:
        bpy.data.objects.remove(thing)
    if not parts:
        raise InputError(f'{path}: no mesh with faces in it')
    return parts


def _shape(visual: Visual):
    """The mesh of a box, sphere, cylinder or plane."""
    add: dict[str | None, Callable[[], object]] = {
        'box': lambda: bpy.ops.mesh.primitive_cube_add(size=1),
        'sphere': lambda: bpy.ops.mesh.primitive_uv_sphere_add(radius=0.5),
        'cylinder': lambda: bpy.ops.mesh.primitive_cylinder_add(radius=0.5, depth=1, vertices=48),
        'plane': lambda: bpy.ops.mesh.primitive_plane_add(size=1),
    }
    add[visual.shape]()
    thing = bpy.context.object
    data = thing.data
    data.transform(Matrix.Diagonal((*visual.size, 1)))
    bpy.data.objects.remove(thing)
    return data


def _material(visual: Visual):
    material = bpy.data.materials.new(visual.name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == 'BSDF_PRINCIPLED')
    shader.inputs['Roughness'].default_value = 0.6
    if visual.colour is not None:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in visual.colour]
        shader.inputs['Base Color'].default_value = (*linear, 1)
    if visual.texture is not None:
        image = material.node_tree.nodes.new('ShaderNodeTexImage')
        image.image = bpy.data.images.load(str(visual.texture), check_existing=True)
        material.node_tree.links.new(image.outputs['Color'], shader.inputs['Base Color'])
    return material


def _check(image, world: World) -> None:
    """Remove an image that is missing or too large; scale down one that is larger than needed."""
    if image.source != 'FILE' and not image.packed_file:
        return
    try:
        width, height = image.size
    except RuntimeError:
        width = height = 0
    if not width or not height or width * height > MAX_IMAGE:
        world.left_out.append(
            f'{bpy.path.abspath(image.filepath)}: missing, unreadable or more than '
            f'{MAX_IMAGE / 1e6:.0f} megapixels ({width}x{height})'
        )
        image.user_remap(_grey())  # Blender shows magenta where an image is missing
        bpy.data.images.remove(image)
    elif max(width, height) > MAX_TEXTURE:
        share = MAX_TEXTURE / max(width, height)
        image.scale(max(1, round(width * share)), max(1, round(height * share)))


def _grey():
    grey = bpy.data.images.get('grey')
    if grey is None:
        grey = bpy.data.images.new('grey', 4, 4)
        grey.generated_color = (0.6, 0.6, 0.6, 1)
    return grey
