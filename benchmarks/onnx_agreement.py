"""How far an exported network is from torch: `dfd export` with and without --size, in fp32 and fp16.

    .venv/bin/python benchmarks/onnx_agreement.py

Every network sees the frames of one stack in turn, each with its own state, at an unknown and at a known blur scale. u
and the confidence after each frame are compared with torch in fp32. `benchmarks/speed.py` compares the speed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from _common import check, exit_with, machine, network

from dfd_ros.core.laplace import CONFIDENT_ERROR
from dfd_ros.core.markdown_table import table
from dfd_ros.inference.backends import OnnxBackend, TorchBackend, to_tensor
from dfd_ros.inference.onnx_export import export_onnx
from dfd_ros.photographs import read_focal_stack

EXAMPLE = Path(__file__).resolve().parents[1] / 'examples' / 'push_button'
CPU = torch.device('cpu')


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stack', type=Path, default=EXAMPLE, help='focal stack (default: the one in examples/)')
    parser.add_argument('--weights', metavar='FILE', type=Path, help='weights (default: the ones that ship)')
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    options = parser.parse_args(arguments)
    check(options, width=16, height=16)
    stack, module = read_focal_stack(options.stack), network(options.weights)
    size = (options.width, options.height)
    images = [to_tensor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), CPU) for image in stack.images]
    focus = [torch.tensor([stack.range.normalise(lens.focus_distance)]).float() for lens in stack.lens_states]

    def run(backend):
        """u and confidence of every frame at both blur scales."""
        maps = []
        for blur_scale in (float('nan'), 0.03 * options.width):
            state: list[torch.Tensor] = []
            for image, v in zip(images, focus):
                prediction, *state = backend(image, v, torch.tensor([blur_scale]), *state)
                maps.append((prediction.vergence, -torch.expm1(-CONFIDENT_ERROR * torch.exp(-prediction.log_scale))))
        return maps

    print(f'{machine()}\n{options.stack.name}: {len(stack)} frames at {options.width}x{options.height}\n')
    wanted = run(TorchBackend(module, CPU, 'fp32'))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, given, half in (
            ('--size', size[::-1], False),
            ('any size', None, False),
            ('--size, fp16', size[::-1], True),
        ):
            path = Path(folder) / 'network.onnx'
            export_onnx(module, path, given, half)
            found = run(OnnxBackend(path, CPU))
            u, c = (torch.cat([(a[i] - b[i]).abs().flatten() for a, b in zip(found, wanted)]).numpy() for i in (0, 1))
            rows.append(
                [
                    name,
                    f'{path.stat().st_size / 1e6:.1f}',
                    *(f'{value:.5f}' for value in (np.median(u), np.quantile(u, 0.99), u.max(), np.median(c))),
                ]
            )
    header = ['export', 'MB', 'u: median', 'u: 99 %', 'u: most', 'confidence: median']
    print(table(header, rows))
    return 0


if __name__ == '__main__':
    exit_with(main)
