"""Reads the visuals of a Gazebo world: an SDF file and the models that it includes.

Reads SDF 1.4 to 1.9 as Gazebo Classic and Gazebo Sim write it (http://sdformat.org/spec). Poses of model, link, visual
and nested includes are multiplied; the pose of an include replaces that of the model. Does not need Blender.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from dfd_ros.core.errors import InputError, reason, shortened
from dfd_ros.core.files import read_bytes
from dfd_ros.core.geometry import matrix_from_rpy

DEEPEST_INCLUDE = 16
MAX_ELEMENTS = 50_000  # models, links and visuals, whose number nested includes can multiply
MAX_FILE = 64 * 2**20  # bytes; the largest world we know has 2 MB
MAX_MESH = 256 * 2**20
MESH_SUFFIXES = ('.dae', '.obj', '.stl', '.glb', '.gltf', '.ply')
SHAPES = ('box', 'sphere', 'cylinder', 'plane')


@dataclass(frozen=True)
class Visual:
    """A visible mesh or shape.

    Attributes:
        name: model, link and visual, for messages.
        pose: (4, 4) of the visual in the world (m).
        mesh: file; None = one of `SHAPES`.
        submesh: name of the part of the file to use; None = all.
        shape, size: name, and (3,) m: the sides of a box; diameter, diameter, length of a sphere or cylinder; the sides
            of a plane and 0.
        scale: (3,) of the mesh.
        fit: longest side (m) to which the mesh is scaled, with its foot at the pose; None = do not scale.
        y_up: the mesh's vertical axis is y, as in most files not made for Gazebo.
        colour: (3,) sRGB in 0..1; None = the mesh's.
        texture: image file; None = the mesh's.
    """

    name: str
    pose: np.ndarray
    mesh: Path | None = None
    submesh: str | None = None
    shape: str | None = None
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fit: float | None = None
    y_up: bool = False
    colour: tuple[float, float, float] | None = None
    texture: Path | None = None


@dataclass
class World:
    """The visuals of a world, and one line with the reason for each part that was left out."""

    visuals: list[Visual] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_world(path: Path, model_folders: list[Path], exclude: tuple[str, ...] = ()) -> World:
    """The visuals of an SDF world.

    Args:
        path: FILE.world or FILE.sdf.
        model_folders: searched for models, with all folders below them.
        exclude: name patterns of models to leave out, such as '*Portrait*'.

    Raises:
        InputError: the file or a folder does not exist, the file is not an SDF world, or nothing is visible.
    """
    for folder in model_folders:
        if not folder.is_dir():
            raise InputError(f'--models {folder}: no such folder')
    root = _parse(path)
    world = root.find('world')
    if root.tag != 'sdf' or world is None:
        raise InputError(f'{path}: not an SDF world: expected <sdf><world>')
    reader = _Reader(_models([path.parent, *model_folders]), [path.parent, *model_folders], exclude)
    reader.add(world, np.eye(4), path.parent, 'world', 0)
    if reader.elements > MAX_ELEMENTS:
        raise InputError(f'{path}: more than {MAX_ELEMENTS} elements, with those of the models that it includes')
    if not reader.world.visuals:
        reasons = '; '.join(reader.world.left_out[:2])
        raise InputError(
            f'{path}: nothing visible in it'
            + (f' ({reasons})' if reasons else ': it has no visuals and includes no models')
        )
    return reader.world


def _parse(path: Path) -> ET.Element:
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    content = read_bytes(path, largest=MAX_FILE)
    try:
        # Safe: Expat refuses exploding entities, and the standard library reads no external ones.
        return ET.fromstring(content.lstrip())
    except (ET.ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(f'{path}: cannot be read as SDF: {reason(error)}') from None


def _models(folders: list[Path]) -> dict[str, Path]:
    """Folder of each model by name; the first one found wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name in ('model.config', 'model.sdf'):
            for file in sorted(folder.rglob(name)):
                found.setdefault(file.parent.name, file.parent)
    return found


class _Reader:
    def __init__(self, models: dict[str, Path], roots: list[Path], exclude: tuple[str, ...]):
        self.models, self.exclude = models, exclude
        self.roots = [root.resolve() for root in roots]
        self.world = World()
        self.elements = 0
        self.parsed = functools.cache(_parsed_model)

    def add(self, element: ET.Element, at: np.ndarray, base: Path, above: str, depth: int) -> None:
        """Add all visuals below a world or a model whose frame is `at`."""
        if depth > DEEPEST_INCLUDE:
            self._leave_out(above, f'models included in each other more than {DEEPEST_INCLUDE} deep')
            return
        for child in element:
            self.elements += 1
            if self.elements > MAX_ELEMENTS:  # read_world refuses it
                return
            label = f'{above}/{shortened(child.get("name", child.tag), 80)}'
            if child.tag in ('model', 'include') and self._is_excluded(child):
                continue
            with self._leaving_out(label):
                if child.tag == 'include':
                    self._include(child, at, label, depth)
                elif child.tag == 'model':
                    self.add(child, at @ _pose(child), base, label, depth + 1)
                elif child.tag == 'link':
                    link = at @ _pose(child)
                    for visual in child.findall('visual'):
                        name = f'{label}/{shortened(visual.get("name", "visual"), 80)}'
                        with self._leaving_out(name):
                            self._visual(visual, link @ _pose(visual), base, name)

    @contextlib.contextmanager
    def _leaving_out(self, label: str) -> Iterator[None]:
        """Leave out the part that raises `InputError`, and record the reason."""
        try:
            yield
        except InputError as error:
            self._leave_out(label, str(error))

    def _include(self, include: ET.Element, at: np.ndarray, label: str, depth: int) -> None:
        uri = _text(include, 'uri')
        folder = self.models.get(_name(uri))
        if folder is None:
            if _name(uri) not in ('sun', 'ground_plane'):  # built into Gazebo: a light, and a plane that hides nothing
                self._leave_out(label, f'no model {_name(uri)} in the model folders; add its folder with --models')
            return
        path, root = self.parsed(folder)
        model = root.find('model')
        if model is None:
            if root.find('light') is None:  # ignore lights: each view adds its own lamps
                raise InputError(f'{path}: no model in it')
            return
        pose = _pose(include) if include.find('pose') is not None else _pose(model)
        self.add(model, at @ pose, folder, f'{label}({folder.name})', depth + 1)

    def _is_excluded(self, element: ET.Element) -> bool:
        names = (element.get('name', ''), _name((element.findtext('uri') or '').strip()))
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.exclude)

    def _visual(self, visual: ET.Element, at: np.ndarray, base: Path, label: str) -> None:
        geometry = visual.find('geometry')
        if geometry is None or _flag(visual, 'transparency'):
            return
        colour, texture = self._material(visual.find('material'), base)
        mesh = geometry.find('mesh')
        if mesh is not None:
            file = self.resolve(_text(mesh, 'uri'), base)
            if file.suffix.lower() not in MESH_SUFFIXES:
                raise InputError(f'{file}: unsupported mesh format, expected {", ".join(MESH_SUFFIXES)}')
            if not 0 < file.stat().st_size <= MAX_MESH:
                raise InputError(f'{file}: empty or larger than {MAX_MESH >> 20} MB')
            self.world.visuals.append(
                Visual(
                    label,
                    at,
                    file,
                    mesh.findtext('submesh/name'),
                    scale=_three(mesh, 'scale', (1, 1, 1)),
                    colour=colour,
                    texture=texture,
                )
            )
            return
        for shape in SHAPES:
            element = geometry.find(shape)
            if element is not None:
                self.world.visuals.append(
                    Visual(label, at, shape=shape, size=_size(element, shape), colour=colour, texture=texture)
                )

    def _material(self, material: ET.Element | None, base: Path):
        """(colour, texture) of a visual, None if not specified."""
        if material is None:
            return None, None
        albedo = material.findtext('pbr/metal/albedo_map')
        if albedo:
            try:
                return None, self.resolve(albedo.strip(), base)
            except InputError:
                return None, None
        texture = self._script(material.find('script'), base)
        if texture is not None:
            return None, texture
        diffuse = material.find('diffuse')
        if diffuse is not None:
            return tuple(np.clip(_three(material, 'diffuse'), 0, 1)), None
        name = material.findtext('script/name', '').strip()
        return GAZEBO_COLOURS.get(name.removeprefix('Gazebo/')), None

    def _script(self, script: ET.Element | None, base: Path) -> Path | None:
        """The texture that an OGRE material names, searched for beside its script."""
        name = '' if script is None else script.findtext('name', '').strip()
        if script is None or not name:
            return None
        for uri in script.findall('uri'):
            try:
                folder = self.resolve((uri.text or '').strip(), base)
            except InputError:
                continue
            for file in sorted(folder.glob('*.material')) if folder.is_dir() else [folder]:
                image = _texture_of(file, name)
                if image is None:
                    continue
                for place in (file.parent, file.parent.parent / 'textures', base / 'materials' / 'textures'):
                    with contextlib.suppress(OSError):  # not a valid file name
                        if (place / image).is_file():
                            return self._inside(place / image)
        return None

    def resolve(self, uri: str, base: Path) -> Path:
        """The file or folder that a URI in SDF names.

        Raises:
            InputError: it does not exist or is outside the world and model folders.
        """
        for scheme in ('model://', 'file://models/', 'package://'):
            if uri.startswith(scheme):
                name, _, rest = uri.removeprefix(scheme).partition('/')
                if name not in self.models:
                    raise InputError(f'{uri}: no model {name} in the model folders')
                return self._inside(_in_any_case(self.models[name] / rest))
        return self._inside(_in_any_case(base / uri.removeprefix('file://')))

    def _inside(self, path: Path) -> Path:
        try:
            path = path.resolve()
            exists = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long a name, or a link to itself
            raise InputError(f'{shortened(path)}: cannot be read: {reason(error)}') from None
        if not any(path.is_relative_to(root) for root in self.roots):
            raise InputError(f'{path}: outside the world and model folders')
        if not exists:
            raise InputError(f'{path}: no such file')
        return path

    def _leave_out(self, label: str, reason: str) -> None:
        self.world.left_out.append(f'{label}: {reason}')


def _model_file(folder: Path) -> Path:
    """The SDF file of a model: the newest version in its model.config, or model.sdf where that cannot be read."""
    config, default = folder / 'model.config', folder / 'model.sdf'
    if config.is_file():
        try:
            versions = _parse(config).findall('sdf')
        except InputError:  # published models have bare ampersands in their descriptions
            if default.is_file():
                return default
            raise
        named = [(_version(sdf), folder / (sdf.text or '').strip()) for sdf in versions]
        named = [(version, file) for version, file in named if file.is_file() and file.parent == folder]
        if named:
            return max(named, key=lambda pair: pair[0])[1]
    return default


def _parsed_model(folder: Path) -> tuple[Path, ET.Element]:
    path = _model_file(folder)
    return path, _parse(path)


def _version(element: ET.Element) -> tuple[int, ...]:
    return tuple(int(part) for part in element.get('version', '0').split('.') if part.isdecimal())


def _texture_of(file: Path, material: str) -> str | None:
    """The first texture of a material in an OGRE script."""
    try:
        words = read_bytes(file).decode(errors='replace').split()
    except InputError:
        return None
    inside = False
    for word, following in itertools.pairwise(words):
        if word == 'material':
            inside = following == material
        elif inside and word == 'texture':
            return Path(following).name
    return None


def _in_any_case(path: Path) -> Path:
    """The file of this name, ignoring case, as worlds made on Windows need."""
    with contextlib.suppress(OSError):  # reported where the file is opened
        if not path.exists() and path.parent.is_dir():
            for other in sorted(path.parent.iterdir()):
                if other.name.lower() == path.name.lower():
                    return other
    return path


def _name(uri: str) -> str:
    """The model that an include names: model://NAME, or the end of any other address."""
    return uri.rstrip('/').rpartition('/')[2]


def _text(element: ET.Element, name: str) -> str:
    text = (element.findtext(name) or '').strip()
    if not text:
        raise InputError(f'<{element.tag}> without <{name}>')
    return text


def _flag(visual: ET.Element, name: str) -> bool:
    """Whether a visual is almost invisible."""
    try:
        return float(visual.findtext(name, '0')) > 0.5
    except ValueError:
        return False


def _numbers(element: ET.Element, name: str, count: int, default=None) -> tuple[float, ...]:
    text = element.findtext(name)
    if text is None and default is not None:
        return tuple(default)
    try:
        values = [float(word) for word in (text or '').split()[:count]]
    except ValueError:
        values = []
    if len(values) < count or not np.isfinite(values).all() or np.abs(values).max() > 1e5:
        raise InputError(f'<{name}> {shortened(text or "", 80)}: expected {count} numbers')
    return tuple(values)


def _three(element: ET.Element, name: str, default=None) -> tuple[float, float, float]:
    x, y, z = _numbers(element, name, 3, default)
    return x, y, z


def _size(element: ET.Element, shape: str) -> tuple[float, float, float]:
    if shape == 'box':
        return _three(element, 'size')
    if shape == 'plane':
        length, width = _numbers(element, 'size', 2, (1, 1))
        return length, width, 0.0
    diameter = 2 * _numbers(element, 'radius', 1)[0]
    return diameter, diameter, diameter if shape == 'sphere' else _numbers(element, 'length', 1)[0]


def _pose(element: ET.Element) -> np.ndarray:
    """(4, 4) from x y z (m), roll pitch yaw (rad, about fixed axes); the identity if there is no pose."""
    pose = element.find('pose')
    if pose is None or not (pose.text or '').split():
        return np.eye(4)
    if pose.get('relative_to') or pose.get('rotation_format', 'euler_rpy') != 'euler_rpy':
        raise InputError('<pose> with relative_to or a quaternion is not supported')
    values = _numbers(element, 'pose', 6)
    scale = np.pi / 180 if pose.get('degrees') == 'true' else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_rpy(*np.multiply(values[3:], scale))
    matrix[:3, 3] = values[:3]
    return matrix


def instances(world: World) -> Iterator[tuple[Path | None, list[Visual]]]:
    """Visuals grouped by mesh, so that each file is read once."""
    by_mesh: dict[Path | None, list[Visual]] = {}
    for visual in world.visuals:
        by_mesh.setdefault(visual.mesh, []).append(visual)
    yield from by_mesh.items()


# Colours of Gazebo's built-in materials (gazebo.material); others become grey.
GAZEBO_COLOURS = {
    'Grey': (0.5, 0.5, 0.5),
    'DarkGrey': (0.3, 0.3, 0.3),
    'White': (0.9, 0.9, 0.9),
    'FlatBlack': (0.05, 0.05, 0.05),
    'Black': (0.05, 0.05, 0.05),
    'Red': (0.8, 0.1, 0.1),
    'RedBright': (0.87, 0.26, 0.07),
    'Green': (0.1, 0.7, 0.1),
    'Blue': (0.1, 0.1, 0.8),
    'SkyBlue': (0.4, 0.7, 0.9),
    'Yellow': (0.9, 0.9, 0.1),
    'Orange': (1.0, 0.51, 0.1),
    'Purple': (0.7, 0.1, 0.8),
    'Turquoise': (0.1, 0.8, 0.8),
    'Gold': (0.8, 0.65, 0.25),
    'Wood': (0.6, 0.42, 0.25),
    'WoodFloor': (0.62, 0.45, 0.28),
    'CeilingTiled': (0.85, 0.85, 0.85),
    'Bricks': (0.6, 0.35, 0.28),
    'Grass': (0.3, 0.45, 0.2),
    'Residential': (0.7, 0.65, 0.6),
    'PaintedWall': (0.8, 0.78, 0.72),
    'Pedestal': (0.7, 0.7, 0.68),
    'LightWood': (0.75, 0.6, 0.4),
}
