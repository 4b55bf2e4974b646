"""Metric depth from a stream of images whose focus moves: one frame in, one estimate out.

estimator = DepthEstimator()
for image, lens_state in camera:
    estimate = estimator.push(image, lens_state)
    estimate.depth        # (H, W) float32, m, NaN = unknown

estimate = estimator.estimate_stack(FocalStack.read('examples/push_button'))   # or of a whole stack
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.geometry import Similarity
from dfd_ros.core.lens_state import LensState, is_plausible
from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.backends import OnnxBackend, TorchBackend, choose_device, to_tensor
from dfd_ros.inference.camera_motion import CameraMotion
from dfd_ros.inference.depth_estimate import Estimate
from dfd_ros.inference.estimator_arguments import MIN_IMAGE, RESOLUTION, network_size
from dfd_ros.inference.evidence import NO_ANSWER, Evidence, limited_focus
from dfd_ros.inference.result_maps import ResultMaps
from dfd_ros.inference.swept_range import SweptRange
from dfd_ros.networks.stack_network import check_stack

if TYPE_CHECKING:  # they need Pillow and OpenCV, which a machine that only trains may be without
    from dfd_ros.core.focal_stack import FocalStack
    from dfd_ros.inference.all_in_focus import AllInFocus
    from dfd_ros.inference.blur_scale_search import BlurScaleSearch

SAME_FOCUS = 0.01
"""Share of the range: a frame whose focus has moved by less replaces the last one in the memory."""
RANGE_UNKNOWN = 'the range of the lens is unknown, and the focus has not swept one yet'


class DepthEstimator:
    """Depth, circle of confusion and confidence for every frame of a camera whose focus moves.

    Memory is carried from frame to frame and from sweep to sweep, in the view of the current frame: focus
    breathing and camera motion are taken out of it. It is dropped (`reset`) when the time stamps leap by more
    than `reset_gap` or run backwards, when the resolution changes, and when the lens does.

    The range of depth is, in this order: `range_`; what the lens state says the lens can focus; what the
    first sweep covers. In the last case depth is NaN until the focus turns round for the first time; then the
    frames so far (at most `MAX_REPLAY`) are read again, all in that one call.

    Not thread-safe. Cost and memory a frame do not grow.

    Attributes:
        all_in_focus: whether the estimates have an all-in-focus image; may be changed in the stream.
        resets: how often the memory was dropped.
        reset_reason: why the last time; empty: `reset` was called.
    """

    MAX_REPLAY = 32
    LENS_TOLERANCE = 0.01
    """Relative; a change of a focal length, f-number, pixel pitch or limit within this is no new lens."""
    MAX_OFFSET = 0.5
    """How far the state may lie off the view before it is resampled, in cells of its finest map: resampling
    at every frame would wash it out."""

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        network: networks.Network | str | None = None,
        backend: str = 'torch',
        device: str = 'auto',
        precision: str = 'auto',
        range_: VergenceRange | None = None,
        resolution: int | None = RESOLUTION,
        reset_gap: float = 2.0,
        registration: bool = True,
        all_in_focus: bool = False,
    ):
        """
        Args:
            weights: file; default: those that ship. For the onnx backend a file of `dfd export`.
            network: a network to use as it is, or a name: of a network without weights (best_focus, variational), or
                the one that the weights must be of; your own as module:Class.
            backend: torch or onnx.
            device: auto, cpu, cuda, cuda:N.
            precision: auto, fp32, bf16, fp16 (torch only; auto is bf16 where the hardware multiplies it, fp16 on a GPU
                without, otherwise fp32).
            range_: of depth; default: see above.
            resolution: longer side (px) of what the network sees at most, None = all of it; larger images are reduced
                by area averaging, and the results upsampled along the edges of the image.
            reset_gap: s.
            registration: find zoom, rotation and shift between frames from the images. Without it only the
                magnification in the lens state is corrected for.
            all_in_focus: estimate it too.

        Raises:
            InputError: what of this cannot be.
        """
        if resolution is not None and resolution < MIN_IMAGE:
            raise InputError(f'resolution {resolution}: must be at least {MIN_IMAGE} px')
        if not reset_gap > 0:
            raise InputError(f'reset_gap {reset_gap}: must be a positive number of seconds')
        if not isinstance(range_, VergenceRange | None):
            raise InputError(f'range_ {range_!r}: must be a VergenceRange(near, far)')
        self._backend = _open_backend(weights, network, backend, device, precision)
        self._fixed_range = range_
        self._resolution = resolution
        self._reset_gap = reset_gap
        self._registers = registration
        self.all_in_focus = all_in_focus
        self._last: tuple[tuple[int, ...], LensState] | None = None
        self.resets = -1
        self.reset_reason = ''
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._backend.device

    @property
    def precision(self) -> str:
        """Precision that the network runs in: fp32, bf16 or fp16."""
        return self._backend.precision

    @property
    def network_name(self) -> str:
        """Name of the network."""
        return self._backend.network_name

    @property
    def stack_frames(self) -> int | None:
        """Frames of the stacks that the network reads: its estimate changes after that many. None: it reads frame by
        frame."""
        return self._backend.frames

    def estimate_stack(self, stack: FocalStack, sweeps: int = 1) -> Estimate:
        """Depth of a whole stack, in the view of its last frame. See `estimate_frames`."""
        return deque(self.estimate_frames(stack, sweeps), maxlen=1)[0]

    def estimate_frames(self, stack: FocalStack, sweeps: int = 1) -> Iterator[Estimate]:
        """The estimate after each frame of a stack that is read `sweeps` times, one after the other, from an empty
        memory. The range of depth is `range_`, else that of the lens states, else what the stack covers. An unknown
        blur scale is first found from all frames. Time stamps do not count: a stack is one stream, however far apart
        its frames were taken. Of a stack that is not metric the estimates have no depth, but vergence from 0 at the
        farthest focus to 1 at the nearest.

        Raises:
            InputError: the network reads stacks of another number of frames, or of another part of the range.
        """
        known = self._fixed_range or stack.lens_states[0].range
        range_ = known or stack.range
        if self.stack_frames is not None:
            check_stack(
                self._backend.network_name,
                self.stack_frames,
                [range_.normalise(state.focus_distance) for state in stack.lens_states],
            )
        limits: dict[str, Any] = {} if known else {'near': range_.near, 'far': range_.far}
        frames = [(image, replace(state, stamp=math.nan, **limits)) for image, state in stack]
        self.reset()
        estimates = self._estimates(frames, sweeps, range_)
        return estimates if stack.is_metric else (estimate.without_metres() for estimate in estimates)

    def _estimates(
        self, frames: list[tuple[np.ndarray, LensState]], sweeps: int, range_: VergenceRange
    ) -> Iterator[Estimate]:
        self._find_blur_scale(frames, range_)
        for _ in range(sweeps):
            for image, state in frames:
                yield self.push(image, state)

    @property
    def found_blur_scale(self) -> float:
        """The blur scale k in px of the images, found from them because the aperture is unknown; NaN if it is known, or
        not found yet."""
        if self._blur_scale_search is None or self._last is None:
            return math.nan
        (height, width, _), _ = self._last
        return self._blur_scale_search.blur_scale * width / network_size(height, width, self._resolution)[1]

    @property
    def resolution(self) -> int | None:
        """Longer side (px) of what the network sees at most, None = all of it."""
        return self._resolution

    def change_resolution(self, resolution: int | None, reason: str) -> None:
        """From the next frame on. The memory starts anew: its maps are of the size of the images before."""
        self._resolution = resolution
        self.reset(reason)

    def reset(self, reason: str = '') -> None:
        """Forget all frames so far."""
        self.resets += 1
        self.reset_reason = reason
        self._swept = SweptRange()
        self._frames = 0
        self._replay: deque[tuple[np.ndarray, LensState]] | None = deque()
        self._last = None
        self._forget()

    def _forget(self) -> None:
        """Drop what depends on the range: the state of the network, and its view."""
        self._state: list[torch.Tensor] = []
        self._state_before: list[torch.Tensor] = []  # without the last frame, in the same view
        self._last_focus = math.nan
        self._range: VergenceRange | None = None
        self._to_state_view = Similarity()  # maps pixels of the current frame to the view of the state
        self._motion = CameraMotion(self._registers)
        self.evidence = Evidence()
        self._all_in_focus: AllInFocus | None = None
        self._blur_scale_search: BlurScaleSearch | None = None

    def change_range(self, range_: VergenceRange) -> None:
        """Depth in this range from the next frame on, such as a part of what the lens can focus (`AdaptiveRange`). The
        memory is kept where the network can convert it (`Network.rescaled_state`)."""
        before, self._fixed_range = self._range, range_
        if before is None or before == range_:
            return
        scale, offset = before.width / range_.width, range_.normalise(before.far)
        state, state_before = (
            self._backend.rescaled_state(state, scale, offset) if state else []
            for state in (self._state, self._state_before)
        )
        if state is None or state_before is None:
            self._forget()
            return
        self._state, self._state_before = state, state_before
        self._last_focus = scale * self._last_focus + offset
        self._range = range_
        for part in (self.evidence, self._all_in_focus, self._blur_scale_search):
            if part is not None:
                part.rescale(scale, offset)

    def push(self, image: np.ndarray, lens_state: LensState) -> Estimate:
        """Reads one frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            lens_state: during its exposure.

        Raises:
            InputError: an image or a lens state that cannot be; the frame is then as if never seen. An image of a size
                that the network does not take is refused too, but counts as a frame.
        """
        _check(image, lens_state)
        range_ = self._fixed_range or lens_state.range
        if change := self._change_of_stream(image, lens_state):
            self.reset(change)
        self._last = image.shape, lens_state
        self._frames += 1
        if range_ is not None:
            self._replay = None
            return self._step(image, lens_state, range_)

        range_ = self._swept.push(lens_state.focus_distance)
        if range_ is not None and range_ != self._range:
            self._forget()
            for earlier in self._replay or ():
                self._step(*earlier, range_)
        if self._replay is not None:
            self._replay.append((image.copy(), lens_state))  # cameras use their buffers again
            if len(self._replay) > self.MAX_REPLAY:
                # In the first sweep the newest frames are kept; after it, it is too late to read all again.
                if range_ is None:
                    self._replay.popleft()
                else:
                    self._replay = None
        if range_ is None:
            return Estimate.unknown(image.shape[:2], self._frames, RANGE_UNKNOWN)
        return self._step(image, lens_state, range_)

    def _change_of_stream(self, image: np.ndarray, state: LensState) -> str:
        """What makes this frame the first of another stream; empty if it continues the last one."""
        if self._last is None:
            return ''
        shape, last = self._last
        if shape != image.shape:
            return f'image size {shape[1]}x{shape[0]}, then {image.shape[1]}x{image.shape[0]}'
        gap = state.stamp - last.stamp  # NaN without stamps
        if gap > self._reset_gap or gap < 0:
            return f'{gap:.3g} s between two stamps'
        for name in ('focal_length', 'f_number', 'pixel_pitch', 'near', 'far'):
            before, now = getattr(last, name), getattr(state, name)
            if not self._is_same(before, now):
                return f'{name} {before:.4g}, then {now:.4g}'
        return ''

    def _is_same(self, a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=self.LENS_TOLERANCE) or (math.isnan(a) and math.isnan(b))

    @torch.inference_mode()
    def _step(self, image: np.ndarray, lens_state: LensState, range_: VergenceRange) -> Estimate:
        height, width = image.shape[:2]
        size = network_size(height, width, self._resolution)
        device = self._backend.device
        scale = size[1] / width
        small = _reduced(image, size)
        seen = to_tensor(small, device)
        exact_focus = range_.normalise(lens_state.focus_distance)
        focus = limited_focus(exact_focus)
        blur_scale = lens_state.lens.scaled(scale).blur_scale(range_)
        if abs(focus - self._last_focus) < SAME_FOCUS:
            self._state = self._state_before  # the memory drifts if it reads one focus again and again
        else:
            self._last_focus = focus
        motion = self._follow_view(small, lens_state, scale, size)
        on_cpu = seen if device.type == 'cpu' else to_tensor(small, torch.device('cpu'))  # nothing waits for a GPU
        missing = self.evidence.push(on_cpu, exact_focus, blur_scale, motion.resized(scale))
        self._state_before = self._state
        lens_unknown = math.isnan(blur_scale)
        if lens_unknown:
            blur_scale = self._found_blur_scale(small, focus, motion.resized(scale))
        prediction, *self._state = self._backend(
            seen,
            torch.tensor([focus], dtype=torch.float32),
            torch.tensor([blur_scale], dtype=torch.float32),
            *self._state,
        )
        self._range = range_
        if focus != exact_focus and self._state_before:
            self._state = self._state_before  # too blurred to reveal anything, and more so than the network is told

        results = _on_cpu(torch.cat(prediction[: 3 if lens_unknown else 2], 1))[0]
        if not missing and results[0].isnan().all():
            missing = NO_ANSWER
        guides = None if size == (height, width) else (_grey(small), _grey(image))
        maps = ResultMaps(results, lens_state, range_, self.evidence.seen(), 1 / scale, guides)
        estimate = maps.estimate(self._frames)
        if missing:
            estimate = estimate.without_depth(missing)
        estimate.all_in_focus = self._sharp(image, focus, motion, estimate)
        return estimate

    def _find_blur_scale(self, frames: list[tuple[np.ndarray, LensState]], range_: VergenceRange) -> None:
        """Find an unknown blur scale from all frames of a stack."""
        height, width = frames[0][0].shape[:2]
        size = network_size(height, width, self._resolution)
        lens = frames[0][1].lens
        if not self._backend.reads_blur_scale or not math.isnan(lens.blur_scale(range_)):
            return
        motion = CameraMotion(self._registers)
        small = ((_reduced(image, size), state) for image, state in frames)
        search = self._new_blur_scale_search()
        search.find(
            (image, limited_focus(range_.normalise(state.focus_distance)), motion.push(image, state.magnification))
            for image, state in small
        )

    def _new_blur_scale_search(self) -> BlurScaleSearch:
        from dfd_ros.inference.blur_scale_search import BlurScaleSearch  # needs OpenCV

        self._blur_scale_search = BlurScaleSearch(self._backend)
        return self._blur_scale_search

    def _found_blur_scale(self, image: np.ndarray, focus: float, motion: Similarity) -> float:
        """The blur scale that the images show, in px of what the network sees; NaN as long as it is not found."""
        if not self._backend.reads_blur_scale:
            return math.nan
        search = self._blur_scale_search or self._new_blur_scale_search()
        search.push(image, focus, motion)
        return search.blur_scale

    def _sharp(self, image: np.ndarray, focus: float, motion: Similarity, estimate: Estimate) -> np.ndarray | None:
        if not self.all_in_focus:
            self._all_in_focus = None
            return None
        if self._all_in_focus is None:
            from dfd_ros.inference.all_in_focus import AllInFocus  # needs OpenCV

            self._all_in_focus = AllInFocus()
        return self._all_in_focus.push(image, focus, motion, estimate.coc, estimate.confidence)

    def _follow_view(self, small: np.ndarray, lens_state: LensState, scale: float, size: tuple[int, int]) -> Similarity:
        """Bring the state into the view of this image, once it is off by enough. small: what the network sees, of this
        size. Returns what maps pixels of the whole image to those of the one before."""
        motion = self._motion.push(small, lens_state.magnification).resized(1 / scale)
        if not self._state:
            return motion
        self._to_state_view = self._to_state_view @ motion
        height, width = size
        off = self._to_state_view.resized(scale)
        finest = min(_stride(map_, height, width) for map_ in self._state)
        if off.displacement(height, width) > self.MAX_OFFSET * finest:
            self._state = [_warp(map_, off, height, width) for map_ in self._state]
            if self.evidence.foci_seen is not None:
                self.evidence.foci_seen = _warp(self.evidence.foci_seen, off, height, width)
            self._to_state_view = Similarity()
        return motion


def _open_backend(
    weights: str | Path | None, network: networks.Network | str | None, backend: str, device_name: str, precision: str
) -> TorchBackend | OnnxBackend:
    device = choose_device(device_name)
    if backend == 'onnx':
        if isinstance(network, str) and not networks.needs_weights(network):
            raise InputError(f'backend onnx: the network "{network}" runs by torch alone')
        if weights is None or not isinstance(network, str | None):
            raise InputError(
                'backend onnx: needs the weights as an ONNX file; make it with '
                'dfd export --format onnx --out stream.onnx'
            )
        opened = OnnxBackend(weights, device)
        if network is not None and not networks.is_same(opened.network_name, network):
            raise InputError(f'weights {weights}: of the network "{opened.network_name}", not of "{network}"')
        return opened
    if backend != 'torch':
        raise InputError(f'backend {backend!r}: give torch or onnx')
    if weights is not None and Path(weights).suffix == '.onnx':
        raise InputError(f'weights {weights}: an ONNX file, which needs the backend onnx')
    if not isinstance(network, str | None):
        if weights is not None:
            raise InputError('give the network as a module or the weights, not both')
        return TorchBackend(network, device, precision)
    if network is not None and not networks.needs_weights(network):
        if weights is not None:
            raise InputError(f'weights {weights}: the network "{network}" has none; leave them out')
        return TorchBackend(networks.create(network), device, precision)
    if weights is None:
        if network is not None:
            networks.find(network)  # reports an unknown name
            if not networks.is_same('stream', network):
                raise InputError(f'network "{network}": no weights ship for it; train them and give their file')
        weights = networks.default_weights()
    return TorchBackend(networks.load(weights, device, network), device, precision)


def _check(image: np.ndarray, lens_state: LensState) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f'image: {found}, must be an RGB array of uint8 (H, W, 3)')
    if min(image.shape[:2]) < MIN_IMAGE:
        raise InputError(f'image: {image.shape[1]}x{image.shape[0]} pixels, must be at least {MIN_IMAGE}x{MIN_IMAGE}')
    if not is_plausible('focus_distance', lens_state.focus_distance):
        raise InputError(f'lens state: focus_distance {lens_state.focus_distance} is no distance in metres')


def _reduced(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Of the given (H, W), by area averaging. OpenCV: on a CPU it takes a fortieth of what torch takes."""
    if image.shape[:2] == size:
        return image
    import cv2

    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _grey(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """The one download of a frame. It goes to pinned memory, and waits for the GPU."""
    if tensor.device.type == 'cpu':
        return tensor
    result = tensor.to('cpu', non_blocking=True)
    torch.cuda.synchronize(tensor.device)
    return result


def _stride(map_: torch.Tensor, height: int, width: int) -> int:
    """Image pixels a cell, a power of two: where a network pads the image, its maps reach beyond it."""
    ratio = max(height / map_.shape[2], width / map_.shape[3])
    return 1 << max(0, math.ceil(math.log2(ratio)))


def _warp(map_: torch.Tensor, similarity: Similarity, height: int, width: int) -> torch.Tensor:
    """`map_` seen through `similarity`; what was out of view is zero, as at the start."""
    if not map_.numel():
        return map_
    stride = _stride(map_, height, width)
    extent = np.array([map_.shape[3] * stride, map_.shape[2] * stride])
    to_pixels = np.diag([*extent / 2, 1.0])
    to_pixels[:2, 2] = (extent - 1) / 2
    pixels = np.vstack([similarity.matrix(height, width), [0, 0, 1]])
    theta = np.linalg.inv(to_pixels) @ pixels @ to_pixels
    theta = torch.from_numpy(theta[None, :2].astype(np.float32)).to(map_.device, non_blocking=True)
    grid = F.affine_grid(theta, list(map_.shape), align_corners=False)
    return F.grid_sample(map_.float(), grid, mode='bilinear', padding_mode='zeros', align_corners=False).to(map_.dtype)
