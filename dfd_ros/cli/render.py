"""dfd render: rendered focal stacks with ground truth."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HELP = 'render focal stacks with ground truth, and a contact sheet'
EXAMPLE = 'dfd render --engine procedural --out data/field --preset field --stacks 20'

PRESETS = {'procedural': ('default', 'study', 'field', 'real'), 'blender': ('defocusnet', 'phone', 'machine_vision')}
FORMATS = {'procedural': ('folders', 'shards'), 'blender': ('shards',)}
SPLITS = {'procedural': ('train', 'test'), 'blender': ('train', 'validation', 'test')}
MIN_SIDE, MAX_SIDE = 32, 4096
SHEET = 'contact_sheet.png'
RESUME = '.render.json'
"""In the folder of procedural stacks until all are rendered: what they are."""
SHEET_STACKS = 8
SHEET_FRAMES = 7
FRAME_RATE = 30.0
BLENDER_ONLY = (
    'objects',
    'motion',
    'surfaces',
    'ramp',
    'breathing',
    'samples',
    'meshes',
    'textures',
    'hdris',
    'workers',
    'blender_python',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--out',
        metavar='DIR',
        type=Path,
        required=True,
        help='procedural: new folder for the stacks (0000, 0001, ..., or shards) and '
        'contact_sheet.png; blender: folder for shards of samples, a contact sheet and a data '
        'card; rerun the same command to resume',
    )
    parser.add_argument('--engine', choices=tuple(PRESETS), default='procedural', help='renderer')
    parser.add_argument(
        '--format',
        choices=FORMATS['procedural'],
        help='folders (default of procedural: true depth of the last frame) or shards of samples with '
        'ground truth for every frame, for dfd train, study and evaluate (always with blender)',
    )
    parser.add_argument(
        '--stacks',
        '--scenes',
        '--views',
        metavar='N',
        type=int,
        default=6,
        help='stacks to render; with --world or --rooms: views',
    )
    parser.add_argument(
        '--seed',
        metavar='N',
        type=int,
        default=0,
        help='seed of the first stack; the same seed and size give the same stack',
    )
    parser.add_argument(
        '--preset',
        choices=sum(PRESETS.values(), ()),
        help='procedural: study (static, in front of a wall, known lens), field (motion, breathing, noise), '
        'real (realistic surfaces and cameras) or default (as in training; the default); '
        'blender: the lens, defocusnet (the default), phone or machine_vision',
    )
    parser.add_argument(
        '--photographs',
        metavar='DIR',
        help='preset real: images for the surfaces, as `dfd assets` unpacks them (default: illustrations)',
    )
    parser.add_argument(
        '--split',
        choices=SPLITS['blender'],
        default='train',
        help='families of textures and shapes; training never sees those of test',
    )
    parser.add_argument('--frames', metavar='N', type=int, default=5, help='frames of a stack')
    parser.add_argument('--height', metavar='PX', type=int, default=256, help='image height')
    parser.add_argument('--width', metavar='PX', type=int, default=256, help='image width')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N; blender: auto, cpu or gpu')
    blender = parser.add_argument_group('with --engine blender')
    # No defaults here, so that options given with the other engine are noticed; RenderSettings has the defaults.
    blender.add_argument(
        '--objects', choices=('small', 'small_and_large'), help='sizes of the objects (default: small_and_large)'
    )
    blender.add_argument(
        '--motion',
        choices=('static', 'camera', 'objects', 'both'),
        help='what moves between the frames (default: static)',
    )
    blender.add_argument(
        '--surfaces',
        choices=('textured', 'real'),
        help='textured, or real: a third are plain paint; with --textures DIR of `dfd assets --prints` half of all '
        'show print and photographs (default: textured)',
    )
    blender.add_argument(
        '--ramp',
        metavar='N',
        type=int,
        help='frames of a rising focus ramp; the focus jumps back after each (default: 5)',
    )
    blender.add_argument(
        '--breathing', action='store_true', default=None, help='focus breathing: the image grows with nearer focus'
    )
    blender.add_argument('--samples', metavar='N', type=int, help='paths per pixel, before denoising (default: 16)')
    blender.add_argument('--meshes', metavar='DIR', help='your own .obj, .glb and .ply files')
    blender.add_argument('--textures', metavar='DIR', help='your own images for materials')
    blender.add_argument('--hdris', metavar='DIR', help='your own .hdr and .exr environment maps')
    blender.add_argument(
        '--workers', metavar='N', type=int, help='Blender processes (default: one for each core, with --device gpu 1)'
    )
    blender.add_argument(
        '--blender-python',
        metavar='FILE',
        help='Python 3.11 of an environment with bpy (default: $DFD_BLENDER_PYTHON, otherwise this Python)',
    )
    world = parser.add_argument_group('views of a world to train on (docs/rooms.md)')
    world.add_argument(
        '--world',
        metavar='FILE.world',
        type=Path,
        help='a Gazebo world (SDF): render views of it in two layers, instead of stacks',
    )
    world.add_argument(
        '--rooms',
        action='store_true',
        help='render views of generated furnished rooms, with the objects of --models and the pictures of --textures',
    )
    world.add_argument(
        '--models',
        metavar='DIR',
        type=Path,
        action='append',
        default=[],
        help='folder to search for the models of the world, or for meshes; repeatable',
    )
    world.add_argument(
        '--exclude',
        metavar='PATTERN',
        action='append',
        default=[],
        help='skip models whose names match, for example "*Portrait*"; repeatable',
    )
    world.add_argument(
        '--bare',
        metavar='SHARE',
        type=float,
        default=0.0,
        help='share of views of bare floors and walls, from nearby too, mostly in plain paint (default: 0)',
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.errors import InputError

    if args.world is not None or args.rooms:
        return _world(args)
    for name in ('models', 'exclude', 'bare'):
        if getattr(args, name):
            raise InputError(f'--{name}: only with --world or --rooms')
    args.preset = args.preset or PRESETS[args.engine][0]
    args.format = args.format or FORMATS[args.engine][0]
    given = [name for name in BLENDER_ONLY if getattr(args, name) is not None]
    if args.engine != 'blender' and given:
        raise InputError(f'--{given[0].replace("_", "-")}: needs --engine blender')
    for name, choices in (
        ('preset', PRESETS[args.engine]),
        ('split', SPLITS[args.engine]),
        ('format', FORMATS[args.engine]),
    ):
        if getattr(args, name) not in choices:
            raise InputError(
                f'--{name} {getattr(args, name)}: with --engine {args.engine} choose one of {", ".join(choices)}'
            )
    if args.photographs is not None and args.preset != 'real':
        raise InputError('--photographs: only with --preset real, give that too or leave it out')
    _check(args)
    return {'procedural': _procedural, 'blender': _blender}[args.engine](args)


def _check(args: argparse.Namespace) -> None:
    from dfd_ros.cli._options import require_within
    from dfd_ros.core.errors import InputError

    bounds: dict[str, tuple[float, float]] = {
        'frames': (2, 1000),
        'height': (MIN_SIDE, MAX_SIDE),
        'width': (MIN_SIDE, MAX_SIDE),
        'seed': (0, 2**62),
        'workers': (1, 256),
        'samples': (1, 2**16),
        'bare': (0, 1),
    }
    require_within(args, **bounds)
    if not 1 <= args.stacks <= 10**7:
        option = 'scenes' if args.engine == 'blender' else 'stacks'
        raise InputError(f'--{option} {args.stacks}: must be ' + ('at least 1' if args.stacks < 1 else 'at most 10^7'))
    if args.seed + args.stacks > 2**62:
        raise InputError(f'--seed {args.seed}: must be less than 2^62')


def _with_blender(args: argparse.Namespace, engine: str, unit: str, render: Callable[..., Any]) -> Any:
    """The result of `render(seeds, machine, progress)`; None after a crash of Blender, which is printed."""
    import os
    import sys

    from tqdm import tqdm

    from dfd_ros.core.child_processes import terminable
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.machine import cores
    from dfd_ros.datasets.rendering.rendered_dataset import Machine
    from dfd_ros.datasets.rendering.workers import BlenderCrashed

    if args.device not in ('auto', 'cpu', 'gpu'):
        raise InputError(f'--device {args.device}: with {engine} choose auto, cpu or gpu')
    workers = min(args.workers or (1 if args.device == 'gpu' else cores()), args.stacks)
    machine = Machine(
        workers, max(1, cores() // workers), args.device, args.blender_python or os.environ.get('DFD_BLENDER_PYTHON')
    )

    def progress(done: int, all_: int):
        return tqdm(initial=done, total=all_, desc='render', unit=unit, smoothing=0.1)

    try:
        with terminable():
            return render(range(args.seed, args.seed + args.stacks), machine, progress)
    except BlenderCrashed as error:
        print(f'dfd: error: {error}; rerun the same command to resume', file=sys.stderr)
        return None


def _world(args: argparse.Namespace) -> int:
    import sys

    from dfd_ros.core.errors import InputError
    from dfd_ros.datasets.rendering.world_views import WorldTask, render_views, write_view_sheet
    from dfd_ros.synthesis.worlds.sdf import read_world

    _check(args)
    if args.world and args.rooms:
        raise InputError('--world and --rooms: give one of them')
    if args.world:
        read_world(args.world, args.models, tuple(args.exclude))  # bad input is refused before Blender starts
    given = {} if args.samples is None else {'samples': args.samples}
    task = WorldTask(
        args.world,
        tuple(args.models),
        tuple(args.exclude),
        args.textures and Path(args.textures),
        bare=args.bare,
        **given,
    )
    result = _with_blender(args, '--world', 'view', partial(render_views, args.out, task))
    if result is None:
        return 1
    rendered, left_out = result
    for line in left_out:
        print(f'dfd: left out: {line}', file=sys.stderr)
    print(f'views    {args.stacks} of {task.name}, {rendered} rendered now, in {args.out}/')
    print(f'picture  {write_view_sheet(args.out)}')
    return 0


def _blender(args: argparse.Namespace) -> int:
    import shlex
    import sys

    from dfd_ros.datasets.rendering.dataset_card import write_card, write_contact_sheet
    from dfd_ros.datasets.rendering.rendered_dataset import render_dataset
    from dfd_ros.datasets.shards import count
    from dfd_ros.synthesis.blender.render_settings import RenderSettings

    settings = RenderSettings(
        **{name: getattr(args, name) for name in RenderSettings.__dataclass_fields__ if getattr(args, name) is not None}
    )
    if _with_blender(args, '--engine blender', 'stack', partial(render_dataset, args.out, settings)) is None:
        return 1
    command = 'dfd ' + shlex.join(sys.argv[1:]) if sys.argv[1:2] == ['render'] else 'dfd render'
    print(f'stacks   {count(args.out)} of {args.frames} frames, {args.width}x{args.height}, in {args.out}/')
    print(f'card     {write_card(args.out, command)}')
    print(f'picture  {write_contact_sheet(args.out)}')
    return 0


def _procedural(args: argparse.Namespace) -> int:
    import os
    from dataclasses import asdict

    from dfd_ros.core.errors import InputError, shortened
    from dfd_ros.core.files import changed_value, locked, output_folder, write_json
    from dfd_ros.inference.backends import choose_device

    resume = args.out / RESUME
    if not resume.exists() and args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise InputError(f'--out {args.out}: already exists; choose a new folder or remove it')
    settings, device = _settings(args), choose_device(args.device)
    described = {
        **{name: getattr(args, name) for name in ('format', 'preset', 'stacks', 'seed')},
        'device': device.type,
        'settings': asdict(settings),
    }
    if other := changed_value(resume, described):
        raise InputError(
            f'--out {args.out}: was interrupted with other settings ({other[0]}: {shortened(other[1])}, not '
            f'{shortened(other[2])}); give the same ones to resume, choose a new folder or remove it'
        )
    lock = locked(output_folder(args.out, SHEET))
    try:
        write_json(resume, described)
        _render_procedural(args, settings, device, lock)
        resume.unlink()  # only interrupted runs are resumed
    finally:
        os.close(lock)
    print(f'stacks   {args.stacks} of {args.frames} frames, {args.width}x{args.height}, in {args.out}/')
    print(f'picture  {args.out / SHEET}')
    return 0


def _render_procedural(args: argparse.Namespace, settings, device, lock: int) -> None:
    """Render the stacks that are not there yet, and the contact sheet."""
    import contextlib
    from dataclasses import asdict

    from tqdm import tqdm

    from dfd_ros.datasets.shards import ShardWriter
    from dfd_ros.datasets.stack_batch import to_sample
    from dfd_ros.drawing import visualise
    from dfd_ros.synthesis.procedural import render_stack

    rows = []
    digits = max(4, len(str(args.stacks - 1)))
    about = {'preset': args.preset, 'split': args.split, 'settings': asdict(settings)}
    writer = ShardWriter(args.out, 'procedural', lock=lock) if args.format == 'shards' else contextlib.nullcontext()
    with writer as shards:
        for i in tqdm(range(args.stacks), desc='render', unit='stack'):
            seed, folder = args.seed + i, args.out / f'{i:0{digits}d}'
            key = f'{seed:08d}'
            is_there = folder.exists() if shards is None else key in shards.done
            if is_there and i >= SHEET_STACKS:
                continue
            batch = render_stack(seed, settings, device).to('cpu')
            name = f'seed {seed}'
            if is_there:
                pass
            elif shards is None:
                to_sample(batch, name).to_focal_stack().write(folder)
            else:
                shards.add(
                    key, to_sample(batch, name, with_magnification=True, frame_rate=FRAME_RATE, seed=seed, about=about)
                )
            if i < SHEET_STACKS:
                rows.append(_row(batch))
    subtitle = (
        f'{args.preset}, {args.split} split, seed {args.seed}; frames in the order of their focus, '
        'depth and circle of confusion of the frame taken last'
    )
    visualise.write_picture(args.out / SHEET, visualise.sheet(rows, 'procedural focal stacks', subtitle))


def _settings(args: argparse.Namespace):
    from dfd_ros.synthesis.procedural import StackSettings
    from dfd_ros.synthesis.scene import SceneSettings

    # Stacks on disk show uncorrected focus breathing, like a camera, and record its magnification.
    size = {'frames': args.frames, 'height': args.height, 'width': args.width, 'breathing_residual': None}
    if args.preset == 'default':
        return StackSettings(scene=SceneSettings(split=args.split), **size)
    if args.preset == 'real':
        return StackSettings.real(split=args.split, photographs=args.photographs or '', **size)
    return {'study': StackSettings.study, 'field': StackSettings.field}[args.preset](split=args.split, **size)


def _row(batch) -> list:
    """One stack on the contact sheet."""
    import numpy as np

    from dfd_ros.drawing.visualise import Bar, Panel, coc_picture, depth_picture, nice_limit

    range_, focus = batch.ranges()[0], batch.focus[0]
    order = focus.argsort(stable=True).tolist()
    shown = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(len(order), SHEET_FRAMES))})
    panels = [
        Panel(batch.images[0, t].permute(1, 2, 0).numpy(), f'v = {focus[t]:.2f}') for t in (order[i] for i in shown)
    ]
    coc = batch.coc[0, -1, 0].abs().numpy()
    largest = nice_limit(coc)
    depth = range_.denormalise(batch.vergence[0, -1, 0].double()).numpy()
    return [
        *panels,
        Panel(depth_picture(depth, range_), 'depth', Bar.depth(range_)),
        Panel(coc_picture(coc, largest), f'CoC at v = {focus[-1]:.2f}', Bar.linear('magma', largest, 'px')),
    ]
