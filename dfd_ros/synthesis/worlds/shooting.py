"""Views of Blender's scene from where a robot might stand, with new lamps and materials for each view."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.blender.passes import Renderer
from dfd_ros.synthesis.worlds.peeling import Peeling
from dfd_ros.synthesis.worlds.second_layer import limits
from dfd_ros.synthesis.worlds.view import View

REACH = 24  # px, about the largest blur of photographs of a view beyond an edge
TRIES = 4000
_GRID = (9, 12)
_VARIED = 'dfd_varied'


@dataclass(frozen=True)
class ViewSettings:
    """Settings of random views. Pairs are minimum and maximum.

    Attributes:
        height, width: px.
        samples: paths per pixel, before denoising.
        eye: height of the camera above the floor (m).
        field: horizontal field of view (degrees).
        nearest: smallest depth in view (m).
        median: median depth in view (m).
        farthest: largest depth in view (m).
        things: minimum number of objects in view.
        varied: share of materials that a view changes.
        pictured: share of these that show a picture, if there are any; the others are plain paint.
        close: share of views that look at one thing from nearby.
        distance: of this thing (m).
        bare: share of views of bare floors and walls, mostly in plain paint, also from nearby: one object suffices.
    """

    height: int = 360
    width: int = 480
    samples: int = 4
    eye: tuple[float, float] = (0.25, 1.7)
    field: tuple[float, float] = (35.0, 72.0)
    nearest: float = 0.12
    median: tuple[float, float] = (0.35, 4.0)
    farthest: float = 9.0
    things: int = 3
    varied: tuple[float, float] = (0.0, 0.5)
    pictured: float = 0.5
    close: float = 0.5
    distance: tuple[float, float] = (0.2, 1.6)
    bare: float = 0.0

    def for_view(self, rng: random.Random) -> ViewSettings:
        """The settings of one view, bare or not."""
        if rng.random() >= self.bare:
            return self
        return replace(self, eye=(0.1, 1.7), median=(0.15, 2.5), things=1, varied=(0.5, 1.0), pictured=0.1, close=0.0)


class Shooting:
    """Renders views of Blender's current scene. Removes the lamps and cameras in it.

    Args:
        name: of the world, stored in the views.
        textures: images for changed materials.
    """

    def __init__(self, name: str, settings: ViewSettings, textures: list[Path], threads: int = 1, device: str = 'auto'):
        self.name, self.settings, self.textures = name, settings, textures
        scene = bpy.context.scene
        for thing in [thing for thing in scene.objects if thing.type in ('LIGHT', 'CAMERA')]:
            bpy.data.objects.remove(thing)
        self._materials = [nodes for material in _all_materials() if (nodes := _prepared(material))]
        self.peeling = Peeling(settings.height, settings.width)
        self.renderer = Renderer(settings.height, settings.width, threads, device)
        self.renderer.prepare()
        scene.cycles.denoising_prefilter = 'FAST'  # views are in focus, so albedo and normals have no noise
        scene.cycles.use_light_tree = False  # a few lamps
        scene.cycles.transparent_max_bounces = 16
        scene.view_layers[0].pass_alpha_threshold = 0.5
        self._camera = bpy.data.objects.new('camera', bpy.data.cameras.new('camera'))
        self._camera.data.sensor_width, self._camera.data.clip_start = 36, 0.02
        self._lamps = [bpy.data.objects.new(f'lamp{i}', bpy.data.lights.new(f'lamp{i}', 'POINT')) for i in range(4)]
        for thing in (self._camera, *self._lamps):
            scene.collection.objects.link(thing)
        scene.camera = self._camera
        scene.world = bpy.data.worlds.new('surroundings')
        scene.world.use_nodes = True
        # Things for close views: no walls, no lawns.
        self._things = [
            (low, high)
            for low, high in map(_bounds, (t for t in scene.objects if t.type == 'MESH'))
            if 0.03 < (high - low).length < 1.6
        ]
        corners = np.array(
            [
                thing.matrix_world @ Vector(corner)
                for thing in scene.objects
                if thing.type == 'MESH'
                for corner in thing.bound_box
            ]
        )
        self._low, self._high = np.percentile(corners, 2, 0), np.percentile(corners, 98, 0)

    def view(self, seed: int) -> View:
        """Render the view of a seed.

        Raises:
            InputError: no suitable camera position found in `TRIES` tries.
        """
        rng = random.Random(f'{self.name} {seed}')
        # From another stream: a share of bare views leaves the others as they are.
        settings = self.settings.for_view(random.Random(f'{self.name} {seed} bare'))
        focal = self._place_camera(rng, settings)
        self._place_lamps(rng)
        self._vary(rng, settings)
        self.peeling.limit(None)
        colour = self.renderer.colour(self.settings.samples, seed)
        depth, _ = self.renderer.truth()
        limit = limits(depth, REACH)
        self.peeling.limit(limit)
        behind, behind_depth = self.renderer.colour_and_depth(max(2, self.settings.samples // 2), seed)
        hidden = np.isfinite(limit) & np.isfinite(behind_depth)
        return View(
            colour,
            depth,
            focal,
            np.where(hidden[..., None], behind, 0),
            np.where(hidden, behind_depth, np.nan),
            {'world': self.name, 'seed': seed},
        )

    def _place_camera(self, rng: random.Random, settings: ViewSettings) -> float:
        """Put the camera where there is something to see; returns the focal length in px."""
        close = bool(self._things) and rng.random() < settings.close
        for attempt in range(TRIES):
            roll = math.radians(rng.gauss(0, 4))
            if close and attempt < TRIES // 2:
                eye, forward = self._near(rng, settings)
            else:
                eye, forward = self._anywhere(rng, settings)
            right = forward.cross(Vector((0, 0, 1))).normalized()
            up = right.cross(forward)
            right, up = right * math.cos(roll) + up * math.sin(roll), up * math.cos(roll) - right * math.sin(roll)
            tangent = math.tan(math.radians(rng.uniform(*settings.field)) / 2)
            things = settings.things + (attempt < TRIES // 2) * rng.randrange(2)
            if self._is_worth(eye, right, up, forward, tangent, settings, things):
                self._camera.matrix_world = (
                    Matrix.Translation(eye) @ Matrix((right, up, -forward)).transposed().to_4x4()
                )
                self._camera.data.lens = 18 / tangent
                return settings.width / 2 / tangent
        raise InputError(
            f'{self.name}: no view with {settings.things} things between {settings.nearest} and '
            f'{settings.farthest} m in {TRIES} tries; is it a room, in metres?'
        )

    def _anywhere(self, rng: random.Random, settings: ViewSettings) -> tuple[Vector, Vector]:
        """Camera position and viewing direction of a robot that drives through the scene."""
        eye = Vector(
            (
                rng.uniform(self._low[0], self._high[0]),
                rng.uniform(self._low[1], self._high[1]),
                self._low[2] + rng.uniform(*settings.eye),
            )
        )
        yaw, pitch = rng.uniform(0, 2 * math.pi), math.radians(rng.triangular(-65, 25, -15))
        return eye, Vector((math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)))

    def _near(self, rng: random.Random, settings: ViewSettings) -> tuple[Vector, Vector]:
        """As `_anywhere`, for a robot that looks at one thing."""
        low, high = rng.choice(self._things)
        aim = Vector(rng.uniform(a, b) for a, b in zip(low, high))
        yaw, pitch = rng.uniform(0, 2 * math.pi), math.radians(rng.triangular(-75, 15, -30))
        forward = Vector((math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)))
        near, far = (math.log(distance) for distance in settings.distance)
        eye = aim - forward * math.exp(rng.uniform(near, far))
        aside = Vector(rng.gauss(0, 0.12) for _ in range(3))
        return eye, (forward + aside).normalized()

    def _is_worth(self, eye, right, up, forward, tangent, settings: ViewSettings, things: int) -> bool:
        scene, graph = bpy.context.scene, bpy.context.evaluated_depsgraph_get()
        seen: dict[str, int] = {}
        depths: list[float] = []
        rows, columns = _GRID
        for row in range(rows):
            for column in range(columns):
                x = (2 * (column + 0.5) / columns - 1) * tangent
                y = (1 - 2 * (row + 0.5) / rows) * tangent * settings.height / settings.width
                ray = (forward + right * x + up * y).normalized()
                hit, at, _, _, thing, _ = scene.ray_cast(graph, eye, ray, distance=20)
                if not hit:
                    return False
                depth = (at - eye).dot(forward)
                if not settings.nearest < depth < settings.farthest:
                    return False
                depths.append(depth)
                seen[thing.name] = seen.get(thing.name, 0) + 1
        low, median, high = np.percentile(depths, [10, 50, 90])
        return (
            settings.median[0] < median < settings.median[1]
            and high / low > 1.2
            and sum(rays >= 3 for rays in seen.values()) >= things
        )

    def _place_lamps(self, rng: random.Random) -> None:
        background = bpy.context.scene.world.node_tree.nodes['Background']
        background.inputs[0].default_value = (*(rng.uniform(0.7, 1) for _ in range(3)), 1)
        background.inputs[1].default_value = math.exp(rng.uniform(math.log(0.08), math.log(0.9)))
        scene, graph = bpy.context.scene, bpy.context.evaluated_depsgraph_get()
        eye = self._camera.matrix_world.translation
        lit = rng.randint(1, len(self._lamps))
        for i, lamp in enumerate(self._lamps):
            # Not behind a wall: at most as far as the camera can see.
            away = Vector((rng.uniform(-2, 2), rng.uniform(-2, 2), rng.uniform(0.1, 1.2)))
            hit, at, *_ = scene.ray_cast(graph, eye, away.normalized(), distance=away.length)
            lamp.location = eye + (0.8 * (at - eye) if hit else away)
            lamp.data.shadow_soft_size = math.exp(rng.uniform(math.log(0.03), math.log(0.5)))
            lamp.data.energy = math.exp(rng.uniform(math.log(4), math.log(60))) if i < lit else 0.0
            lamp.data.color = [rng.uniform(0.7, 1) for _ in range(3)]

    def _vary(self, rng: random.Random, settings: ViewSettings) -> None:
        """Change the colour or picture of some materials."""
        share = rng.uniform(*settings.varied)
        images = {}
        for mix, colour, image, pictured in self._materials:
            mix.inputs['Factor'].default_value = float(rng.random() < share)
            shade = [rng.uniform(0.03, 0.95)] * 3
            if rng.random() < 0.7:
                shade = [min(1.0, max(0.02, s + rng.uniform(-0.35, 0.35))) for s in shade]
            colour.outputs[0].default_value = (*shade, 1)
            with_picture = bool(self.textures) and rng.random() < settings.pictured
            pictured.inputs['Factor'].default_value = float(with_picture)
            if with_picture and mix.inputs['Factor'].default_value:
                path = rng.choice(self.textures)
                if path not in images:
                    images[path] = _picture(path)
                image.image = images[path] or image.image
                if images[path] is None:
                    pictured.inputs['Factor'].default_value = 0.0
        for picture in [p for p in bpy.data.images if p.name.startswith(_VARIED) and not p.users]:
            bpy.data.images.remove(picture)


def _bounds(thing) -> tuple[Vector, Vector]:
    corners = [thing.matrix_world @ Vector(corner) for corner in thing.bound_box]
    return (Vector(min(c[i] for c in corners) for i in range(3)), Vector(max(c[i] for c in corners) for i in range(3)))


def _all_materials() -> list:
    """All materials. Objects without one get a plain material."""
    plain = bpy.data.materials.new('plain')
    plain.use_nodes = True
    for thing in bpy.context.scene.objects:
        if thing.type == 'MESH':
            if not thing.material_slots:
                thing.data.materials.append(plain)
            for slot in thing.material_slots:
                slot.material = slot.material or plain
    return list(bpy.data.materials)


def _prepared(material) -> tuple | None:
    """Make a material's colour changeable. Returns the nodes (mix, colour, picture, mix of the latter two), or None for
    a material without a Principled BSDF."""
    material.use_nodes = True
    tree = material.node_tree
    shader = next((node for node in tree.nodes if node.type == 'BSDF_PRINCIPLED'), None)
    if shader is None:
        return None
    # No mirrors, which many exported files contain: a mirror image has a different depth than the mirror.
    shader.inputs['Roughness'].default_value = max(0.3, shader.inputs['Roughness'].default_value)
    shader.inputs['Metallic'].default_value = min(0.5, shader.inputs['Metallic'].default_value)
    shader.inputs['Transmission Weight'].default_value = 0.0
    if not shader.inputs['Alpha'].is_linked:
        shader.inputs['Alpha'].default_value = 1.0
    new, link = tree.nodes.new, tree.links.new
    mix, pictured = (_ColourMix(tree) for _ in range(2))
    colour, picture, place = new('ShaderNodeRGB'), new('ShaderNodeTexImage'), new('ShaderNodeTexCoord')
    picture.projection, picture.projection_blend = 'BOX', 0.02
    link(place.outputs['Generated'], picture.inputs['Vector'])
    link(colour.outputs[0], pictured.inputs['A'])
    link(picture.outputs['Color'], pictured.inputs['B'])
    base = shader.inputs['Base Color']
    if base.is_linked:
        link(base.links[0].from_socket, mix.inputs['A'])
    else:
        mix.inputs['A'].default_value = base.default_value
    link(pictured.outputs['Result'], mix.inputs['B'])
    link(mix.outputs['Result'], base)
    mix.inputs['Factor'].default_value = 0.0
    return mix, colour, picture, pictured


class _ColourMix:
    """A node that mixes two colours, and its sockets by name."""

    def __init__(self, tree):
        node = tree.nodes.new('ShaderNodeMixRGB')
        self.inputs = {'Factor': node.inputs['Fac'], 'A': node.inputs['Color1'], 'B': node.inputs['Color2']}
        self.outputs = {'Result': node.outputs['Color']}


def _picture(path: Path):
    """A user's image, scaled down to the resolution of a view; None if Blender cannot read it."""
    try:
        image = bpy.data.images.load(str(path))
        width, height = image.size
    except RuntimeError:
        return None
    if not width or not height:
        bpy.data.images.remove(image)
        return None
    if max(width, height) > 1024:
        image.scale(max(1, width * 1024 // max(width, height)), max(1, height * 1024 // max(width, height)))
    image.name = _VARIED
    return image
