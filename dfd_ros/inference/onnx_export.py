"""Exports one step of a network to an ONNX file, with the state as inputs and outputs.

Inputs are `image` (1, 3, H, W), `focus` (1,), `blur_scale` (1,), `state0`...; outputs are `vergence`,
`log_scale`, `coc` (1, 1, H, W) and `next_state0`...; see `dfd_ros.networks`. The state of the first frame is zeros. H
and W are multiples of 16 and of the coarsest stride of the state if a size is given, otherwise any multiples of the
network's own `multiple` too.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from dfd_ros.core import provenance
from dfd_ros.core.errors import InputError
from dfd_ros.core.files import written_atomically
from dfd_ros.networks import Network, name_of

METADATA_KEY = 'dfd_ros'
STRIDE = 16  # px; layers may have a coarser stride than the state


def names_of_state(count: int) -> list[str]:
    """The names of the state inputs."""
    return [f'state{i}' for i in range(count)]


def multiple_of(state: Sequence[tuple[int, int]]) -> int:
    """The number of which height and width must be multiples. state: channels and stride of each map."""
    return max([STRIDE, *(stride for _, stride in state)])


def export_onnx(
    network: Network,
    path: str | Path,
    size: tuple[int, int] | None = None,
    half_precision: bool = False,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write `network` to `path`, atomically.

    size: fixed (H, W) of the images, rounded up to a multiple as above; None = any size. The exporter does not
        understand padding that depends on the size, hence the multiples.
    half_precision: compute in float16, inputs and outputs stay float32.
    metadata: more of the file, such as that of the weights.
    """
    path = Path(path)
    try:
        import onnxscript  # noqa: F401  torch imports it during the export
    except ImportError:
        raise InputError('dfd export: onnxscript is not installed: pip install onnx onnxscript') from None
    if half_precision:
        try:
            from onnxruntime.transformers.float16 import convert_float_to_float16
        except ImportError:
            raise InputError('dfd export: fp16 needs onnxruntime: pip install onnxruntime') from None
    if network.reads_stacks:
        raise InputError(
            f'dfd export: the network {network.name} reads stacks of {network.frames} frames and not '
            'frame by frame, and has no single step to export; run it by torch'
        )
    network = network.cpu().eval()
    probe = 1024
    state = [(s.shape[1], probe // s.shape[2]) for s in network.initial_state(1, probe, probe)]
    multiple = multiple_of(state) if size else max(multiple_of(state), network.multiple)
    height, width = (-(-n // multiple) * multiple for n in size or (2 * multiple, 3 * multiple))

    dynamic = None
    if size is None:
        rows, columns = (torch.export.Dim(name, min=2, max=4096) for name in ('rows', 'columns'))

        def spatial(stride):
            return {2: multiple // stride * rows, 3: multiple // stride * columns}

        dynamic = {
            'image': spatial(1),
            'focus': None,
            'blur_scale': None,
            'state': tuple(spatial(stride) for _, stride in state),
        }
    example = (
        torch.rand(1, 3, height, width),
        torch.tensor([0.5]),
        torch.tensor([10.0]),
        *network.initial_state(1, height, width),
    )
    names = names_of_state(len(state))
    inputs = ['image', 'focus', 'blur_scale', *names]
    outputs = ['vergence', 'log_scale', 'coc', *(f'next_{name}' for name in names)]
    with _quiet():
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            verbose=False,
            input_names=inputs,
            output_names=outputs,
        )
    assert program is not None  # with dynamo=True
    program.model.metadata_props[METADATA_KEY] = json.dumps(
        {
            'network': name_of(type(network)),
            'state': state,
            'size': None if size is None else [height, width],
            'multiple': multiple,
            'reads_blur_scale': network.reads_blur_scale,
        }
    )
    # Beside it: readers refuse what they do not know within it.
    more = {provenance.KEY: json.dumps(provenance.made_by()), **(metadata or {})}
    program.model.metadata_props.update(more)
    model = program.model_proto
    if half_precision:
        model = convert_float_to_float16(model, keep_io_types=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet():
    """Silence torch's exporter, which warns about torchvision and its own deprecations."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
