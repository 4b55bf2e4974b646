"""Weights files: safetensors, checked before a network is built or a tensor is read."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from dfd_ros.core.errors import InputError, quoted, reason
from dfd_ros.core.files import require_file

FORMAT = 'dfd_ros-1'
MAX_HEADER = 16 * 2**20
"""Bytes, for names and shapes of the tensors, and the metadata."""
MAX_NUMBER = 2**20
"""Maximum in the configuration of a network."""
MAX_PARAMETERS = 2**29
"""Maximum of any network; the largest of the study has 403 million."""
MAX_UNCHECKED = 2**24
"""Elements of a tensor that may be allocated before it is known whether it is a parameter."""


class WeightsFile:
    """An open weights file.

    Attributes:
        network: name of the network; config: arguments of its constructor.
        metadata: of the file; shapes: of the tensors, by name.
    """

    def __init__(self, path: Path, file: safe_open):
        self._path, self._file = path, file
        self.metadata: dict[str, str] = file.metadata() or {}
        if self.metadata.get('format') != FORMAT:
            raise InputError(f'weights {path}: not written by dfd_ros (no format "{FORMAT}" in its metadata)')
        try:
            self.network: str = self.metadata['network']
            self.config: dict[str, Any] = json.loads(self.metadata['config'])
        except (KeyError, ValueError, RecursionError):
            raise InputError(
                f'weights {path}: its metadata does not say which network it is for; fetch or train it again'
            ) from None
        if not isinstance(self.config, dict):
            raise InputError(
                f'weights {path}: the configuration of the network is {quoted(self.config)}, not a mapping'
            )
        if (number := largest_number(self.config)) > MAX_NUMBER:
            raise InputError(f'weights {path}: {quoted(number)} in the configuration of the network is too large')
        names = file.keys()
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}

    @property
    def max_parameters(self) -> int:
        """An upper limit for a network of these tensors, which may register a parameter several times."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())

    def fill(self, network: nn.Module, partly: bool = False) -> None:
        """Load the tensors into a network.

        Args:
            partly: the network may have parts that the file does not.

        Raises:
            InputError: names or shapes do not fit, or values are not finite.
        """
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        wrong = next((name for name in self.shapes if self.shapes[name] != expected.get(name)), None)
        missing = None if partly else next((name for name in expected if name not in self.shapes), None)
        if wrong is not None or missing is not None:
            name = wrong if wrong is not None else str(missing)
            there, wanted = (str(shapes.get(name, 'absent')) for shapes in (self.shapes, expected))
            raise InputError(
                f'weights {self._path}: do not fit the network "{self.network}" ({quoted(name)}: {there} in the file, '
                f'{wanted} in the network)'
            )
        tensors = {}
        for name in self.shapes:
            tensors[name] = self._file.get_tensor(name).float()
            if not torch.isfinite(tensors[name]).all():
                raise InputError(
                    f'weights {self._path}: {quoted(name)} has values that are not finite; fetch or train them again'
                )
        network.load_state_dict(tensors, strict=not partly)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[WeightsFile]:
    """A weights file, open for reading.

    Raises:
        InputError: the file does not exist, is truncated, not safetensors, or not of this project.
    """
    try:
        path = require_file(path)
    except InputError as error:
        raise InputError(f'weights {error}') from None
    try:
        with path.open('rb') as file:
            header = int.from_bytes(file.read(8), 'little')
        if header > MAX_HEADER:
            raise SafetensorError(f'a header of {header} bytes')
        with safe_open(path, 'pt') as opened_file:
            yield WeightsFile(path, opened_file)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f'weights {path}: not a complete safetensors file ({reason(error)}); fetch or train them again'
        ) from None


@contextlib.contextmanager
def limited_parameters(allowed: int = MAX_PARAMETERS) -> Iterator[None]:
    """Refuse a network with more parameters while it is built, before they take memory. Raises `InputError`."""
    thread, count = threading.get_ident(), 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        if parameter is not None and threading.get_ident() == thread:
            count += parameter.numel()
            check(count)

    def check(number: int) -> None:
        if number > allowed:
            raise InputError(f'the configuration describes a network of more than {allowed:,} parameters')

    class EmptyTensors(TorchFunctionMode):
        """Layers allocate their parameters by `torch.empty`, before they register them."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if func is torch.empty:
                size = args[0] if len(args) == 1 else args or kwargs.get('size', ())
                if (number := math.prod(size) if isinstance(size, Sequence) else size) > MAX_UNCHECKED:
                    check(number)
            return func(*args, **kwargs)

    handle = register_module_parameter_registration_hook(add)
    try:
        with EmptyTensors():
            yield
    finally:
        handle.remove()


def largest_number(value: Any) -> float:
    """The largest magnitude in plain values; infinite if a number is NaN."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return max(map(largest_number, value), default=0)
    if isinstance(value, int | float):
        return abs(value) if value == value else float('inf')
    return 0
