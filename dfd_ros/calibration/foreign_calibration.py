"""Calibrations as other programs write them: ROS's camera_calibration, Kalibr and OpenCV.

camera_calibration (and camera_calibration_parsers): ``ost.yaml``, one camera, with the matrix of its rectified images.
Kalibr: ``camchain.yaml``, cameras of all its models, and the pose of each in the one before (``T_cn_cnm1``, m).
OpenCV: YAML, XML or JSON of `cv2.FileStorage` with the names of its calibration programs, ``camera_matrix`` and
``distortion_coefficients`` of one camera or ``M1, D1, M2, D2`` of two, and ``R, T`` from the first camera to the
second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfd_ros.calibration.calibration_file import CameraModel
from dfd_ros.calibration.wide_angle_models import OWN_PARAMETERS, nearest_equidistant
from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import MAX_TEXT, read_text
from dfd_ros.core.geometry import rigid_transform
from dfd_ros.core.lens_distortion import EQUIDISTANT, PLUMB_BOB, Projection, known_model
from dfd_ros.core.parsing import parse

MAX_BASELINE = 5.0
"""m, between two cameras of a rig. Farther apart, the translation is in another unit."""
_OPENCV = re.compile(r'\s*(%YAML|<\?xml|<opencv_storage>)|.*opencv-matrix', re.DOTALL)
_SIZES = 'image_width', 'image_height'


@dataclass(frozen=True)
class ForeignCamera:
    """One camera of a file.

    Attributes:
        name: in the file.
        raw: of its images as they are.
        rectified: of its rectified images, where the file says that they are not those of `raw` without distortion.
        topic: of its images when it was calibrated; empty: not known.
        note: what to know about `raw`; empty: nothing.
    """

    name: str
    raw: CameraModel
    rectified: CameraModel | None = None
    topic: str = ''
    note: str = ''


@dataclass(frozen=True)
class ForeignCalibration:
    """The content of a file.

    Attributes:
        kind: of the program that writes such files.
        cameras: in the order of the file; none: the file has a pose alone.
        poses: (4, 4), of points of each camera but the first in the one before it to its own frame, the other way
            round than TF; None: not in the file.
    """

    path: Path
    kind: str
    cameras: tuple[ForeignCamera, ...]
    poses: tuple[np.ndarray | None, ...] = ()

    def pose(self, parent: str, child: str) -> np.ndarray | None:
        """(4, 4), points of the camera `child` to the camera `parent`; None: not in the file."""
        names = [camera.name for camera in self.cameras] or ['1', '2']
        first, last = sorted((names.index(parent), names.index(child)))
        pose = np.eye(4)
        for step in self.poses[first:last]:
            if step is None:
                return None
            pose = step @ pose
        return pose if names.index(child) == first else np.linalg.inv(pose)


def read_foreign(path: Path) -> ForeignCalibration | None:
    """A calibration of another program; None where the file is none that this module knows.

    Raises:
        InputError: names the file and what is wrong with it, such as a model of distortion that is not known.
    """
    text = read_text(path, largest=MAX_TEXT // 8)
    if _OPENCV.match(text):
        return _opencv(path, text)
    from dfd_ros.core.yaml_loader import load

    try:
        content = load(text)
    except ValueError as error:
        raise InputError(f'{path}: not YAML: {reason(error)}') from None
    if isinstance(content, dict) and 'camera_matrix' in content:
        return _ros(path, content)
    if isinstance(content, dict) and isinstance(content.get('cam0'), dict):
        return _kalibr(path, content)
    return None


# camera_calibration


@dataclass(frozen=True)
class _Matrix:
    rows: int
    cols: int
    data: list[float]

    def array(self, where: str, *shape: int) -> np.ndarray:
        if (self.rows, self.cols) != shape or len(self.data) != shape[0] * shape[1]:
            raise InputError(
                f'{where}: {self.rows}x{self.cols} with {len(self.data)} numbers, must be {shape[0]}x{shape[1]}'
            )
        return np.array(self.data, float).reshape(shape)


@dataclass(frozen=True)
class _RosFile:
    image_width: int
    image_height: int
    camera_matrix: _Matrix
    distortion_coefficients: _Matrix
    distortion_model: str = ''
    camera_name: str = ''
    projection_matrix: _Matrix | None = None


def _ros(path: Path, content: dict) -> ForeignCalibration:
    file = parse(_RosFile, content, str(path), extra='ignore')
    size, d = (file.image_width, file.image_height), file.distortion_coefficients.data
    raw = _camera(path, size, file.camera_matrix.array(f'{path}, camera_matrix', 3, 3), d, file.distortion_model)
    rectified = None
    if file.projection_matrix is not None:
        p = file.projection_matrix.array(f'{path}, projection_matrix', 3, 4)
        rectified = _camera(path, size, p[:, :3], [], '')
    return ForeignCalibration(
        path, 'camera_calibration', (ForeignCamera(file.camera_name or 'camera', raw, rectified),)
    )


# Kalibr


@dataclass(frozen=True)
class _KalibrCamera:
    camera_model: str
    intrinsics: list[float]
    distortion_model: str
    distortion_coeffs: list[float]
    resolution: tuple[int, int]
    rostopic: str = ''
    T_cn_cnm1: list[list[float]] | None = None


_KALIBR_DISTORTIONS = {'radtan': (PLUMB_BOB, 4), 'equidistant': (EQUIDISTANT, 4), 'none': (PLUMB_BOB, 0)}


def _kalibr(path: Path, content: dict) -> ForeignCalibration:
    cameras: list[ForeignCamera] = []
    poses = []
    while (name := f'cam{len(cameras)}') in content:
        where = f'{path}, {name}'
        camera = parse(_KalibrCamera, content[name], where, extra='ignore')
        raw, note = _kalibr_camera(camera, where)
        if cameras:
            poses.append(None if camera.T_cn_cnm1 is None else _pose(f'{where}, T_cn_cnm1', camera.T_cn_cnm1))
        cameras.append(ForeignCamera(name, raw, topic=camera.rostopic, note=note))
    return ForeignCalibration(path, 'Kalibr', tuple(cameras), tuple(poses))


def _kalibr_camera(camera: _KalibrCamera, where: str) -> tuple[CameraModel, str]:
    """A camera, and what to know about it."""
    model, distortion, d = camera.camera_model, camera.distortion_model, camera.distortion_coeffs
    counts = {name: count for name, (_, count) in _KALIBR_DISTORTIONS.items()} | {'fov': 1}
    for kind, value, known in (('camera', model, OWN_PARAMETERS), ('distortion', distortion, counts)):
        if value not in known:
            raise InputError(f'{where}: the {kind} model {quoted(value)} is not known; there are {", ".join(known)}')
    for what, values, count in (
        (f'intrinsics of the model {model}', camera.intrinsics, OWN_PARAMETERS[model] + 4),
        (f'coefficients of the distortion {distortion}', d, counts[distortion]),
    ):
        if len(values) != count and (count or any(values)):
            raise InputError(f'{where}: {len(values)} {what}, must be {count}')
    if distortion == 'fov':
        distort: Projection | float = float(d[0])
    elif model == 'pinhole':
        fx, fy, cx, cy = camera.intrinsics
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return _camera(where, camera.resolution, matrix, d, _KALIBR_DISTORTIONS[distortion][0]), ''
    else:
        distort = Projection(np.eye(3), tuple(d), _KALIBR_DISTORTIONS[distortion][0])
    found, apart = nearest_equidistant(model, camera.intrinsics, distort, camera.resolution, where)
    note = f'{model}-{distortion} as equidistant, within {max(apart, 0.01):.2g} px'
    return _camera(where, camera.resolution, found.matrix, list(found.coefficients), EQUIDISTANT), note


# OpenCV


def _opencv(path: Path, text: str) -> ForeignCalibration:
    storage = _Storage(path, text)
    fisheye = storage.number('fisheye_model')
    model = storage.text('distortion_model') or ('' if fisheye is None else EQUIDISTANT if fisheye else PLUMB_BOB)
    poses: tuple[np.ndarray, ...] = ()
    rotation, translation = storage.matrix('R', 3, 3), storage.matrix('T', 3, 1)
    if rotation is not None and translation is not None:
        poses = (_pose(f'{path}, R and T', rigid_transform(rotation, translation[:, 0])),)
    pairs = [('', 'camera_matrix', 'distortion_coefficients'), ('1', 'M1', 'D1'), ('2', 'M2', 'D2')]
    cameras = []
    for name, k, d in pairs:
        matrix, coefficients = storage.matrix(k, 3, 3), storage.matrix(d)
        if matrix is None:
            continue
        width, height = (storage.number(size) for size in _SIZES)
        if width is None or height is None:
            raise InputError(
                f'{path}: no {_SIZES[0]} and {_SIZES[1]}; add them, of the images that it was calibrated with'
            )
        values = [] if coefficients is None else coefficients.reshape(-1).tolist()
        if len(values) == 4 and not model:
            raise InputError(f'{path}: 4 {d} may be of a fisheye or not; add "fisheye_model: 1" or "fisheye_model: 0"')
        where = f'{path}, {k}'
        cameras.append(ForeignCamera(name or '1', _camera(where, (round(width), round(height)), matrix, values, model)))
    if not cameras and not poses:
        raise InputError(f'{path}: no calibration: neither camera_matrix, M1 nor R and T')
    return ForeignCalibration(path, 'OpenCV', tuple(cameras), poses)


class _Storage:
    """The values of a `cv2.FileStorage` by their names, in any case: older programs write Camera_Matrix."""

    def __init__(self, path: Path, text: str) -> None:
        import cv2

        self._path = path
        try:
            if not text.lstrip().startswith(('%', '<', '{')):
                text = f'%YAML:1.0\n---\n{text}'  # people write such files without the line that OpenCV needs
            self._file = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
            names = self._file.root().keys()
            self._names = {name.lower(): name for name in names}
        except (cv2.error, SystemError, UnicodeDecodeError) as error:
            raise InputError(f'{path}: not a file of OpenCV: {reason(error)}') from None

    def _value(self, name: str, get: Callable[[Any], Any]) -> Any:
        import cv2

        if name.lower() not in self._names:
            return None
        try:
            return get(self._file.getNode(self._names[name.lower()]))
        except (cv2.error, SystemError) as error:
            raise InputError(f'{self._path}, {name}: cannot be read: {reason(error)}') from None

    def number(self, name: str) -> float | None:
        """None where there is none."""
        return self._value(name, lambda node: node.real() if node.isInt() or node.isReal() else None)

    def text(self, name: str) -> str:
        """Empty where there is none."""
        return self._value(name, lambda node: node.string() if node.isString() else '') or ''

    def matrix(self, name: str, *shape: int) -> np.ndarray | None:
        """None where there is none. Raises InputError for another shape, where one is given."""
        found = self._value(name, lambda node: node.mat() if node.isMap() else None)
        if found is not None and shape and found.shape != shape:
            raise InputError(f'{self._path}, {name}: {"x".join(map(str, found.shape))}, must be {shape[0]}x{shape[1]}')
        return None if found is None else np.asarray(found, float)


# All


def _camera(where: object, size: tuple[int, int], matrix: np.ndarray, d: list[float], model: str) -> CameraModel:
    """Raises InputError for what is no camera."""
    if matrix[0, 1] or matrix[1, 0] or matrix[2].tolist() != [0, 0, 1]:
        raise InputError(f'{where}: the matrix is not [fx, 0, cx; 0, fy, cy; 0, 0, 1]')
    coefficients = d or [0.0] * 5
    values = {
        'width': size[0],
        'height': size[1],
        'fx': matrix[0, 0],
        'fy': matrix[1, 1],
        'cx': matrix[0, 2],
        'cy': matrix[1, 2],
        'distortion': coefficients,
        'distortion_model': known_model(model if d else '', len(coefficients), str(where)),
    }
    camera = parse(CameraModel, values, str(where))
    if not (0 <= camera.cx <= camera.width and 0 <= camera.cy <= camera.height):
        raise InputError(f'{where}: the principal point ({camera.cx:.4g}, {camera.cy:.4g}) is outside the image')
    camera.check(str(where))
    return camera


def _pose(where: str, values: Any) -> np.ndarray:
    """(4, 4) rigid transform; m. Raises InputError for what is none."""
    try:
        pose = np.array(values, float)
    except ValueError:
        pose = np.empty(0)
    if pose.shape != (4, 4) or pose[3].tolist() != [0, 0, 0, 1]:
        raise InputError(f'{where}: not a 4x4 matrix that ends with 0, 0, 0, 1')
    turn = pose[:3, :3]
    if not np.isfinite(pose).all() or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0:
        raise InputError(f'{where}: its 3x3 part is not a rotation')
    distance = float(np.linalg.norm(pose[:3, 3]))
    if distance > MAX_BASELINE:
        raise InputError(
            f'{where}: the cameras are {distance:.4g} m apart; the translation must be in metres, and OpenCV writes it '
            "in the unit of the board's squares"
        )
    return pose
