"""`dfd evaluate`: accuracy on a test set."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dfd_ros.inference.estimator_arguments import add_estimator_arguments, estimator_options

if TYPE_CHECKING:
    from dfd_ros.evaluation.frame_figures import FrameFigures

HELP = 'measure accuracy on a procedural test set or on focal stacks with ground truth'
EXAMPLE = 'dfd evaluate --data field --stacks 100'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--data',
        default='field',
        help='study, field, real, still, walls, rooms:DIR of views (docs/results.md says what each is; real:DIR '
        'and still:DIR show the photographs of a folder), a folder of shards or of focal stacks with true depth, the '
        'URL of a folder of shards with an index (dfd index), '
        'or a public test set: ddff12:FILE, zedd:DIR, fod500:DIR, nyuv2:FILE (docs/public_data.md)',
    )
    parser.add_argument(
        '--stacks',
        type=int,
        metavar='N',
        help='only the first N (default: 100 of a procedural set, which take some seconds each; otherwise all)',
    )
    parser.add_argument('--size', type=int, default=256, metavar='PX', help='image side of a procedural set')
    parser.add_argument(
        '--sweep',
        type=int,
        metavar='N',
        help='frames of each of the three sweeps of a procedural stack '
        '(default: 5, or as many as the network reads at a time); of a public set: slices of '
        'each stack',
    )
    add_estimator_arguments(parser)
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures to this file')
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='also draw how far the confidence can be believed, as PNG or SVG'
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.cli._options import require_within
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_writable, write_json

    require_within(args, stacks=(1, 100_000), size=(64, 4096), sweep=(2, 200))
    for path in filter(None, (args.json, args.plot)):
        require_writable(path)
    if args.plot and args.plot == args.json:
        raise InputError(f'--plot, --json: both are {args.plot}')
    if args.plot and args.plot.suffix not in ('.png', '.svg'):
        raise InputError(f'--plot {args.plot}: must end in .png or .svg')

    # After the checks, which then take no time.
    from dfd_ros.core.remote_files import is_remote
    from dfd_ros.datasets.stored_stacks import stored_stacks
    from dfd_ros.evaluation.evaluation_stacks import SETS, find_procedural_set, folder_stacks, procedural_stacks
    from dfd_ros.evaluation.frame_figures import evaluate
    from dfd_ros.evaluation.public_sets import find_public_set
    from dfd_ros.inference.estimator import DepthEstimator

    estimator = DepthEstimator(**estimator_options(args))
    if public := find_public_set(args.data):
        if args.plot:
            raise InputError(f'--plot: not with the public set {args.data}')
        return _run_public(args, estimator, *public)
    sweep = args.sweep or estimator.stack_frames or 5
    if procedural := find_procedural_set(args.data):
        name, folder = procedural
        count = args.stacks or 100
        drawn = procedural_stacks(name, count, 3 * sweep, args.size, sweep, folder)
        stacks = tqdm(drawn, total=count, desc=name)
    elif is_remote(args.data) or Path(args.data).is_dir():
        stored = stored_stacks(args.data)[: args.stacks]
        stacks = tqdm(folder_stacks(stored), total=len(stored), desc=args.data)
    else:
        raise InputError(f'--data {args.data}: neither a test set ({", ".join(SETS)}) nor a folder')

    figures = evaluate(estimator, iter(stacks), (*range(1, sweep + 1), 2 * sweep, 3 * sweep), sweep)
    if not figures:
        raise InputError(
            f'--data {args.data}: nothing to measure: no pixel in the swept range has an estimate and a true depth'
        )
    print(f'\nTest set {args.data}, after each frame.')
    _print_figures(figures, sweep)
    if args.json:
        write_json(args.json, [asdict(f) for f in figures])
    if args.plot:
        from dfd_ros.evaluation.confidence_plot import write_confidence_plot

        write_confidence_plot(args.plot, figures[-1], f'{args.data}, after the last frame')
    return 0


def _print_figures(figures: list[FrameFigures], sweep: int) -> None:
    from dfd_ros.core.laplace import CONFIDENT_ERROR
    from dfd_ros.evaluation.frame_figures import CONFIDENT, EDGE, STILL, WRONG

    def frame(f: FrameFigures) -> str:
        return f'{f.frame or "last":>5}'

    print(
        '\nErrors. u: vergence, 0 to 1 over the focus range. MSE, RMS: of depth over the largest depth of the set.\n'
        'MAE of 70 % / all: error of the most confident 70 % of the pixels, divided by that of all.\n'
        'AUSE: how far the confidence is from ranking pixels by their error, 0 = perfect. docs/glossary.md has more.\n'
    )
    print('frame   MAE of u   MSE        RMS     Accuracy   AbsRel   MAE of 70 % / all   AUSE    CoC MAE')
    for f in figures:
        print(
            f'{frame(f)}   {f.mae_u:8.4f}   {f.mse:.2e}   {f.rms:.4f}  {f.accuracy:7.2f} %   {f.abs_rel:6.4f}'
            f'   {f.confident:17.3f}   {f.ause:.4f}  {f.coc_px:5.2f} px'
        )
    print(f'\nmore than {EDGE} px from every depth edge, {figures[-1].inner:.0%} of the pixels\n')
    print('frame   RMS     Accuracy')
    for f in figures:
        print(f'{frame(f)}   {f.inner_rms:.4f}  {f.inner_accuracy:7.2f} %')
    print(f'\nconfident: confidence over {CONFIDENT:g}; wrong: u is off by more than {WRONG:g}\n')
    print('frame   confident   wrong of these   confident and wrong, of all   calibration error of the confidence')
    for f in figures:
        print(
            f'{frame(f)}   {f.sure:9.2%}   {_text(f.sure_wrong, "14.2%")}   {f.shown_wrong:27.2%}'
            f'   {f.calibration_error:38.3f}'
        )
    print(f'\nafter the last frame; right: u is off by less than {CONFIDENT_ERROR:g}\n')
    print('confidence   ' + ' '.join(_text(stated, '5.2f') for stated in figures[-1].stated))
    print('right        ' + ' '.join(_text(right, '5.2f') for right in figures[-1].right))
    compared = [f for f in figures if math.isfinite(f.still)]
    if not compared:
        return
    print(f'\nsince {sweep} frames before; still: true u changed by less than {STILL:g}\n')
    print('frame   still     their change of u: RMS   median   others: MAE of u')
    for f in compared:
        print(
            f'{frame(f)}   {f.still:6.1%}   {_text(f.flicker_rms, "22.4f")}   {_text(f.flicker_median, "6.4f")}'
            f'   {_text(f.changed_mae, "16.4f")}'
        )


def _text(value: float, specification: str) -> str:
    """A figure; '-' where no pixel has it."""
    text = format(value, specification)
    return '-'.rjust(len(text)) if math.isnan(value) else text


def _run_public(args: argparse.Namespace, estimator, public, path: Path) -> int:
    from tqdm import tqdm

    from dfd_ros.core.files import write_json
    from dfd_ros.evaluation.public_sets import evaluate_public
    from dfd_ros.evaluation.published_figures import comparison

    stacks = public.open(path, args.sweep or estimator.stack_frames)
    count = min(args.stacks or len(stacks), len(stacks))
    figures = evaluate_public(estimator, public, tqdm(islice(stacks, count), total=count, desc=args.data))
    name = args.network or (args.weights.stem if args.weights else 'the weights that ship')
    print(f'\n{public.title}: mean over {count} stacks, {figures["known"]:.1%} of the pixels have an estimate\n')
    print(comparison(args.data.partition(':')[0], figures, name))
    if args.json:
        write_json(args.json, figures)
    return 0
