"""The calibration file of a rig, `calibration.yaml`: what nodes, converter and rig description take.

Every section is optional (null: not measured), and each is written by one `dfd calibrate` command. Within a section,
residuals and the focus distance of intrinsics may be null, which means unknown::

    format: dfd_ros-calibration-1
    focus_camera: {width: 640, height: 480, fx: 812.1, fy: 812.4, cx: 320.3, cy: 239.8,
                   distortion: [-0.11, 0.05, 0.0, 0.0, 0.0], focus_distance_m: 0.6, residual_px: 0.08, images: 20}
    rgbd_camera: {…}                # the RGB-D sensor's colour camera, the same keys. Where distortion is not k1, k2,
                                    # p1, p2, k3: distortion_model, rational_polynomial or equidistant (fisheye)
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
    focus_motion:                   # from a focus command to the frames that show it, by their stamps
      latency_s: 0.0                # until the picture begins to change: the sum of both latencies
      latency_frames: 4
      slew_dioptre_s: 45.0          # 0: at once
      settle_s: 0.02                # from the end of the way to rest
      uncertainty_s: 0.004          # of all times
      report_latency_frames: 1      # from the stamp of a report of the driver to the frame that shows it
      rate_hz: 30.0
      steps: 16
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter

from dfd_ros.core import provenance
from dfd_ros.core.constraints import Finite, Unknown
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import read_yaml, write_text
from dfd_ros.core.geometry import matrix_from_rpy, rpy_from_matrix
from dfd_ros.core.lens_distortion import PLUMB_BOB, Projection, is_pinhole, known_model
from dfd_ros.core.optics import Lens, distance, vergence
from dfd_ros.core.parsing import parse

FORMAT = 'dfd_ros-calibration-1'

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Distance = Annotated[float, Field(ge=1e-3)]
"""m, of a focus; infinity allowed."""
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class CameraModel:
    """A camera with one of ROS's models of distortion; pixel centres at whole numbers.

    Raises `InputError` where the number of coefficients is not the model's.
    """

    width: PositiveInt
    height: PositiveInt
    fx: Positive
    fy: Positive
    cx: Finite
    cy: Finite
    distortion: tuple[Finite, ...] = (0.0,) * 5
    """k1, k2, p1, p2, k3 of plumb_bob, or the model's."""
    focus_distance: Annotated[Distance, Unknown, Field(alias='focus_distance_m')] = math.nan
    """m, that fx and fy go with."""
    residual_px: Annotated[float, Unknown] = math.nan
    images: NonNegativeInt = 0
    distortion_model: str = PLUMB_BOB
    """As `lens_distortion.known_model` names it."""

    def __post_init__(self) -> None:
        model = known_model(self.distortion_model, len(self.distortion), 'distortion')
        object.__setattr__(self, 'distortion_model', model)

    def check(self, where: str) -> None:
        """Raises `InputError` that begins with `where` for what is no camera."""
        if not is_pinhole((self.fx, self.fy, self.cx, self.cy), (self.width, self.height)):
            raise InputError(
                f'{where}: fx, fy, cx, cy of {self.fx:g}, {self.fy:g}, {self.cx:g}, {self.cy:g} px are of no camera '
                f'of {self.width}x{self.height} px'
            )
        if any(self.distortion):
            self.projection.check((self.width, self.height), where)

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], float)

    @property
    def projection(self) -> Projection:
        """From rays to pixels and back."""
        return Projection(self.matrix, self.distortion, self.distortion_model)

    def for_opencv(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners (N, 2) px and distortion (M,) for OpenCV's functions that know no fisheye: those that this camera
        sees, or those that a camera with this matrix and no distortion would see."""
        if self.projection.is_fisheye:
            return self.projection.pinhole_pixels(pixels).astype(np.float32), np.zeros(5)
        return pixels, np.array(self.distortion)

    def resized(self, width: int, height: int) -> CameraModel:
        """The same camera seen in images of another size. Raises `InputError` where the shape is another."""
        if abs(width * self.height - height * self.width) > max(self.width, self.height):
            raise InputError(
                f'calibration: for images of {self.width}x{self.height}, these have {width}x{height}, '
                'another shape; calibrate with images of this one'
            )
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def zoomed(self, factor: float) -> CameraModel:
        """The same camera at a focus at which the image is `factor` times as large."""
        return replace(self, fx=self.fx * factor, fy=self.fy * factor)


@dataclass(frozen=True)
class Extrinsics:
    """Pose of the frame `child` in the frame `parent`: a point p of the child is R p + t in the parent."""

    parent: Name
    child: Name
    translation: Annotated[tuple[Finite, Finite, Finite], Field(alias='translation_m')]
    """m."""
    rpy: Annotated[tuple[Finite, Finite, Finite], Field(alias='rotation_rpy_rad')]
    """rad, about the fixed axes x, y, z, as in URDF."""
    residual_px: Annotated[float, Unknown] = math.nan
    pairs: NonNegativeInt = 0

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, parent: str, child: str, **more) -> Extrinsics:
        """Of a (4, 4) transform from `child` to `parent`."""
        x, y, z = (float(t) for t in matrix[:3, 3])
        return cls(parent, child, (x, y, z), rpy_from_matrix(matrix), **more)

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) transform of points from `child` to `parent`."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = matrix_from_rpy(*self.rpy), self.translation
        return matrix


@dataclass(frozen=True)
class FocusMap:
    """Control value of the focus motor against focus distance, as `FocusTable` takes them."""

    values: tuple[float, ...]
    focus_distances: tuple[float, ...]
    """m, from the farthest to the nearest; infinity is allowed."""
    residual: float = math.nan
    """Dioptres, root mean square over the sweeps."""
    sweeps: int = 0
    hysteresis: float = math.nan
    """How much smaller the values are where the motor comes from larger ones; `values` are for a motor that comes from
    smaller ones. NaN = not measured."""

    @property
    def hysteresis_dioptre(self) -> float:
        """Dioptres, in the mean over the map."""
        return self.hysteresis * float(np.ptp([vergence(d) for d in self.focus_distances]) / np.ptp(self.values))

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


@dataclass(frozen=True)
class FocusMotion:
    """The focus after a command, in the times of the frames' stamps: a frame shows the step from latency on, and is
    settled once the lens has made its way and rests."""

    latency_s: Annotated[Finite, Field(ge=-60, le=60)] = 0.0
    """s, added to that in frames."""
    latency_frames: Annotated[Finite, Field(ge=0, le=60)] = 0.0
    slew_dioptre_s: NonNegativeFloat = 0.0
    """Dioptres in a second; 0 = at once."""
    settle_s: Annotated[Finite, Field(ge=0, le=60)] = 0.0
    """s, from the arrival of the lens to rest."""
    uncertainty_s: Annotated[Finite, Field(ge=0, le=60)] = 0.0
    """s, by which frames may be nearer to a motion than these times say."""
    report_latency_frames: Annotated[int, Field(ge=0, le=60)] | None = None
    """Frames from the stamp of a driver's report to that of the frame that shows it; None: not measured."""
    rate_hz: Annotated[float, Unknown] = math.nan
    steps: NonNegativeInt = 0

    def until_rest(self, vergence_difference: float, period: float) -> float:
        """s from a command over so many dioptres to the first frame at rest; `period`: s between two frames."""
        way = vergence_difference / self.slew_dioptre_s if self.slew_dioptre_s else 0.0
        return self.latency_s + self.latency_frames * period + way + self.settle_s + self.uncertainty_s


@dataclass(frozen=True)
class _Entry:
    value: Finite
    focus_distance_m: Distance


@dataclass(frozen=True)
class _Breathing:
    focus_distance_m: Distance
    magnification: Annotated[float, Field(ge=0.1, le=10)]


@dataclass(frozen=True)
class _FocusSection:
    residual_dioptre: Annotated[float, Unknown] = math.nan
    sweeps: NonNegativeInt = 0
    hysteresis: Annotated[float, Unknown] = math.nan


@dataclass(frozen=True)
class _ApertureSection:
    width: PositiveInt
    # As `lens_state.PLAUSIBLE`.
    focal_length_mm: Annotated[float, Field(ge=1e-2, le=1e4)]
    pixel_pitch_um: Annotated[float, Field(ge=1e-2, le=1e4)]
    f_number: Annotated[float, Field(ge=1e-3, le=1e4)]
    breathing: Annotated[list[_Breathing], Field(min_length=1)]
    residual: Annotated[float, Unknown] = math.nan
    frames: NonNegativeInt = 0


@dataclass(frozen=True)
class _File:
    format: str = FORMAT
    focus_camera: CameraModel | None = None
    rgbd_camera: CameraModel | None = None
    extrinsics: Extrinsics | None = None
    focus_table: Annotated[list[_Entry], Field(min_length=1)] | None = None
    focus: _FocusSection | None = None
    aperture: _ApertureSection | None = None
    focus_motion: FocusMotion | None = None


@dataclass(frozen=True)
class _TableFile:
    focus_table: Annotated[list[_Entry], Field(min_length=1)]
    focus: _FocusSection | None = None


@dataclass(frozen=True)
class Calibration:
    """What is known of a rig; None is not measured."""

    focus_camera: CameraModel | None = None
    rgbd_camera: CameraModel | None = None
    extrinsics: Extrinsics | None = None
    focus: FocusMap | None = None
    aperture: Aperture | None = None
    motion: FocusMotion | None = None

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
        return camera.zoomed(
            self.aperture.magnification(focus_distance) / self.aperture.magnification(camera.focus_distance)
        )

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """Raises `InputError` that names the file and the field."""
        content = read_yaml(path, '; dfd calibrate writes it')
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            raise InputError(
                f'{path}: not a calibration file, its first line must be "format: {FORMAT}"; dfd calibrate import '
                'makes one of the files of camera_calibration, Kalibr and OpenCV'
            )
        file = parse(_File, content, str(path))
        for name in ('focus_camera', 'rgbd_camera'):
            if (camera := getattr(file, name)) is not None:
                camera.check(f'{path}, {name}')
        aperture = (
            None
            if file.aperture is None
            else Aperture(
                file.aperture.width,
                Lens(file.aperture.focal_length_mm * 1e-3, file.aperture.f_number, file.aperture.pixel_pitch_um * 1e-6),
                *_columns(file.aperture.breathing, 'magnification'),
                file.aperture.residual,
                file.aperture.frames,
            )
        )
        focus = None if file.focus_table is None else _focus_map(file.focus_table, file.focus or _FocusSection())
        return cls(file.focus_camera, file.rgbd_camera, file.extrinsics, focus, aperture, file.focus_motion)

    @classmethod
    def read_or_empty(cls, path: str | Path) -> Calibration:
        """As `read`; where there is no such file yet, nothing is known."""
        return cls.read(path) if Path(path).exists() else cls()

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        focus, aperture = self.focus, self.aperture
        file = _File(
            focus_camera=self.focus_camera,
            rgbd_camera=self.rgbd_camera,
            extrinsics=self.extrinsics,
            focus_table=None
            if focus is None
            else [_Entry(*entry) for entry in zip(focus.values, focus.focus_distances)],
            focus=None if focus is None else _FocusSection(focus.residual, focus.sweeps, focus.hysteresis),
            aperture=None
            if aperture is None
            else _ApertureSection(
                aperture.width,
                aperture.lens.focal_length * 1e3,
                aperture.lens.pixel_pitch * 1e6,
                aperture.lens.f_number,
                [_Breathing(*entry) for entry in zip(aperture.focus_distances, aperture.magnifications)],
                aperture.residual,
                aperture.frames,
            ),
            focus_motion=self.motion,
        )
        content = {
            name: section
            for name, section in TypeAdapter(_File).dump_python(file, by_alias=True, warnings=False).items()
            if section is not None
        }
        for camera in ('focus_camera', 'rgbd_camera'):
            if content.get(camera, {}).get('distortion_model') == PLUMB_BOB:
                del content[camera]['distortion_model']  # older versions do not know the key, and take this for granted
        if focus is not None and math.isnan(focus.hysteresis):
            del content['focus']['hysteresis']  # nor this one
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(_rounded(content), sort_keys=False, default_flow_style=None, width=110)
        write_text(path, text + provenance.comment())


def read_focus_table(path: str | Path) -> FocusMap:
    """The focus table of a calibration, or of a file with `focus_table` alone.

    Raises:
        InputError: names the file and what is wrong with it.
    """
    file = parse(_TableFile, read_yaml(path), str(path), extra='ignore')
    return _focus_map(file.focus_table, file.focus or _FocusSection())


def _focus_map(entries: list[_Entry], about: _FocusSection) -> FocusMap:
    distances, values = _columns(entries, 'value')
    return FocusMap(values, distances, about.residual_dioptre, about.sweeps, about.hysteresis)


def _columns(entries: list, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Focus distances, from far to near, and what is beside them under this name."""
    pairs = sorted(((entry.focus_distance_m, getattr(entry, name)) for entry in entries), reverse=True)
    return tuple(d for d, _ in pairs), tuple(x for _, x in pairs)


def _rounded(value: Any) -> Any:
    """As YAML is to show it: nine digits, null for NaN, lists for tuples."""
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(f'{value:.9g}')
    return value
