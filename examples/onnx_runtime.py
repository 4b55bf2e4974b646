"""An exported network in ONNX Runtime, without PyTorch: what a program in another language has to do.

    dfd export --format onnx --out stream.onnx --size 640x480
    python examples/onnx_runtime.py stream.onnx [STACK]

Writes vergence.png, bright = near. docs/export.md has the inputs, outputs and formulas. This program leaves out the
registration of the frames; `dfd estimate --backend onnx` has it.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from dfd_ros import read_focal_stack

EXAMPLE = Path(__file__).parent / 'push_button'


def main() -> None:
    parser = argparse.ArgumentParser(description='Run an exported network on a focal stack.')
    parser.add_argument('model', type=Path, help='file of dfd export')
    parser.add_argument('stack', nargs='?', default=EXAMPLE, type=Path)
    parser.add_argument('--out', default=Path('vergence.png'), type=Path, help='picture to write')
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(str(args.model), providers=['CPUExecutionProvider'])
    about = json.loads(session.get_modelmeta().custom_metadata_map['dfd_ros'])
    stack = read_focal_stack(args.stack)
    near, far = 1 / stack.range.near, 1 / stack.range.far  # dioptres

    state: list[np.ndarray] = []
    for image, lens_state in stack:
        height, width = about['size'] or sides_for(image, about['multiple'])
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
        pixels = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255
        if not state:
            state = [
                np.zeros((1, channels, height // stride, width // stride), np.float32)
                for channels, stride in about['state']
            ]
        focus = (1 / lens_state.focus_distance - far) / (near - far)
        # Blur in px across the range; NaN where the lens is unknown.
        lens = lens_state
        pitch = lens.pixel_pitch * image.shape[1] / width
        blur_scale = lens.focal_length**2 / (lens.f_number * pitch) * (near - far) if pitch > 0 else math.nan
        vergence, log_scale, _, *state = session.run(
            None,
            {
                'image': pixels,
                'focus': np.array([focus], np.float32),
                'blur_scale': np.array([blur_scale], np.float32),
                **{f'state{i}': map_ for i, map_ in enumerate(state)},
            },
        )
        confidence = 1 - np.exp(-0.05 / np.exp(log_scale))
        print(f'focus {focus:.2f}: confidence {confidence.mean():.2f}')

    u = vergence[0, 0]
    if stack.is_metric:
        with np.errstate(divide='ignore'):
            depth = np.where(far + u * (near - far) > 0, 1 / (far + u * (near - far)), np.inf)
        print(f'median depth {np.median(depth):.3g} m')
    Image.fromarray((u.clip(0, 1) * 255).astype(np.uint8)).save(args.out)
    print(f'{args.out}: {u.shape[1]}x{u.shape[0]}, bright = near')


def sides_for(image: np.ndarray, multiple: int, longest: int = 640) -> tuple[int, int]:
    """(height, width) of at most `longest` px that the network takes."""
    scale = min(1.0, longest / max(image.shape[:2]))
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in image.shape[:2])
    return height, width


if __name__ == '__main__':
    main()
