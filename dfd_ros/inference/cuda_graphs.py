"""CUDA graphs: a network of fixed shapes is launched at once, instead of each of its hundreds of kernels by itself."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from dfd_ros.core.errors import reason

Tensors = Sequence[torch.Tensor]
Function = Callable[..., Tensors]
WARM_UP = 3
"""Calls with the same shapes before they are recorded."""
MAX_GRAPHS = 2
"""Each keeps the memory of its activations: one for the stream, one for the search of the blur scale."""
TOLERANCE = 0.02
"""Most that a replay may differ from the network itself, whose kernels need not be chosen in the same way."""


class Recording(Protocol):
    """A recorded function: reads `inputs` and writes `outputs`, the same tensors each time."""

    @property
    def inputs(self) -> Tensors: ...
    @property
    def outputs(self) -> Tensors: ...

    def replay(self) -> None: ...


class CudaGraph:
    """A recording by CUDA. Raises RuntimeError if the function waits for the GPU."""

    def __init__(self, function: Function, inputs: Tensors) -> None:
        self.inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU, such as to load other weights.
        with torch.cuda.graph(self._graph, capture_error_mode='thread_local'):
            self.outputs = list(function(*self.inputs))

    def replay(self) -> None:
        self._graph.replay()


class Replays:
    """A function of tensors that is recorded after some calls with the same shapes, and replayed from then on.

    What cannot be recorded, or gives something else when it is replayed, is called as before, after a warning.

    Args:
        function: takes tensors and keyword arguments, gives tensors.
        record: makes a recording of a function of tensors.
    """

    def __init__(self, function: Function, record: Callable[[Function, Tensors], Recording] = CudaGraph) -> None:
        self._function, self._record = function, record
        self._calls: Counter[Any] = Counter()
        self._recordings: dict[Any, Recording | None] = {}

    def __call__(self, *tensors: torch.Tensor, **options: Any) -> Tensors:
        kind = tuple((tensor.shape, tensor.dtype) for tensor in tensors), *options.items()
        if recording := self._recordings.get(kind):
            return _replayed(recording, tensors)
        results = self._function(*tensors, **options)
        self._calls[kind] += 1
        if self._calls[kind] == WARM_UP and len(self._recordings) < MAX_GRAPHS:
            self._recordings[kind] = self._checked(tensors, results, options)
        return results

    def _checked(self, tensors: Tensors, results: Tensors, options: dict[str, Any]) -> Recording | None:
        """A recording that gives these results; None if there is none."""
        try:
            recording = self._record(lambda *inputs: self._function(*inputs, **options), tensors)
            replayed = _replayed(recording, tensors)
        except RuntimeError as error:
            warnings.warn(f'the network runs without a CUDA graph: {reason(error)}', stacklevel=2)
            return None
        if not all(_are_close(*pair) for pair in zip(replayed, results, strict=True)):
            warnings.warn('the network runs without a CUDA graph: it gives other results', stacklevel=2)
            return None
        return recording


def _replayed(recording: Recording, tensors: Tensors) -> Tensors:
    for mine, tensor in zip(recording.inputs, tensors):
        mine.copy_(tensor)
    recording.replay()
    return [output.clone() for output in recording.outputs]  # the next replay overwrites them


def _are_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
