"""From RGB-D images to weights of one's own: record, convert, fine-tune, evaluate, draw.

    .venv/bin/python benchmarks/whole_way.py --rgbd FOLDER --out output/whole_way

FOLDER has color_N.jpg and depth_N.png (16 bit, mm), which the camera node plays as a focus camera and an RGB-D sensor.
The last image is held out: it is recorded by itself, and training never sees it. Prints the error on held-out converted
data before and after fine-tuning.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
from _common import keep_to_this_machine

from dfd_ros import cli
from dfd_ros.bags.bag_reader import Bag
from dfd_ros.cameras.rgbd_source import INTRINSICS
from dfd_ros.core.errors import InputError
from dfd_ros.core.markdown_table import table
from dfd_ros.core.run_files import LAST
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.drawing import visualise
from dfd_ros.evaluation.evaluation_stacks import folder_stacks
from dfd_ros.evaluation.frame_figures import evaluate
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks import default_weights
from dfd_ros.ros.node_processes import NodeProcesses
from dfd_ros.training.config import make_config
from dfd_ros.training.loop import train

STEPS = 5  # focus distances of a sweep
PATIENCE = 300.0  # s that a recording may take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rgbd', metavar='FOLDER', type=Path, required=True, help='two or more RGB-D images')
    parser.add_argument('--out', metavar='DIR', type=Path, default=Path('output/whole_way'), help='made anew')
    parser.add_argument('--width', type=int, default=320, help='of the images, px')
    parser.add_argument('--images', type=int, default=150, help='to record, of each part')
    parser.add_argument('--steps', type=int, default=200, help='of fine-tuning')
    parser.add_argument('--crop', type=int, default=96, help='of fine-tuning, px')
    args = parser.parse_args()
    keep_to_this_machine()
    shutil.rmtree(args.out, ignore_errors=True)
    weights = {'before': default_weights()}
    for part, folder in split(args.rgbd, args.out).items():
        began = time.monotonic()
        bag = record(folder, args.out / f'{part}_bags', args.width, args.images)
        print(f'{part}: {bag} in {time.monotonic() - began:.0f} s', flush=True)
        if cli.main(['convert', str(bag), '--out', str(args.out / part)]):
            return 1
    config = make_config(
        {
            'name': 'fine_tuned',
            'initial_weights': str(weights['before']),
            'steps': args.steps,
            'learning_rate': 3e-4,
            'warmup': 10,
            'precision': 'fp32',
            'ema': 0.95,
            'shards': str(args.out / 'train'),
            'validate_every': 10**9,
            'validate_stacks': 1,
            'stages': [{'crop': args.crop, 'batch': 4, 'frames': STEPS - 1, 'decode': 3}],
        },
        'benchmarks/whole_way.py',
    )
    began = time.monotonic()
    train(config, args.out / 'run', 'cpu')
    weights['after'] = args.out / 'run' / LAST
    print(f'fine-tuning: {args.steps} steps in {time.monotonic() - began:.0f} s')
    held_out = args.out / 'held_out'
    rows = []
    for name, path in weights.items():
        figures = evaluate(DepthEstimator(path, device='cpu'), folder_stacks(stored_stacks(held_out)), (STEPS,))[-1]
        rows.append(
            [name, f'{figures.mae_u:.4f}', f'{figures.rms:.4f}', f'{figures.accuracy:.2f} %', f'{figures.abs_rel:.4f}']
        )
    print(f'\nheld-out converted data, {len(Samples(held_out))} sweeps, after frame {STEPS}\n')
    print(table(['fine-tuning', 'MAE of u', 'RMS', 'accuracy', 'AbsRel'], rows))
    draw(args.out, weights)
    return 0


def split(source: Path, out: Path) -> dict[str, Path]:
    """Folders with all images but the last, and with the last."""
    colours = sorted(source.glob('color_*.*'), key=lambda path: int(path.stem.rpartition('_')[2]))
    if len(colours) < 2:
        raise InputError(f'{source}: two or more images color_N.jpg are needed, the last is held out')
    parts = {'train': colours[:-1], 'held_out': colours[-1:]}
    for part, paths in parts.items():
        folder = out / f'{part}_images'
        folder.mkdir(parents=True)
        for path in paths:
            number = path.stem.rpartition('_')[2]
            for file in (path, source / f'depth_{number}.png'):
                shutil.copy(file, folder / file.name)
        if (source / INTRINSICS).exists():
            shutil.copy(source / INTRINSICS, folder)
    return {part: out / f'{part}_images' for part in parts}


def record(images: Path, bags: Path, width: int, count: int) -> Path:
    """The bag of a camera that sweeps its focus before these images."""
    with NodeProcesses() as nodes:
        nodes.start('recorder', {'folder': str(bags), 'disk_reserve': 100}, grace=60.0)
        nodes.start('camera', {'source': 'rgbd', 'rgbd_folder': str(images), 'image_width': width, 'rate': 10.0})
        nodes.start('sweep', {'steps': STEPS, 'timeout': 20.0})
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and images_in(bags) < count:
            time.sleep(1.0)
    if images_in(bags) < count:
        raise InputError(
            f'{bags}: only {images_in(bags)} of {count} images within {PATIENCE:g} s; give less --images '
            'or a smaller --width'
        )
    return next(bags.glob('*/metadata.yaml')).parent


def images_in(bags: Path) -> int:
    try:
        return max((Bag(path.parent).counts.get('/image_raw', 0) for path in bags.glob('*/metadata.yaml')), default=0)
    except InputError:  # nothing in it yet
        return 0


def draw(out: Path, weights: dict[str, Path]) -> None:
    """A held-out sweep, and its depth before and after fine-tuning beside that of the sensor."""
    stack = next(sample for sample in folder_stacks(stored_stacks(out / 'held_out')) if len(sample) >= STEPS)
    range_ = stack.range
    order = sorted(range(len(stack.images)), key=lambda i: -stack.lens_states[i].focus_distance)
    shown = [
        visualise.Panel(stack.images[i], f'focus {stack.lens_states[i].focus_distance:.2f} m')
        for i in (order[0], order[len(order) // 2], order[-1])
    ]
    truth = stack.depth[len(stack.images) - 1]
    maps = [visualise.Panel(visualise.depth_picture(truth, range_), 'RGB-D sensor', visualise.Bar.depth(range_))]
    for name, path in weights.items():
        estimate = DepthEstimator(path, device='cpu').estimate_stack(stack.to_focal_stack())
        maps.append(
            visualise.Panel(
                visualise.depth_picture(estimate.depth, range_), f'{name} fine-tuning', visualise.Bar.depth(range_)
            )
        )
    for name, panels, title in (
        ('sweep', shown, 'Rendered from an RGB-D image, recorded, converted'),
        ('depth', maps, 'Depth of a held-out image'),
    ):
        visualise.write_picture(out / f'{name}.jpg', np.asarray(visualise.sheet([panels], title, width=1200)))
        print(out / f'{name}.jpg')


if __name__ == '__main__':
    from _common import exit_with

    exit_with(main)
