"""Converts one recording into samples: frames of a sweep, rectified, with the RGB-D sensor's depth in their view."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dfd_ros.bags.association import Counts, Event, Frame, associate
from dfd_ros.bags.depth_reprojection import DepthRegistration, Intrinsics
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.sweep_cutting import sweeps
from dfd_ros.calibration.calibration_file import Calibration
from dfd_ros.core.errors import InputError
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.core.sample import Sample

DARK, BRIGHT = 8, 250  # of 255: an image with a lower mean, or a pixel above, is badly exposed
LARGEST_BRIGHT = 0.3  # share of such pixels
SMALLEST_SWEEP = 3  # frames
DEPTH_BITS = 12  # of the mantissa to keep: precise to 0.012 %, in a third of the space
_REGISTRATIONS = 64  # in the cache, one for each focus if the lens breathes


@dataclass(frozen=True)
class ConvertSettings:
    """How recordings are turned into samples.

    Attributes:
        tolerance: largest time (s) between an image and its depth image.
        frames: number of frames of a sample; 0 = as many as the sweep has.
        largest: largest number of frames of a sample if `frames` is 0.
        width: of the samples' images (px); 0 = as recorded.
        smallest_depth: smallest share of pixels with depth in a frame.
        keep_moving: keep frames exposed while the lens moved.
    """

    tolerance: float = 0.02
    frames: int = 0
    largest: int = 30
    width: int = 0
    smallest_depth: float = 0.2
    keep_moving: bool = False

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ('tolerance', 1e-4, 10.0),
            ('frames', 0, 1000),
            ('largest', SMALLEST_SWEEP, 1000),
            ('width', 0, 8192),
            ('smallest_depth', 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise InputError(f'{name}: {value} is out of range ({lowest} to {highest})')
        if 0 < self.frames < SMALLEST_SWEEP:
            raise InputError(f'frames: {self.frames} are too few for a sweep, must be at least {SMALLEST_SWEEP}')


class Converter:
    """Turns one recording into samples.

    Args:
        calibration: of the rig; overrides the intrinsics and extrinsics in the recording.
        frames: the recording's coordinate frames, which are filled while it is read.
        name: of the recording, for messages.
    """

    def __init__(self, settings: ConvertSettings, calibration: Calibration, frames: Frames, name: str) -> None:
        self.settings, self.calibration, self.name = settings, calibration, name
        self.counts = Counts()
        self._frames = frames
        self._registrations: OrderedDict[tuple, DepthRegistration] = OrderedDict()
        self._maps: OrderedDict[tuple, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def samples(
        self, events: Iterable[Event], is_done: Callable[[int], bool] = lambda number: False
    ) -> Iterator[tuple[int, Sample | None]]:
        """(number, sample) of each sweep that gives a sample; None as sample where `is_done`.

        Raises InputError if the recording cannot give any: no intrinsics, or frames that TF does not link.
        """
        frames = associate(events, self.settings.tolerance, self.counts)
        found = sweeps(self._usable(frames), length=self.settings.frames, largest=self.settings.largest)
        for number, sweep in enumerate(found):
            if is_done(number):
                self.counts.samples += 1
                self.counts.frames += len(sweep)
                yield number, None
                continue
            sample = self._sample(sweep)
            if sample is not None:
                self.counts.samples += 1
                self.counts.frames += len(sample)
                yield number, sample

    def _usable(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if frame.state.settled or self.settings.keep_moving:
                yield frame
            else:
                self.counts.left_out['with a moving lens'] += 1

    def _sample(self, sweep: list[Frame]) -> Sample | None:
        wanted = self.settings.frames or SMALLEST_SWEEP
        if len(sweep) < wanted or len({frame.state.focus_distance for frame in sweep}) < 2:
            self.counts.left_out['in sweeps that are too short'] += len(sweep)
            return None
        largest = max(self._magnification(frame.state) for frame in sweep)
        follows = self._info_follows_focus(sweep)
        images: list[np.ndarray] = []
        depths: list[np.ndarray] = []
        states: list[LensState] = []
        intrinsics = None
        for frame in sweep:
            image = frame.image.load()
            reason = _bad_exposure(image)
            if reason is None and images and image.shape[:2] != self._full_size:
                reason = 'of another size than the first of their sweep'
            if reason is not None:
                self.counts.left_out[reason] += 1
                continue
            self._full_size = image.shape[:2]
            own = self._intrinsics(frame, image.shape[:2], follows)
            # Of focus at infinity; the same for all frames of the sweep.
            unzoomed = Intrinsics(
                own.fx / self._magnification(frame.state), own.fy / self._magnification(frame.state), own.cx, own.cy
            )
            # All frames in the scale of the largest, so that none has a border with nothing in it.
            view = Intrinsics(unzoomed.fx * largest, unzoomed.fy * largest, unzoomed.cx, unzoomed.cy)
            image = self._rectified(image, own, view)
            scale = 1.0
            if self.settings.width and self.settings.width != image.shape[1]:
                import cv2

                scale = self.settings.width / image.shape[1]
                size = self.settings.width, max(1, round(image.shape[0] * scale))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            depth = self._registered(frame, view.resized(scale), image.shape[:2])
            if np.isfinite(depth).mean() < self.settings.smallest_depth:
                self.counts.left_out['with too little valid depth'] += 1
                continue
            images.append(image)
            depths.append(_rounded(depth))
            known = not math.isnan(frame.state.magnification) or self.calibration.aperture is not None
            lens = self._lens(frame.state, self._full_size[1]).scaled(scale)
            states.append(
                replace(
                    frame.state,
                    focal_length=lens.focal_length,
                    f_number=lens.f_number,
                    pixel_pitch=lens.pixel_pitch,
                    magnification=largest if known else math.nan,
                )
            )
            at_infinity = unzoomed.resized(scale)
            intrinsics = at_infinity.fx, at_infinity.fy, at_infinity.cx, at_infinity.cy
        if len(images) < wanted or len({state.focus_distance for state in states}) < 2:
            self.counts.left_out['in sweeps that are too short'] += len(images)
            return None
        return Sample(
            np.stack(images),
            states,
            np.stack(depths),
            intrinsics=intrinsics,
            source='recording',
            about={'recording': self.name},
            name=self.name,
        )

    _full_size = (0, 0)

    def _magnification(self, state: LensState) -> float:
        """Image scale relative to focus at infinity, of the calibration, else of the lens state, else 1."""
        if self.calibration.aperture is not None:
            return self.calibration.aperture.magnification(state.focus_distance)
        return 1.0 if math.isnan(state.magnification) else state.magnification

    def _lens(self, state: LensState, width: int) -> Lens:
        """The lens for images of this width, of the calibration, else of the lens state."""
        aperture = self.calibration.aperture
        return state.lens if aperture is None else aperture.lens.scaled(width / aperture.width)

    def _info_follows_focus(self, sweep: list[Frame]) -> bool:
        """Whether camera_info changes with the focus; otherwise it is for focus at infinity."""
        infos = [frame.image.info() for frame in sweep]
        lengths = [info.k[0] for info in infos if info is not None]
        return bool(lengths) and max(lengths) > min(lengths) * (1 + 1e-6)

    def _intrinsics(self, frame: Frame, size: tuple[int, int], follows: bool) -> Intrinsics:
        """Of the image as recorded, at its focus distance."""
        camera = self.calibration.camera_at(frame.state.focus_distance, size[1], size[0])
        if camera is not None:
            distortion = tuple(camera.distortion) if any(camera.distortion) else ()
            own = Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, distortion)
            # A calibration without a focus distance counts as one for focus at infinity.
            follows = self.calibration.aperture is not None and not math.isnan(camera.focus_distance)
        else:
            info = frame.image.info()
            if info is None:
                raise InputError(
                    f'{self.name}: no camera_info of the focus camera; give its intrinsics with '
                    '--calibration (dfd calibrate intrinsics)'
                )
            if (info.height, info.width) not in (size, (0, 0)):
                raise InputError(
                    f'{self.name}: camera_info is of {info.width}x{info.height} pixels, the images have '
                    f'{size[1]}x{size[0]}; give their intrinsics with --calibration'
                )
            own = Intrinsics.from_message(info, f'{self.name}: camera_info of the focus camera')
        zoom = 1.0 if follows else self._magnification(frame.state)
        return replace(own, fx=own.fx * zoom, fy=own.fy * zoom)

    def _rectified(self, image: np.ndarray, own: Intrinsics, view: Intrinsics) -> np.ndarray:
        """The image without distortion, in the scale of the view."""
        import cv2

        height, width = image.shape[:2]
        if own.distortion:
            key = own, view, width, height
            if key not in self._maps:
                self._maps[key] = cv2.initUndistortRectifyMap(
                    own.matrix, np.array(own.distortion), None, view.matrix, (width, height), cv2.CV_16SC2
                )
                if len(self._maps) > _REGISTRATIONS:
                    self._maps.popitem(last=False)
            map_x, map_y = self._maps[key]
            return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR)
        zoom = own.fx / view.fx
        if abs(zoom - 1) < 1e-6:
            return image
        zoom_y = own.fy / view.fy
        to_own = np.array([[zoom, 0, own.cx - zoom * view.cx], [0, zoom_y, own.cy - zoom_y * view.cy]])
        return cv2.warpAffine(
            image,
            to_own,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _registered(self, frame: Frame, view: Intrinsics, size: tuple[int, int]) -> np.ndarray:
        depth = frame.depth.load()
        camera = self._depth_camera(frame, depth.shape)
        pose = self._pose(frame)
        key = camera, view, size, depth.shape, pose.tobytes()
        if key not in self._registrations:
            self._registrations[key] = DepthRegistration(camera, view, size, pose)
            if len(self._registrations) > _REGISTRATIONS:
                self._registrations.popitem(last=False)
        self._registrations.move_to_end(key)
        return self._registrations[key](depth)

    def _depth_camera(self, frame: Frame, size: tuple[int, int]) -> Intrinsics:
        info = frame.depth.info()
        if info is not None:
            if (info.height, info.width) not in (size, (0, 0)):
                raise InputError(
                    f'{self.name}: camera_info is of {info.width}x{info.height} pixels, the depth images '
                    f'have {size[1]}x{size[0]}; give the topic of the camera_info that goes with them'
                )
            return Intrinsics.from_message(info, f'{self.name}: camera_info of the RGB-D sensor', rectified=True)
        if self.calibration.rgbd_camera is not None:
            camera = self.calibration.rgbd_camera.resized(size[1], size[0])
            return Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy)
        raise InputError(
            f'{self.name}: no camera_info of the RGB-D sensor; give its topic, or its intrinsics with --calibration'
        )

    def _pose(self, frame: Frame) -> np.ndarray:
        """From the frame of the depth image to that of the focus camera."""
        depth_frame, image_frame = frame.depth.frame_id.lstrip('/'), frame.image.frame_id.lstrip('/')
        extrinsics = self.calibration.extrinsics
        if extrinsics is not None:
            # The focus camera is the parent, whatever the recording calls it.
            if not depth_frame or depth_frame == extrinsics.child:
                return extrinsics.matrix
            rest = self._frames.between(extrinsics.child, depth_frame, frame.depth.stamp)
            if rest is None:
                raise InputError(
                    f'{self.name}: depth is in the frame {depth_frame}, the extrinsics are to '
                    f'{extrinsics.child}, and TF does not link the two; correct the child of the '
                    'extrinsics, or record depth that is registered to that frame'
                )
            return extrinsics.matrix @ rest
        pose = self._frames.between(image_frame, depth_frame, frame.depth.stamp)
        if pose is None:
            reason = 'TF does not link them' if self._frames else 'the recording has no TF'
            raise InputError(
                f'{self.name}: images are in the frame {image_frame or "(none)"}, depth is in '
                f'{depth_frame or "(none)"}, and {reason}; give the extrinsics with --calibration '
                '(dfd calibrate extrinsics)'
            )
        return pose


def _bad_exposure(image: np.ndarray) -> str | None:
    seen = image[::4, ::4]
    if seen.mean() < DARK or (seen.min(-1) > BRIGHT).mean() > LARGEST_BRIGHT:
        return 'with bad exposure'
    return None


def _rounded(depth: np.ndarray) -> np.ndarray:
    """Depth without the digits beyond any sensor's precision, which would not compress."""
    drop = 23 - DEPTH_BITS
    bits = depth.view(np.uint32)
    rounded = ((bits + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)
    return np.where(np.isfinite(depth), rounded, np.float32(np.nan))
