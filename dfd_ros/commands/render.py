"""dfd render: focal stacks made by computer, with perfect truth."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

HELP = 'render focal stacks with ground truth, and a contact sheet of them'
EXAMPLE = 'dfd render --engine procedural --out data/field --preset field --stacks 20'

PRESETS = ('default', 'study', 'field')
SMALLEST_SIDE = 32
SHEET_STACKS = 8
SHEET_FRAMES = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', metavar='DIR', type=Path, required=True,
                        help='new folder for the stacks (0000, 0001, ...) and contact_sheet.png')
    parser.add_argument('--engine', choices=('procedural',), default='procedural', help='what renders')
    parser.add_argument('--stacks', metavar='N', type=int, default=6, help='stacks to render')
    parser.add_argument('--seed', metavar='N', type=int, default=0,
                        help='of the first stack; the same seed and size give the same stack')
    parser.add_argument('--preset', choices=PRESETS, default='default',
                        help='study: static before a wall, known lens; field: all moves, breathes and is noisy; '
                             'default: what training draws from')
    parser.add_argument('--split', choices=('train', 'test'), default='train',
                        help='families of textures and shapes; training never sees those of test')
    parser.add_argument('--frames', metavar='N', type=int, default=5, help='frames of a stack')
    parser.add_argument('--height', metavar='PX', type=int, default=256, help='image height')
    parser.add_argument('--width', metavar='PX', type=int, default=256, help='image width')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros import visualise
    from dfd_ros.backends import choose_device
    from dfd_ros.synthesis.procedural import render_stack

    _check(args)
    settings, device = _settings(args), choose_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in tqdm(range(args.stacks), desc='render', unit='stack'):
        batch = render_stack(args.seed + i, settings, device).to('cpu')
        focal_stack(batch, f'seed {args.seed + i}').write(args.out / f'{i:04d}')
        if i < SHEET_STACKS:
            rows.append(_row(batch))
    sheet = args.out / 'contact_sheet.png'
    subtitle = (f'{args.preset}, {args.split} split, seed {args.seed}; frames in the order of their focus, '
                'depth and circle of confusion of the frame taken last')
    visualise.write_picture(sheet, visualise.sheet(rows, 'procedural focal stacks', subtitle))
    print(f'stacks   {args.stacks} of {args.frames} frames, {args.width}x{args.height}, in {args.out}/')
    print(f'picture  {sheet}')
    return 0


def _check(args: argparse.Namespace) -> None:
    from dfd_ros.errors import InputError
    for name, least in (('stacks', 1), ('frames', 2), ('height', SMALLEST_SIDE), ('width', SMALLEST_SIDE),
                        ('seed', 0)):
        if getattr(args, name) < least:
            raise InputError(f'--{name} {getattr(args, name)}: must be at least {least}')
    if args.seed + args.stacks > 2 ** 62:
        raise InputError(f'--seed {args.seed}: must be less than 2^62')
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f'--out {args.out}: exists already, give a new folder or remove it')


def _settings(args: argparse.Namespace):
    from dfd_ros.synthesis.procedural import StackSettings
    from dfd_ros.synthesis.scene import SceneSettings
    # Stacks on disk show the whole focus breathing, as a camera delivers it, and say how large it is.
    size = {'frames': args.frames, 'height': args.height, 'width': args.width, 'breathing_residual': None}
    if args.preset == 'default':
        return StackSettings(scene=SceneSettings(split=args.split), **size)
    return {'study': StackSettings.study, 'field': StackSettings.field}[args.preset](split=args.split, **size)


def focal_stack(batch, name: str):
    """The first stack of a `StackBatch` as a `FocalStack`, with the true depth of its last frame.

    The batch has to be rendered with the whole focus breathing (`breathing_residual=None`), as the lens states
    tell its magnification; where the aperture is unknown the magnification is too.
    """
    from dfd_ros.focal_stack import FocalStack
    from dfd_ros.lens_state import LensState
    range_ = batch.ranges()[0]
    known = math.isfinite(batch.blur_scale[0])
    states = [LensState(range_.denormalise(v), focal_length=batch.focal_length[0].item(),
                        f_number=batch.f_number[0].item() if known else math.nan,
                        pixel_pitch=batch.pixel_pitch[0].item(),
                        magnification=magnification if known else math.nan, near=range_.near, far=range_.far)
              for v, magnification in zip(batch.focus[0].tolist(), batch.magnification[0].tolist())]
    images = [image.permute(1, 2, 0).contiguous().numpy() for image in batch.images[0]]
    depth = range_.denormalise(batch.vergence[0, -1, 0].double()).float().numpy()
    return FocalStack(images, states, depth, name)


def _row(batch) -> list:
    """One stack on the contact sheet."""
    import numpy as np

    from dfd_ros.visualise import Bar, Panel, coc_picture, depth_picture, nice_limit
    range_, focus = batch.ranges()[0], batch.focus[0]
    order = focus.argsort(stable=True).tolist()
    shown = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(len(order), SHEET_FRAMES))})
    panels = [Panel(batch.images[0, t].permute(1, 2, 0).numpy(), f'v = {focus[t]:.2f}')
              for t in (order[i] for i in shown)]
    coc = batch.coc[0, -1, 0].abs().numpy()
    largest = nice_limit(coc)
    depth = range_.denormalise(batch.vergence[0, -1, 0].double()).numpy()
    return [*panels, Panel(depth_picture(depth, range_), 'depth', Bar.depth(range_)),
            Panel(coc_picture(coc, largest), f'CoC at v = {focus[-1]:.2f}', Bar.linear('magma', largest, 'px'))]
