"""Converts one recording into samples: frames of a sweep, rectified, with the RGB-D sensor's depth in their view."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dfd_ros.bags.association import Counts, Event, Exposure, Frame, associate
from dfd_ros.bags.depth_reprojection import DepthRegistration, Intrinsics
from dfd_ros.bags.frame_tree import Frames
from dfd_ros.bags.sweep_cutting import sweeps
from dfd_ros.calibration.calibration_file import Calibration, CameraModel
from dfd_ros.core.errors import InputError, quoted, reason, shortened
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import Lens
from dfd_ros.core.sample import Sample
from dfd_ros.core.significant_bits import SignificantBits

DARK, BRIGHT = 8, 250  # of 255: an image with a lower mean, or a pixel above, is badly exposed
MAX_BRIGHT = 0.3  # share of such pixels
MIN_SWEEP = 3  # frames
DEPTH_BITS = 12  # of the mantissa to keep: precise to 0.012 %, in a third of the space
MAX_SAMPLE = 128_000_000  # px of all its frames, which are in memory as image and depth, twice
UNDECODABLE = 'that cannot be decoded', 'with depth that cannot be decoded', 'that cannot be converted'
NO_POSE = 'with no known pose between the cameras'
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
        image_bits: that 16-bit images use; 0 = found from the whole recording.
    """

    tolerance: float = 0.02
    frames: int = 0
    largest: int = 30
    width: int = 0
    smallest_depth: float = 0.2
    keep_moving: bool = False
    image_bits: int = 0

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ('tolerance', 1e-4, 10.0),
            ('frames', 0, 1000),
            ('largest', MIN_SWEEP, 1000),
            ('width', 0, 8192),
            ('smallest_depth', 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise InputError(f'{name}: {value} is out of range ({lowest} to {highest})')
        SignificantBits(self.image_bits)
        if 0 < self.frames < MIN_SWEEP:
            raise InputError(f'frames: {self.frames} are too few for a sweep, must be at least {MIN_SWEEP}')


class _UnusableFrame(Exception):
    """A frame that cannot be in a sample: why, as `Counts` counts it, and the line for where no frame can."""

    def __init__(self, reason: str, line: str = '') -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class _ConvertedFrame(NamedTuple):
    image: np.ndarray
    depth: np.ndarray
    state: LensState
    intrinsics: tuple[float, float, float, float]
    """Of focus at infinity: the same for all frames of a sweep."""


class Converter:
    """Turns one recording into samples.

    Args:
        calibration: of the rig; overrides the intrinsics and extrinsics in the recording. Without a name of their
            child frame, the extrinsics are to the frame of the depth images.
        frames: the recording's coordinate frames, which are filled while it is read.
        name: of the recording, for messages.
        depth_camera: of the depth images; overrides that in the recording.
        depth_is_rectified: whether they are without distortion.
    """

    def __init__(
        self,
        settings: ConvertSettings,
        calibration: Calibration,
        frames: Frames,
        name: str,
        *,
        depth_camera: CameraModel | None = None,
        depth_is_rectified: bool = True,
    ) -> None:
        self.settings, self.calibration, self.name = settings, calibration, name
        self._depth_model, self._depth_is_rectified = depth_camera, depth_is_rectified
        self.counts = Counts()
        self.lines: dict[str, str] = {}
        """What to do about a reason of `counts.left_out`."""
        self._cameras: Counter[str] = Counter()  # images by their frame_id
        self._frames = frames
        self._registrations: OrderedDict[tuple, DepthRegistration] = OrderedDict()
        self._maps: OrderedDict[tuple, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def samples(
        self, events: Iterable[Event], is_done: Callable[[int], bool] = lambda number: False
    ) -> Iterator[tuple[int, Sample | None]]:
        """(number, sample) of each sweep that gives a sample; None as sample where `is_done`."""
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

    def notes(self) -> list[str]:
        """Lines about the recording, complete once the samples have been read."""
        notes = [line for reason, line in self.lines.items() if reason in UNDECODABLE]
        if len(self._cameras) > 1:
            (first, _), (second, _), *_ = self._cameras.most_common()
            notes.append(
                f'{self.name}: images with the frame_id {quoted(first)} and with {quoted(second)}, which are taken for '
                'two cameras and not mixed in a sweep'
            )
        if line := self.counts.late_lens_states:
            notes.append(f'{self.name}: {line}')
        return notes

    def _usable(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self._cameras[frame.image.frame_id] += 1
            if frame.state.settled or self.settings.keep_moving:
                yield frame
            else:
                self.counts.left_out['with a moving lens'] += 1

    def _sample(self, sweep: list[Frame]) -> Sample | None:
        wanted = self.settings.frames or MIN_SWEEP
        if len(sweep) < wanted or len({frame.state.focus_distance for frame in sweep}) < 2:
            self.counts.left_out['in sweeps that are too short'] += len(sweep)
            return None
        largest = max(self._magnification(frame.state) for frame in sweep)
        follows = self._info_follows_focus(sweep)
        converted: list[_ConvertedFrame] = []
        for frame in sweep:
            try:
                one = self._converted(frame, largest, follows)
                if converted and one.image.shape != converted[0].image.shape:
                    raise _UnusableFrame('of another size than the first of their sweep')
                self._check_memory(one.image, len(sweep))
                converted.append(one)
            except _UnusableFrame as error:
                self.counts.left_out[error.reason] += 1
                self.lines.setdefault(error.reason, error.line)
        if len(converted) < wanted or len({one.state.focus_distance for one in converted}) < 2:
            self.counts.left_out['in sweeps that are too short'] += len(converted)
            return None
        return Sample(
            np.stack([one.image for one in converted]),
            [one.state for one in converted],
            np.stack([one.depth for one in converted]),
            intrinsics=converted[-1].intrinsics,
            source='recording',
            about={'recording': self.name},
            name=self.name,
        )

    def _converted(self, frame: Frame, largest: float, follows: bool) -> _ConvertedFrame:
        """Raises _UnusableFrame, and OSError where the recording cannot be read."""
        try:
            return self._convert(frame, largest, follows)
        except (_UnusableFrame, OSError):
            raise
        except Exception as error:  # whatever a library makes of odd values
            raise _UnusableFrame(
                UNDECODABLE[2], f'{self.name}: frame at {frame.stamp:.3f} s: {reason(error)}'
            ) from None

    def _convert(self, frame: Frame, largest: float, follows: bool) -> _ConvertedFrame:
        pose = self._pose(frame)
        image = self._loaded(frame.image, UNDECODABLE[0])
        if _is_badly_exposed(image):
            raise _UnusableFrame('with bad exposure')
        full_width = image.shape[1]
        magnification = self._magnification(frame.state)
        own = self._intrinsics(frame, image.shape[:2], follows)
        unzoomed = Intrinsics(own.fx / magnification, own.fy / magnification, own.cx, own.cy)
        # All frames in the scale of the largest, so that none has a border with nothing in it.
        view = Intrinsics(unzoomed.fx * largest, unzoomed.fy * largest, unzoomed.cx, unzoomed.cy)
        image = self._rectified(image, own, view)
        if _is_badly_exposed(image):
            raise _UnusableFrame(
                'with nothing in view', f'{self.name}: the rectified images are black; are the intrinsics right?'
            )
        scale = 1.0
        if self.settings.width and self.settings.width != full_width:
            import cv2

            scale = self.settings.width / full_width
            size = self.settings.width, max(1, round(image.shape[0] * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        depth = self._registered(frame, view.resized(scale), image.shape[:2], pose)
        if np.count_nonzero(np.isfinite(depth)) < depth.size * self.settings.smallest_depth:
            raise _UnusableFrame('with too little valid depth')
        is_known = not math.isnan(frame.state.magnification) or self.calibration.aperture is not None
        lens = self._lens(frame.state, full_width).scaled(scale)
        state = replace(
            frame.state,
            focal_length=lens.focal_length,
            f_number=lens.f_number,
            pixel_pitch=lens.pixel_pitch,
            magnification=largest if is_known else math.nan,
        )
        at_infinity = unzoomed.resized(scale)
        return _ConvertedFrame(
            image, _rounded(depth), state, (at_infinity.fx, at_infinity.fy, at_infinity.cx, at_infinity.cy)
        )

    def _loaded(self, exposure: Exposure, counted: str) -> np.ndarray:
        try:
            return exposure.load()
        except OSError:
            raise
        except Exception as error:  # whatever a decoder makes of broken data
            raise _UnusableFrame(counted, f'{self.name}: image at {exposure.stamp:.3f} s: {reason(error)}') from None

    def _check_memory(self, image: np.ndarray, frames: int) -> None:
        height, width = image.shape[:2]
        if frames * height * width > MAX_SAMPLE:
            raise _UnusableFrame(
                'too large for a sample',
                f'{self.name}: {frames} frames of {width}x{height} pixels are more than '
                f'{MAX_SAMPLE // 10**6} million pixels; give a smaller --width',
            )

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
        lengths = [info.intrinsics.fx for info in infos if info is not None]
        return bool(lengths) and max(lengths) > min(lengths) * (1 + 1e-6)

    def _intrinsics(self, frame: Frame, size: tuple[int, int], follows: bool) -> Intrinsics:
        """Of the image as recorded, at its focus distance."""
        camera = self.calibration.camera_at(frame.state.focus_distance, size[1], size[0])
        if camera is not None:
            own = Intrinsics.of_camera(camera)
            # A calibration without a focus distance counts as one for focus at infinity.
            follows = self.calibration.aperture is not None and not math.isnan(camera.focus_distance)
        else:
            info = frame.image.info()
            if info is None:
                raise _UnusableFrame(
                    'without intrinsics',
                    f'{self.name}: no camera_info of the focus camera; give its intrinsics with '
                    '--calibration (dfd calibrate intrinsics)',
                )
            if (info.height, info.width) not in (size, (0, 0)):
                raise _UnusableFrame(
                    'of another size than their camera_info',
                    f'{self.name}: camera_info is of {info.width}x{info.height} pixels, the images have '
                    f'{size[1]}x{size[0]}; give their intrinsics with --calibration',
                )
            own = info.intrinsics
        zoom = 1.0 if follows else self._magnification(frame.state)
        return replace(own, fx=own.fx * zoom, fy=own.fy * zoom)

    def _rectified(self, image: np.ndarray, own: Intrinsics, view: Intrinsics) -> np.ndarray:
        """The image without distortion, in the scale of the view."""
        import cv2

        height, width = image.shape[:2]
        if own.distortion:
            key = own, view, width, height
            if key not in self._maps:
                self._maps[key] = own.projection.maps(view.matrix, (width, height), cv2.CV_16SC2)
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

    def _registered(self, frame: Frame, view: Intrinsics, size: tuple[int, int], pose: np.ndarray) -> np.ndarray:
        depth = self._loaded(frame.depth, UNDECODABLE[1])
        camera = self._depth_camera(frame, depth.shape[:2])
        key = camera, view, size, depth.shape, pose.tobytes()
        if key not in self._registrations:
            self._registrations[key] = DepthRegistration(camera, view, size, pose)
            if len(self._registrations) > _REGISTRATIONS:
                self._registrations.popitem(last=False)
        self._registrations.move_to_end(key)
        return self._registrations[key](depth)

    def _depth_camera(self, frame: Frame, size: tuple[int, int]) -> Intrinsics:
        info = frame.depth.info() if self._depth_model is None else None
        if info is not None:
            if (info.height, info.width) not in (size, (0, 0)):
                raise _UnusableFrame(
                    'with depth of another size than its camera_info',
                    f'{self.name}: camera_info is of {info.width}x{info.height} pixels, the depth images '
                    f'have {size[1]}x{size[0]}; give the topic of the camera_info that goes with them',
                )
            return info.intrinsics
        model = self._depth_model or self.calibration.rgbd_camera
        if model is not None:
            camera = Intrinsics.of_camera(model.resized(size[1], size[0]))
            return Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy) if self._depth_is_rectified else camera
        raise _UnusableFrame(
            'without intrinsics of the RGB-D sensor',
            f'{self.name}: no camera_info of the RGB-D sensor; give its topic, or its intrinsics with --calibration',
        )

    def _pose(self, frame: Frame) -> np.ndarray:
        """From the frame of the depth image to that of the focus camera."""
        depth_frame, image_frame = frame.depth.frame_id.lstrip('/'), frame.image.frame_id.lstrip('/')
        extrinsics = self.calibration.extrinsics
        try:
            if extrinsics is None:
                pose = self._frames.between(image_frame, depth_frame, frame.depth.stamp)
            # The focus camera is the parent, whatever the recording calls it.
            elif not depth_frame or extrinsics.child in ('', depth_frame):
                return extrinsics.matrix
            else:
                pose = self._frames.between(extrinsics.child, depth_frame, frame.depth.stamp)
        except InputError as error:
            raise _UnusableFrame(NO_POSE, f'{self.name}: {error}') from None
        if pose is not None:
            return pose if extrinsics is None else extrinsics.matrix @ pose
        if extrinsics is not None:
            raise _UnusableFrame(
                NO_POSE,
                f'{self.name}: depth is in the frame {shortened(depth_frame, 80)}, the extrinsics are to '
                f'{extrinsics.child}, and TF does not link the two; correct the child of the '
                'extrinsics, or record depth that is registered to that frame',
            )
        reason = 'TF does not link them' if self._frames else 'the recording has no TF'
        raise _UnusableFrame(
            NO_POSE,
            f'{self.name}: images are in the frame {shortened(image_frame, 80) or "(none)"}, depth is in '
            f'{shortened(depth_frame, 80) or "(none)"}, and {reason}; give the extrinsics with --calibration '
            '(dfd calibrate extrinsics)',
        )


def _is_badly_exposed(image: np.ndarray) -> bool:
    seen = image[::4, ::4].copy()
    red, green, blue = np.moveaxis(seen > BRIGHT, -1, 0)  # ten times as fast as the least along so short an axis
    return bool(seen.mean() < DARK or (red & green & blue).mean() > MAX_BRIGHT)


def _rounded(depth: np.ndarray) -> np.ndarray:
    """Depth, NaN = none, without the digits beyond any sensor's precision, which would not compress."""
    drop = 23 - DEPTH_BITS
    bits = depth.view(np.uint32) + np.uint32(1 << (drop - 1))
    bits &= np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)  # NaN stays NaN
    return bits.view(np.float32)
