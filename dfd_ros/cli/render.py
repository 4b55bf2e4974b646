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
        help='folder for the stacks (procedural: 0000, 0001, ..., or shards; blender: shards) or views, a contact '
        'sheet and a data card; rerun the same command to resume',
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
    parser.add_argument(
        '--shard',
        metavar='I/N',
        default='1/1',
        help='this is job I of N (1..N) that render into the folder: render every N-th stack or view',
    )
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
    from dfd_ros.core.shares import share_of

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
    share_of((), args.shard)


def _with_blender(args: argparse.Namespace, engine: str, unit: str, render: Callable[..., Any]) -> Any:
    """The result of `render(seeds, machine, progress)`; None after a crash of Blender, which is printed."""
    import os
    import sys

    from tqdm import tqdm

    from dfd_ros.core.child_processes import terminable
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.machine import cores
    from dfd_ros.core.shares import share_of
    from dfd_ros.datasets.rendering.workers import BlenderCrashed, Machine

    if args.device not in ('auto', 'cpu', 'gpu'):
        raise InputError(f'--device {args.device}: with {engine} choose auto, cpu or gpu')
    mine = len(share_of(range(args.stacks), args.shard))
    workers = max(1, min(args.workers or (1 if args.device == 'gpu' else cores()), mine))
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
    from dfd_ros.datasets.rendering.world_views import WorldTask, render_views, write_view_card, write_view_sheet
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
    result = _with_blender(args, '--world', 'view', partial(render_views, args.out, task, job=args.shard))
    if result is None:
        return 1
    there, rendered, left_out = result
    for line in left_out:
        print(f'dfd: left out: {line}', file=sys.stderr)
    print(f'views    {_of(there, args)} of {task.name}, {rendered} rendered now, in {args.out}/')
    if there == args.stacks:
        print(f'card     {write_view_card(args.out)}')
        print(f'picture  {write_view_sheet(args.out)}')
    return 0


def _blender(args: argparse.Namespace) -> int:
    from dfd_ros.datasets.rendering.dataset_card import write_card, write_contact_sheet
    from dfd_ros.datasets.rendering.rendered_dataset import render_dataset
    from dfd_ros.datasets.shards import count
    from dfd_ros.synthesis.blender.render_settings import RenderSettings

    settings = RenderSettings(
        **{name: getattr(args, name) for name in RenderSettings.__dataclass_fields__ if getattr(args, name) is not None}
    )
    done = _with_blender(args, '--engine blender', 'stack', partial(render_dataset, args.out, settings, job=args.shard))
    if done is None:
        return 1
    there, is_complete = done
    there = count(args.out) if is_complete else there  # with those of other seeds
    print(f'stacks   {_of(there, args)} of {args.frames} frames, {args.width}x{args.height}, in {args.out}/')
    if is_complete:
        print(f'card     {write_card(args.out, _command())}')
        print(f'picture  {write_contact_sheet(args.out)}')
    return 0


def _procedural(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.datasets.rendering.procedural_dataset import SHEET_FILE, ProceduralSet, render_procedural
    from dfd_ros.inference.backends import choose_device

    seeds = range(args.seed, args.seed + args.stacks)
    what = ProceduralSet(args.preset, args.split, _settings(args), seeds, args.format == 'shards')
    progress = partial(tqdm, desc='render', unit='stack')
    count = render_procedural(args.out, what, choose_device(args.device), args.shard, _command(), progress)
    print(f'stacks   {_of(count, args)} of {args.frames} frames, {args.width}x{args.height}, in {args.out}/')
    if count == args.stacks:
        print(f'picture  {args.out / SHEET_FILE}')
    return 0


def _of(count: int, args: argparse.Namespace) -> str:
    """The number of stacks or views that are there: of all, as long as other jobs have theirs to do."""
    return f'{count}' if count >= args.stacks else f'{count} of {args.stacks}'


def _command() -> str:
    """This command, without the job that it is of a set."""
    import re
    import shlex
    import sys

    if sys.argv[1:2] != ['render']:
        return 'dfd render'
    return re.sub(r' --shard[ =]\S+', '', 'dfd ' + shlex.join(sys.argv[1:]))


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
