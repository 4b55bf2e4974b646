"""Depth peeling, to see behind edges: a second rendering in which camera rays pass everything nearer than a limit.

Materials become transparent, for camera rays only, where they are nearer than a limit image in the camera's view: light
and shadows are still those of the complete scene. Rays also pass back faces, otherwise the inside of a box would show
up behind its edge.
"""

from __future__ import annotations

import bpy
import numpy as np

LIMIT = 'dfd_limit'


class Peeling:
    """Adds peeling nodes to every material, and controls the limit that they share.

    Args:
        height, width: of the view, px.
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self._group = bpy.data.node_groups.new(LIMIT, 'ShaderNodeTree')
        self._group.interface.new_socket('Limit', in_out='OUTPUT', socket_type='NodeSocketColor')
        window, self._node = (self._group.nodes.new(kind) for kind in ('ShaderNodeTexCoord', 'ShaderNodeTexImage'))
        self._node.interpolation, self._node.extension = 'Closest', 'EXTEND'
        output = self._group.nodes.new('NodeGroupOutput')
        self._group.links.new(window.outputs['Window'], self._node.inputs['Vector'])
        self._group.links.new(self._node.outputs['Color'], output.inputs['Limit'])
        self.limit(None)
        for material in bpy.data.materials:
            self._insert(material)

    def limit(self, depth: np.ndarray | None) -> None:
        """Let camera rays pass everything nearer than `depth` (H, W), m; infinity = everything; None = nothing."""
        pixels = np.zeros((self.height, self.width, 4), np.float32)
        if depth is not None:
            pixels[..., :3] = np.minimum(depth, 1e6)[::-1, :, None]  # Blender's rows run upwards
        pixels[..., 3] = 1
        # A new image each time: Cycles caches the pixels of an image from frame to frame.
        old, new = (
            self._node.image,
            bpy.data.images.new(LIMIT, self.width, self.height, float_buffer=True, is_data=True),
        )
        new.pixels.foreach_set(pixels.ravel())
        new.update()
        self._node.image = new
        if old is not None:
            bpy.data.images.remove(old)

    def _insert(self, material) -> None:
        tree = material.node_tree
        output = tree.get_output_node('CYCLES')
        if output is None or not output.inputs['Surface'].is_linked:
            return
        # Otherwise every shadow ray evaluates the material that it hits, which doubles the time for a view.
        material.use_transparent_shadow = False
        surface = output.inputs['Surface'].links[0].from_socket
        new, link = tree.nodes.new, tree.links.new
        shared = new('ShaderNodeGroup')
        shared.node_tree = self._group
        limit = shared.outputs['Limit']
        camera, light, geometry = new('ShaderNodeCameraData'), new('ShaderNodeLightPath'), new('ShaderNodeNewGeometry')
        # passed = camera ray and (depth < limit or (back face and limit > 0))
        nearer = _math(tree, 'LESS_THAN', camera.outputs['View Z Depth'], limit)
        on = _math(tree, 'GREATER_THAN', limit, 0.0)
        back = _math(tree, 'MULTIPLY', geometry.outputs['Backfacing'], on)
        either = _math(tree, 'MAXIMUM', nearer, back)
        passed = _math(tree, 'MULTIPLY', either, light.outputs['Is Camera Ray'])
        mix, transparent = new('ShaderNodeMixShader'), new('ShaderNodeBsdfTransparent')
        link(passed, mix.inputs['Fac'])
        link(surface, mix.inputs[1])
        link(transparent.outputs['BSDF'], mix.inputs[2])
        link(mix.outputs['Shader'], output.inputs['Surface'])


def _math(tree, operation: str, a, b):
    node = tree.nodes.new('ShaderNodeMath')
    node.operation = operation
    for socket, value in zip(node.inputs, (a, b)):
        if isinstance(value, float):
            socket.default_value = value
        else:
            tree.links.new(value, socket)
    return node.outputs['Value']
