"""Which camera a calibration is of, and a rig made of several files: ``[CAMERA=]FILE[:NAME]``, as users write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfd_ros.calibration.calibration_file import FORMAT, Calibration, CameraModel, Extrinsics
from dfd_ros.calibration.foreign_calibration import ForeignCalibration, ForeignCamera, read_foreign
from dfd_ros.core.errors import InputError

FOCUS, RGBD, DEPTH = 'focus', 'rgbd', 'depth'
ROLES = {
    FOCUS: 'the focus camera',
    RGBD: "the RGB-D sensor's colour camera",
    DEPTH: "the camera of the RGB-D sensor's depth images",
}
PARENT = 'focus_camera_optical_frame'
"""Where a file names no frame."""


@dataclass(frozen=True)
class CalibrationSource:
    """A file and which camera it is of.

    Attributes:
        camera: a key of `ROLES`; empty: what the file says, or the focus camera.
        name: of the camera in the file; empty: the only one.
    """

    path: Path
    camera: str = ''
    name: str = ''

    @classmethod
    def parsed(cls, text: str) -> CalibrationSource:
        """Of ``[CAMERA=]FILE[:NAME]``. Raises `InputError` for another camera than those of `ROLES`."""
        camera, equals, rest = text.partition('=')
        if not equals or Path(text).exists():
            camera, rest = '', text
        elif camera not in ROLES:
            raise InputError(f'{text}: there is no such file, and no camera {camera}; there are {", ".join(ROLES)}')
        path, colon, name = rest.rpartition(':')
        if not colon or Path(rest).exists():
            path, name = rest, ''
        return cls(Path(path), camera, name)

    def __str__(self) -> str:
        return f'{self.camera}={self.path}:{self.name}'.removeprefix('=').removesuffix(':')


@dataclass(frozen=True)
class ImportedRig:
    """What several files say of a rig.

    Attributes:
        calibration: of it. The extrinsics' `child` is empty where no file names it: the frame of the camera `child`.
        child: the camera that the extrinsics are to, a key of `ROLES`.
        depth: camera of the depth images as they are; depth_rectified: of rectified ones.
        lines: which camera of which file became which.
    """

    calibration: Calibration
    child: str = RGBD
    depth: CameraModel | None = None
    depth_rectified: CameraModel | None = None
    lines: tuple[str, ...] = ()


def read_rig(sources: Sequence[CalibrationSource], focus_topic: str = '') -> ImportedRig:
    """The calibration that these files give together: at most one file of `dfd calibrate`, to which the others add.

    Args:
        focus_topic: of the focus camera's images. Of two cameras in a file the one with this topic is the focus
            camera, else the first; the other one is the RGB-D sensor's colour camera.

    Raises:
        InputError: names the file and what is wrong with it, or that it does not say which camera is which.
    """
    calibration, own = Calibration(), Path()
    foreign: dict[Path, ForeignCalibration] = {}
    chosen: dict[str, tuple[ForeignCalibration, ForeignCamera]] = {}
    for source in sources:
        if source.path not in foreign:
            found = read_foreign(source.path)
            if found is None:
                if own.name:
                    raise InputError(f'{source.path}: a second calibration file of this kind, beside {own}; give one')
                if source.camera or source.name:
                    raise InputError(
                        f'{source}: a calibration of a whole rig ("format: {FORMAT}") is given as FILE alone'
                    )
                calibration, own = Calibration.read(source.path), source.path
                continue
            foreign[source.path] = found
        for role, camera in _roles(foreign[source.path], source, focus_topic).items():
            if role in chosen:
                raise InputError(f'{source}: {ROLES[role]} is that of {chosen[role][0].path} already')
            chosen[role] = foreign[source.path], camera
    if FOCUS in chosen:
        calibration = replace(calibration, focus_camera=chosen[FOCUS][1].raw)
    if RGBD in chosen:
        calibration = replace(calibration, rgbd_camera=chosen[RGBD][1].raw)
    child = DEPTH if DEPTH in chosen and RGBD not in chosen else RGBD
    extrinsics = _extrinsics(chosen, child, list(foreign.values()))
    if extrinsics is not None:
        calibration = replace(calibration, extrinsics=extrinsics)
    depth = chosen[DEPTH][1] if DEPTH in chosen else None
    return ImportedRig(
        calibration,
        child if extrinsics is not None else RGBD,
        depth.raw if depth else None,
        (depth.rectified or depth.raw) if depth else None,
        tuple(
            f'{file.path}: {camera.name}{f" ({camera.topic})" if camera.topic else ""} of {file.kind} is {ROLES[role]}'
            f'{f"; {camera.note}" if camera.note else ""}'
            for role, (file, camera) in chosen.items()
        ),
    )


def _roles(file: ForeignCalibration, source: CalibrationSource, focus_topic: str) -> dict[str, ForeignCamera]:
    """The cameras of a file by what they are in the rig."""
    cameras = file.cameras
    names = ', '.join(camera.name for camera in cameras)
    if not cameras and (source.camera or source.name):
        raise InputError(f'{source}: has the pose between two cameras, but none of them; give it as FILE alone')
    if source.name:
        cameras = tuple(camera for camera in cameras if camera.name == source.name)
        if not cameras:
            raise InputError(f'{source}: no camera {source.name} in it; there are {names}')
    if source.camera and len(cameras) > 1:
        raise InputError(f'{source}: has the cameras {names}; say which, {source}:{cameras[0].name}')
    if len(cameras) > 2:
        raise InputError(
            f'{source}: has the cameras {names}; say which is which: {FOCUS}={source.path}:{cameras[0].name} and '
            f'{RGBD}={source.path}:{cameras[1].name}'
        )
    if len(cameras) == 2 and focus_topic and _plain(cameras[1].topic) == _plain(focus_topic):
        cameras = cameras[::-1]
    return dict(zip([source.camera] if source.camera else [FOCUS, RGBD], cameras))


def _plain(topic: str) -> str:
    """A topic without its transport."""
    return topic.strip('/').removesuffix('/compressed')


def _extrinsics(
    chosen: dict[str, tuple[ForeignCalibration, ForeignCamera]], child: str, files: list[ForeignCalibration]
) -> Extrinsics | None:
    """Of the file that has both cameras, or of one that has a pose alone."""
    if FOCUS not in chosen or child not in chosen:
        return None
    (focus_file, focus), (child_file, other) = chosen[FOCUS], chosen[child]
    file = focus_file if focus_file is child_file and focus_file.poses else None
    file = file or next((file for file in files if not file.cameras), None)
    if file is None:
        return None
    # A file with a pose alone is from its first camera to its second, as OpenCV names them beside it.
    parent_name = focus.name if file.cameras or focus_file is child_file else '1'
    child_name = other.name if file.cameras or focus_file is child_file else '2'
    pose = file.pose(parent_name, child_name)
    return None if pose is None else Extrinsics.from_matrix(pose, PARENT, '')
