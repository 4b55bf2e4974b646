"""Backends, which run a network with torch (CPU, CUDA) or ONNX Runtime, with the interface of networks.

    prediction, *state = backend(image, focus, blur_scale, *state)

See `dfd_ros.networks` for the shapes. Image, state and prediction are on `backend.device`, focus and blur scale on the
CPU, so that nothing waits for a GPU to read them; predictions are float32.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from dfd_ros.core.errors import InputError, reason
from dfd_ros.core.files import parse_json, require_file
from dfd_ros.core.parsing import parse
from dfd_ros.inference.cuda_graphs import Replays
from dfd_ros.inference.estimator_arguments import PRECISIONS
from dfd_ros.inference.onnx_export import METADATA_KEY, multiple_of, names_of_state
from dfd_ros.networks import Network, Prediction


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` prefers CUDA. Raises `InputError` if there is no such device."""
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f'device {name!r}: give auto, cpu, cuda or cuda:N') from None
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f'device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; give auto or cpu'
        )
    if device.type not in ('cpu', 'cuda'):
        raise InputError(f'device {name!r}: give auto, cpu, cuda or cuda:N')
    return device


def release_memory() -> None:
    """Gives the memory of deleted networks back to the system and the GPU."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):  # glibc otherwise keeps it: 150 MB after some frames
        trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def is_device_failure(error: Exception) -> bool:
    """Whether a GPU is out of memory, was lost, or failed otherwise; libraries have many types for that."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        word in str(error) for word in ('CUDA', 'CUDNN', 'CUBLAS')
    )


def is_bf16_fast(device: torch.device) -> bool:
    """Whether bf16 is fast. A rule instead of a measurement, so that a machine always gives the same depth."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Older versions of torch do not have it.
    capabilities: Callable[[], dict[str, bool]] = getattr(torch.cpu, 'get_capabilities', dict)
    here = capabilities()
    # Without either torch emulates bf16, many times slower than fp32.
    return here.get('amx_bf16', False) or here.get('avx512_bf16', False)


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether training in this precision (fp32, bf16, auto) is in bf16 on this device; `auto` is if bf16 is fast."""
    return precision == 'bf16' or (precision == 'auto' and is_bf16_fast(device))


def chosen_precision(precision: str, device: torch.device) -> str:
    """What one of `PRECISIONS` means on this device: fp32, bf16 or fp16. `auto` is bf16 where it is fast; on a GPU
    that is not too old for tensor cores otherwise fp16."""
    if precision not in PRECISIONS:
        raise InputError(f'precision {precision!r}: give one of {", ".join(PRECISIONS)}')
    if precision != 'auto':
        return precision
    if is_bf16_fast(device):
        return 'bf16'
    return 'fp16' if device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (7, 0) else 'fp32'


class Backend(Protocol):
    """The interface of all backends."""

    device: torch.device

    def __call__(
        self, image: torch.Tensor, focus: torch.Tensor, blur_scale: torch.Tensor, *state: torch.Tensor
    ) -> tuple[Any, ...]: ...

    def rescaled_state(self, state: list[torch.Tensor], scale: float, offset: float) -> list[torch.Tensor] | None:
        """See `Network.rescaled_state`."""


class TorchBackend:
    """A network in evaluation mode on one device, under autocast if `precision` says so. On a GPU as a CUDA graph.

    `frames` is the length of the stacks that the network reads, None if it reads frame by frame. If the blur scale is
    known, the CoC follows from the vergence, and an optional decoder for it is skipped.
    """

    def __init__(self, network: Network, device: torch.device, precision: str = 'auto'):
        if not isinstance(network, Network):
            raise InputError(f'network: {type(network).__name__} does not derive from dfd_ros.networks.Network')
        self.device = device
        self.precision = chosen_precision(precision, device)
        self.frames = network.frames
        self.reads_blur_scale = network.reads_blur_scale
        self.network_name = network.name
        # torch's annotations of `to` lack `memory_format`.
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = network.eval()
        self.rescaled_state = self._network.rescaled_state
        self._run: Callable[..., Any] = Replays(self._step) if device.type == 'cuda' else self._step

    @torch.inference_mode()
    def __call__(self, image, focus, blur_scale, *state):
        image = image.contiguous(memory_format=torch.channels_last)
        options = {'decode_coc': not blur_scale.isfinite().all()} if self._network.coc_is_optional else {}
        focus, blur_scale = (value.to(self.device, non_blocking=True) for value in (focus, blur_scale))
        results = self._run(image, focus, blur_scale, *state, **options)
        return Prediction(*results[:3]), *results[3:]

    def _step(self, *tensors: torch.Tensor, **options: Any) -> list[torch.Tensor]:
        """The maps of the prediction, then those of the state."""
        half = torch.float16 if self.precision == 'fp16' else torch.bfloat16
        # A CUDA graph must not read a cache of converted weights that is gone when it is replayed.
        with torch.autocast(
            self.device.type, half, enabled=self.precision != 'fp32', cache_enabled=self.device.type != 'cuda'
        ):
            prediction, *state = self._network(*tensors, **options)
        return [*(map_.float() for map_ in prediction), *state]


def to_tensor(image: np.ndarray, device: torch.device) -> torch.Tensor:
    """An image (H, W, C) uint8 as networks take it: (1, C, H, W) float32 in 0..1."""
    pixels = torch.from_numpy(np.require(image, requirements=['C', 'W']))
    if device.type == 'cuda':
        pixels = pixels.pin_memory()  # so that the upload does not wait for the GPU
    pixels = pixels.to(device, non_blocking=True)
    return pixels.permute(2, 0, 1)[None].float().mul_(1 / 255)


Side = Annotated[int, Field(ge=1, le=2**14)]


@dataclass(frozen=True)
class _OnnxMetadata:
    """Metadata that `dfd export` writes: the network, channels and stride of each map of the state, and the fixed size
    (H, W) of the images, if any, or the number of which H and W have to be multiples; whether the blur scale counts."""

    network: str
    state: tuple[tuple[Annotated[int, Field(ge=1, le=2**14)], Annotated[int, Field(ge=1, le=256)]], ...]
    size: tuple[Side, Side] | None = None
    multiple: Annotated[int, Field(ge=1, le=2**14)] | None = None
    reads_blur_scale: bool = False


class OnnxBackend:
    """A file of `dfd export` in ONNX Runtime, on the CPU, or on CUDA if the build supports it."""

    frames: int | None = None
    precision = 'fp32'

    def __init__(self, path: str | Path, device: torch.device):
        try:
            import onnxruntime
        except ImportError:
            raise InputError('backend onnx: onnxruntime is not installed: pip install onnxruntime') from None
        path = require_file(path)
        self.device = torch.device('cpu')  # of the tensors: ONNX Runtime moves them itself
        wanted = ['CUDAExecutionProvider', 'CPUExecutionProvider'][device.type != 'cuda' :]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=providers)
            metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        except Exception as error:  # ONNX Runtime has many exception types
            raise InputError(
                f'weights {path}: not a complete ONNX file ({reason(error)}); make it with dfd export --format onnx'
            ) from None
        if metadata is None:
            raise InputError(f'weights {path}: not an ONNX file of dfd_ros; make it with dfd export --format onnx')
        about = parse(_OnnxMetadata, parse_json(metadata, f'weights {path}'), f'weights {path}')
        self.network_name = about.network
        self._path, self._size, self._state = path, about.size, about.state
        # Its search reads a part of the image.
        self.reads_blur_scale = about.reads_blur_scale and about.size is None
        self._multiple = about.multiple or multiple_of(self._state)
        self._try()

    def _try(self) -> None:
        """Run once, to find wrong inputs and non-finite weights now."""
        height, width = self._size or (2 * self._multiple, 2 * self._multiple)
        try:
            (prediction, *_) = self(torch.rand(1, 3, height, width), torch.tensor([0.5]), torch.tensor([10.0]))
            known = all(map_.isfinite().all() for map_ in prediction)
        except Exception as error:  # as above
            raise InputError(f'weights {self._path}: cannot be run ({reason(error)}); export them again') from None
        if not known:
            raise InputError(f'weights {self._path}: have values that are not finite; export them again')

    def rescaled_state(self, state: list[torch.Tensor], scale: float, offset: float) -> None:
        """The file does not have it."""

    def __call__(self, image, focus, blur_scale, *state):
        height, width = image.shape[-2:]
        padded = tuple(-(-n // self._multiple) * self._multiple for n in (height, width))
        if self._size is not None and self._size != padded:
            raise InputError(
                f'weights {self._path}: exported for images of {self._size[1]}x{self._size[0]}, '
                f'these have {width}x{height}; export again with another --size, or none'
            )
        image = F.pad(image, (0, padded[1] - width, 0, padded[0] - height), mode='replicate')
        maps = state or [
            torch.zeros(image.shape[0], channels, padded[0] // stride, padded[1] // stride)
            for channels, stride in self._state
        ]
        inputs = {
            'image': image.contiguous(),
            'focus': focus,
            'blur_scale': blur_scale,
            **dict(zip(names_of_state(len(maps)), maps)),
        }
        outputs = self._session.run(None, {name: value.float().numpy() for name, value in inputs.items()})
        outputs = [torch.from_numpy(output) for output in outputs]
        return Prediction(*(map_[..., :height, :width] for map_ in outputs[:3])), *outputs[3:]
