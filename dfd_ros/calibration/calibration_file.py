"""The calibration file of a rig, `calibration.yaml`: what nodes, converter and rig description take.

Every section is optional (null: not measured), and each is written by one `dfd calibrate` command. Within a section,
residuals and the focus distance of intrinsics may be null, which means unknown::

    format: dfd_ros-calibration-1
    focus_camera: {width: 640, height: 480, fx: 812.1, fy: 812.4, cx: 320.3, cy: 239.8,
                   distortion: [-0.11, 0.05, 0.0, 0.0, 0.0], focus_distance_m: 0.6, residual_px: 0.08, images: 20}
    rgbd_camera: {…}                # the RGB-D sensor's colour camera, the same keys
    extrinsics:                     # pose of the child frame in the parent frame, as TF and URDF have it
      parent: focus_camera_optical_frame
      child: rgbd_camera_color_optical_frame
      translation_m: [0.041, 0.002, -0.006]
      rotation_rpy_rad: [0.01, -0.02, 0.003]       # about fixed x, y, z, as in URDF
      residual_px: 0.11
      pairs: 12
    focus_table:                    # control value of the focus motor against focus distance
    - {value: 0, focus_distance_m: .inf}
    - {value: 250, focus_distance_m: 0.1}
    focus: {residual_dioptre: 0.03, sweeps: 6}
    aperture:
      width: 640                    # px, of the images that it was measured in
      focal_length_mm: 4.3
      pixel_pitch_um: 2.0
      f_number: 1.83                # effective: focal length over the aperture that explains the blur
      breathing:                    # image scale, relative to focus at infinity
      - {focus_distance_m: .inf, magnification: 1.0}
      - {focus_distance_m: 0.1, magnification: 1.044}
      residual: 0.01
      frames: 12
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import yaml

from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml, write_text
from dfd_ros.core.geometry import matrix_from_rpy, rpy_from_matrix
from dfd_ros.core.optics import Lens, distance, vergence

FORMAT = 'dfd_ros-calibration-1'


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera with the distortion that ROS calls plumb_bob; pixel centres at whole numbers."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 5
    """k1, k2, p1, p2, k3."""
    focus_distance: float = math.nan
    """m, that fx and fy go with."""
    residual_px: float = math.nan
    images: int = 0

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], float)

    def resized(self, width: int, height: int) -> CameraModel:
        """The same camera seen in images of another size. Raises `InputError` where the shape is another."""
        if abs(width * self.height - height * self.width) > max(self.width, self.height):
            raise InputError(f'calibration: for images of {self.width}x{self.height}, these have {width}x{height}, '
                             'another shape; calibrate with images of this one')
        sx, sy = width / self.width, height / self.height
        return replace(self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy,
                       cx=(self.cx + 0.5) * sx - 0.5, cy=(self.cy + 0.5) * sy - 0.5)

    def zoomed(self, factor: float) -> CameraModel:
        """The same camera at a focus at which the image is `factor` times as large."""
        return replace(self, fx=self.fx * factor, fy=self.fy * factor)

    def _section(self) -> dict:
        return {'width': self.width, 'height': self.height, 'fx': _rounded(self.fx), 'fy': _rounded(self.fy),
                'cx': _rounded(self.cx), 'cy': _rounded(self.cy), 'distortion': [_rounded(d) for d in self.distortion],
                'focus_distance_m': _rounded(self.focus_distance), 'residual_px': _rounded(self.residual_px),
                'images': self.images}

    @classmethod
    def _parse(cls, section: _Section) -> CameraModel:
        focus_distance = section.optional('focus_distance_m')
        if focus_distance <= 0:
            raise InputError(f'{section.where}: focus_distance_m: {focus_distance} must be a positive number or .inf')
        return cls(section.whole('width', least=1), section.whole('height', least=1), section.positive('fx'),
                   section.positive('fy'), section.number('cx'), section.number('cy'),
                   section.numbers('distortion', 5), focus_distance, section.optional('residual_px'),
                   section.whole('images', 0))


@dataclass(frozen=True)
class Extrinsics:
    """Pose of the frame `child` in the frame `parent`: a point p of the child is R p + t in the parent."""

    parent: str
    child: str
    translation: tuple[float, float, float]
    """m."""
    rpy: tuple[float, float, float]
    """rad, about the fixed axes x, y, z, as in URDF."""
    residual_px: float = math.nan
    pairs: int = 0

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, parent: str, child: str, **more) -> Extrinsics:
        """Of a (4, 4) transform from `child` to `parent`."""
        return cls(parent, child, tuple(float(t) for t in matrix[:3, 3]), rpy_from_matrix(matrix), **more)

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) transform of points from `child` to `parent`."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = matrix_from_rpy(*self.rpy), self.translation
        return matrix

    def _section(self) -> dict:
        return {'parent': self.parent, 'child': self.child,
                'translation_m': [_rounded(t) for t in self.translation],
                'rotation_rpy_rad': [_rounded(a) for a in self.rpy],
                'residual_px': _rounded(self.residual_px), 'pairs': self.pairs}

    @classmethod
    def _parse(cls, section: _Section) -> Extrinsics:
        return cls(section.text('parent'), section.text('child'), section.numbers('translation_m', 3),
                   section.numbers('rotation_rpy_rad', 3), section.optional('residual_px'),
                   section.whole('pairs', 0))


@dataclass(frozen=True)
class FocusMap:
    """Control value of the focus motor against focus distance, as `FocusTable` takes them."""

    values: tuple[float, ...]
    focus_distances: tuple[float, ...]
    """m, from the farthest to the nearest; infinity is allowed."""
    residual: float = math.nan
    """Dioptres, root mean square over the sweeps."""
    sweeps: int = 0

    def focus_distance(self, value: float) -> float:
        """m, at a control value: linear in vergence between the entries, held at their ends."""
        order = np.argsort(self.values)
        at = np.array([vergence(d) for d in self.focus_distances])
        return distance(float(np.interp(value, np.array(self.values)[order], at[order])))


@dataclass(frozen=True)
class Aperture:
    """Effective aperture and focus breathing, and the lens data that they are given in."""

    width: int
    """px, of the images that the pixel pitch belongs to."""
    lens: Lens
    focus_distances: tuple[float, ...]
    """m, from the farthest to the nearest; infinity is allowed."""
    magnifications: tuple[float, ...]
    """Image scale at each, relative to focus at infinity."""
    residual: float = math.nan
    frames: int = 0

    def magnification(self, focus_distance: float) -> float:
        """Image scale relative to focus at infinity: linear in vergence between the entries, held at their ends."""
        at = [vergence(d) for d in self.focus_distances]
        return float(np.interp(vergence(focus_distance), at, self.magnifications))

    def _section(self) -> dict:
        return {'width': self.width, 'focal_length_mm': _rounded(self.lens.focal_length * 1e3),
                'pixel_pitch_um': _rounded(self.lens.pixel_pitch * 1e6), 'f_number': _rounded(self.lens.f_number),
                'breathing': [{'focus_distance_m': _rounded(d), 'magnification': _rounded(m)}
                              for d, m in zip(self.focus_distances, self.magnifications)],
                'residual': _rounded(self.residual), 'frames': self.frames}

    @classmethod
    def _parse(cls, section: _Section) -> Aperture:
        distances, magnifications = section.table('breathing', 'magnification')
        if not all(0 < magnification < math.inf for magnification in magnifications):
            raise InputError(f'{section.where}: breathing: every magnification must be positive and finite')
        lens = Lens(section.positive('focal_length_mm') * 1e-3, section.positive('f_number'),
                    section.positive('pixel_pitch_um') * 1e-6)
        return cls(section.whole('width', least=1), lens, distances, magnifications, section.optional('residual'),
                   section.whole('frames', 0))


@dataclass(frozen=True)
class Calibration:
    """What is known of a rig; None is not measured."""

    focus_camera: CameraModel | None = None
    rgbd_camera: CameraModel | None = None
    extrinsics: Extrinsics | None = None
    focus: FocusMap | None = None
    aperture: Aperture | None = None

    def camera_at(self, focus_distance: float, width: int, height: int) -> CameraModel | None:
        """The focus camera's intrinsics at a focus distance (m) and image size; None where they are not measured.

        Raises `InputError` where the image has another shape than those of the calibration.
        """
        camera = self.focus_camera
        if camera is None:
            return None
        camera = camera.resized(width, height)
        if self.aperture is None or math.isnan(camera.focus_distance):
            return camera
        return camera.zoomed(self.aperture.magnification(focus_distance)
                             / self.aperture.magnification(camera.focus_distance))

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """Raises `InputError` that names the file and the field."""
        path = Path(path)
        content = _content(path)
        sections = {}
        for name, kind in (('focus_camera', CameraModel), ('rgbd_camera', CameraModel), ('extrinsics', Extrinsics),
                           ('aperture', Aperture)):
            if content.get(name) is not None:
                sections[name] = kind._parse(_Section(content[name], f'{path}: {name}'))
        if content.get('focus_table') is not None:
            about = _Section(content.get('focus') or {}, f'{path}: focus')
            distances, values = _Section(content, str(path)).table('focus_table', 'value')
            sections['focus'] = FocusMap(values, distances, about.optional('residual_dioptre'),
                                         about.whole('sweeps', 0))
        return cls(**sections)

    @classmethod
    def read_or_empty(cls, path: str | Path) -> Calibration:
        """As `read`; where there is no such file yet, nothing is known."""
        return cls.read(path) if Path(path).exists() else cls()

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        content: dict = {'format': FORMAT}
        for field in fields(self):
            section = getattr(self, field.name)
            if section is None:
                continue
            if isinstance(section, FocusMap):
                content['focus_table'] = [{'value': _rounded(v), 'focus_distance_m': _rounded(d)}
                                          for v, d in zip(section.values, section.focus_distances)]
                content['focus'] = {'residual_dioptre': _rounded(section.residual), 'sweeps': section.sweeps}
            else:
                content[field.name] = section._section()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f'{value:.9g}')


def _content(path: Path) -> dict:
    content = read_yaml(path, '; dfd calibrate writes it')
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise InputError(f'{path}: not a calibration file, its first line must be "format: {FORMAT}"')
    known = {'format', 'focus_table', *(field.name for field in fields(Calibration))}
    unknown = [key for key in content if key not in known]
    if unknown:
        raise InputError(f'{path}: unknown key {unknown[0]!r}, known are {", ".join(sorted(known))}')
    return content


class _Section:
    """A mapping that names itself in what it complains about."""

    def __init__(self, mapping, where: str) -> None:
        if not isinstance(mapping, dict):
            raise InputError(f'{where}: must be a mapping, not {mapping!r}')
        self._mapping, self.where = mapping, where

    def number(self, name: str) -> float:
        """A number, infinity allowed."""
        value = self.optional(name)
        if math.isnan(value):
            raise InputError(f'{self.where}: {name} is missing')
        return value

    def optional(self, name: str) -> float:
        """A number, NaN where it is null or absent."""
        value = self._mapping.get(name)
        if value is None:
            return math.nan
        try:
            return math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            raise InputError(f'{self.where}: {name}: {value!r} is not a number') from None

    def positive(self, name: str) -> float:
        value = self.number(name)
        if not 0 < value < math.inf:
            raise InputError(f'{self.where}: {name}: {value} must be positive and finite')
        return value

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int:
        value = self._mapping.get(name, default)
        if type(value) is not int or value < least:
            raise InputError(f'{self.where}: {name}: {value!r} is not a whole number of at least {least}')
        return value

    def text(self, name: str) -> str:
        value = self._mapping.get(name)
        if not isinstance(value, str) or not value:
            raise InputError(f'{self.where}: {name}: {value!r} is not a name')
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        values = self._mapping.get(name)
        if not isinstance(values, list) or len(values) != count:
            raise InputError(f'{self.where}: {name}: must be a list of {count} numbers')
        numbers = tuple(_Section({name: value}, self.where).number(name) for value in values)
        if not np.isfinite(numbers).all():
            raise InputError(f'{self.where}: {name}: must be a list of {count} finite numbers')
        return numbers

    def table(self, name: str, column: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Focus distances, from far to near, and the `column` beside them."""
        rows = self._mapping.get(name)
        if not isinstance(rows, list) or not rows:
            raise InputError(f'{self.where}: {name}: must be a list of {{focus_distance_m: D, {column}: X}}')
        rows = [_Section(row, f'{self.where}: {name}[{i}]') for i, row in enumerate(rows)]
        pairs = sorted(((row.number('focus_distance_m'), row.number(column)) for row in rows), reverse=True)
        if not all(far > 0 for far, _ in pairs):
            raise InputError(f'{self.where}: {name}: every focus_distance_m must be a positive number or .inf')
        return tuple(d for d, _ in pairs), tuple(x for _, x in pairs)
