"""How fast torch, ONNX Runtime and OpenVINO run one step of the network, in one run, and how far they are from torch.

    .venv/bin/pip install openvino nncf; .venv/bin/python benchmarks/runtimes.py --int8

The runtimes take turns, so that a busy machine is as busy for each. All get the network as `dfd export --size` writes
it, which always decodes the circle of confusion; torch leaves that out where the lens is known. Runtimes that are not
installed are left out. --int8: OpenVINO also runs the network with weights and activations of 8 bits, which NNCF fits
to the frames that are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RANGE, check, exit_with, frames, machine, network, timed

from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.backends import OnnxBackend, TorchBackend, to_tensor
from dfd_ros.inference.onnx_export import export_onnx, names_of_state

CPU = torch.device('cpu')
STEPS_A_TURN = 3
WARM_UP = 3
CALIBRATION = 24  # frames that 8 bits are fitted to
Step = Callable[..., tuple[Any, ...]]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--rounds', type=int, default=10, help=f'turns of {STEPS_A_TURN} steps each')
    parser.add_argument('--weights', type=Path, help='default: those that ship')
    parser.add_argument('--int8', action='store_true', help='also in 8 bits, which takes a minute to prepare')
    options = parser.parse_args(arguments)
    check(options, width=16, height=16, rounds=1)
    module, stream = network(options.weights), frames(options.height, options.width)
    inputs = []
    for _ in range(CALIBRATION if options.int8 else WARM_UP + STEPS_A_TURN):
        image, state = next(stream)
        focus, blur_scale = RANGE.normalise(state.focus_distance), state.lens.blur_scale(RANGE)
        inputs.append((to_tensor(image, CPU), torch.tensor([focus]).float(), torch.tensor([blur_scale]).float()))
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(module, path := Path(folder) / 'network.onnx', (options.height, options.width))
        ways = runtimes(module, path, inputs if options.int8 else [])
    u = {name: last_vergence(step, inputs) for name, step in ways.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, step in ways.items():
            _, *maps = step(*inputs[0])  # brings the runtime's own memory back into the caches
            for values in inputs[-STEPS_A_TURN:]:
                times[name].append(timed(lambda: step(*values, *maps)))
    print(f'{machine()}, {torch.get_num_threads()} threads\n')
    medians = {name: np.median(values, 0) for name, values in times.items()}
    fastest = min(clock for name, (clock, _) in medians.items() if name.startswith('torch'))
    rows = [
        [
            name,
            f'{clock:.1f}',
            f'{processor:.1f}',
            f'{fastest / clock:.2f}',
            *(f'{value:.4f}' for value in np.percentile(np.abs(u[name] - u['torch fp32']), (50, 99))),
        ]
        for name, (clock, processor) in medians.items()
    ]
    header = [f'a step at {options.width}x{options.height}', 'median ms', 'processor ms', 'times as fast as torch']
    print(table([*header, 'u off fp32: median', '99 %'], rows))
    return 0


def runtimes(module, path: Path, calibration: list[tuple]) -> dict[str, Step]:
    """A step by each runtime that is here. calibration: inputs that 8 bits are fitted to; empty: without 8 bits."""
    ways: dict[str, Step] = {f'torch {name}': TorchBackend(module, CPU, name) for name in ('fp32', 'bf16')}
    try:
        ways['ONNX Runtime fp32'] = OnnxBackend(path, CPU)
    except InputError as error:
        print(f'without ONNX Runtime: {error}')
    try:
        import openvino
    except ImportError as error:
        print(f'without OpenVINO: {error}')
        return ways
    core = openvino.Core()
    model = core.read_model(str(path))

    def compiled(model, precision: str) -> OpenVinoStep:
        hints = {'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'LATENCY'}
        return OpenVinoStep(core.compile_model(model, 'CPU', hints))

    ways['OpenVINO fp32'] = exact = compiled(model, 'f32')
    ways['OpenVINO bf16'] = compiled(model, 'bf16')
    if calibration:
        try:
            ways['OpenVINO int8'] = compiled(in_8_bits(model, exact, calibration), 'bf16')
        except ImportError as error:
            print(f'without int8: {error}')
    return ways


def in_8_bits(model, step: OpenVinoStep, inputs: list[tuple]):
    """The model, quantised so that it does best on these inputs, each with the state that `step` gives."""
    import nncf

    samples, maps = [], step.empty
    for values in inputs:
        samples.append(step.named(*values, *maps))
        _, *maps = step(*values, *maps)
    return nncf.quantize(model, nncf.Dataset(samples), preset=nncf.QuantizationPreset.MIXED, subset_size=len(samples))


class OpenVinoStep:
    """A compiled network with the interface of `dfd_ros.inference.backends.Backend`, for images of its own size."""

    def __init__(self, compiled) -> None:
        self._request = compiled.create_infer_request()
        shapes = {port.get_any_name(): tuple(port.shape) for port in compiled.inputs}
        self.empty = [torch.zeros(shapes[name]) for name in names_of_state(len(shapes)) if name in shapes]

    def __call__(self, image, focus, blur_scale, *state):
        results = self._request.infer(self.named(image, focus, blur_scale, *state), share_inputs=True)
        outputs = [torch.from_numpy(result.copy()) for result in results.values()]
        return outputs[:3], *outputs[3:]

    def named(self, image, focus, blur_scale, *state) -> dict[str, np.ndarray]:
        maps = state or self.empty
        names = ['image', 'focus', 'blur_scale', *names_of_state(len(maps))]
        return {name: value.numpy() for name, value in zip(names, (image.contiguous(), focus, blur_scale, *maps))}


def last_vergence(step: Step, inputs: list[tuple]) -> np.ndarray:
    """u after all frames, each with the state of the one before."""
    state: list[torch.Tensor] = []
    for values in inputs:
        prediction, *state = step(*values, *state)
    return prediction[0].numpy()


if __name__ == '__main__':
    exit_with(main)
