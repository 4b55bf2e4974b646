"""`dfd inspect`: what a file is, and how it was made."""

from __future__ import annotations

import argparse
import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfd_ros.cli import _inspect_text
from dfd_ros.cli._inspect_text import Lines, made_by, readable
from dfd_ros.core import provenance
from dfd_ros.core.files import read_text

HELP = 'print what a file or folder is and what made it: weights, run, ONNX, stack, photographs, bag, calibration'
EXAMPLE = 'dfd inspect runs/stream/best.safetensors'

MAX_TOPICS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'path', metavar='FILE', type=Path, help='file, or folder of a focal stack, photographs, shards, a bag or a run'
    )


def run(args: argparse.Namespace) -> int:
    from dfd_ros.core.provenance import file_hash

    kind, describe = _kind(args.path)
    rows = [('file', args.path), ('kind', kind), *describe(args.path)]
    if args.path.is_file():
        rows += [('size', f'{args.path.stat().st_size / 1e6:.3g} MB'), ('sha256', file_hash(args.path))]
    rows = [(_printable(name), value) for name, value in rows]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        for line in str(value).splitlines() or ['']:
            print(f'{name:{width}}  {_printable(line)}'.rstrip())
            name = ''
    return 0


def _printable(text: object) -> str:
    """A file may hold characters that control a terminal."""
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def _kind(path: Path) -> tuple[str, Callable[[Path], Lines]]:
    from dfd_ros.bags.bag_files import is_bag
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.files import require_file
    from dfd_ros.core.run_files import CHECKPOINT

    if path.is_dir():
        if (path / 'stack.yaml').exists():
            return 'focal stack', _stack
        if is_bag(path):
            return 'bag', _bag
        if any(path.glob('**/*.tar')):
            return 'samples', _samples
        if (path / CHECKPOINT).exists():
            return 'training run', lambda folder: _checkpoint(folder / CHECKPOINT)
        from dfd_ros.photographs.photograph_folder import photograph_paths

        if photograph_paths(path):
            return 'photographs', _photographs
        raise InputError(
            f'{path}: neither a focal stack (stack.yaml), photographs, a bag, shards (*.tar) nor a training run'
        )
    if not path.exists():
        raise InputError(f'{path}: no such file or folder')
    require_file(path)
    if path.suffix.lower() in ('.yaml', '.yml', '.json', '.xml'):
        return _inspect_text.kind(path)
    kinds = {
        '.safetensors': ('weights', _weights),
        '.pt': ('checkpoint', _checkpoint),
        '.onnx': ('exported network', _onnx),
        '.tar': ('samples', _samples),
        '.jsonl': ('index of samples', _index),
        '.mcap': ('bag', _bag),
        '.db3': ('bag', _bag),
        '.zstd': ('bag', _bag),
    }
    if path.suffix.lower() not in kinds:
        known = ', '.join([*kinds, '.yaml', '.yml', '.json', '.xml'])
        raise InputError(f'{path}: dfd inspect does not know this kind of file; it knows {known}')
    return kinds[path.suffix.lower()]


def _weights(path: Path) -> Lines:
    from dfd_ros import networks

    with networks.opened(path) as file:
        yield 'parameters', sum(math.prod(shape) for shape in file.shapes.values())
        for name, text in file.metadata.items():
            yield from made_by(text) if name == provenance.KEY else [(name, readable(text))]


def _checkpoint(path: Path) -> Lines:
    from dfd_ros.training.checkpoint import read

    saved = read(path)
    yield 'step', saved.get('step')
    yield 'time', f'{saved.get("seconds", 0.0) / 3600:.2f} h'
    yield 'best score', saved.get('best')
    yield from made_by(saved.get(provenance.KEY))
    yield from (saved.get('settings') or {}).items()


def _onnx(path: Path) -> Lines:
    from dfd_ros.core.errors import InputError, reason

    try:
        import onnx
    except ImportError:
        raise InputError('dfd inspect: onnx is not installed: pip install onnx') from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf has many exception types
        raise InputError(f'{path}: not a complete ONNX file ({reason(error)})') from None
    if not model.graph.node:
        raise InputError(f'{path}: not a complete ONNX file (it has no graph)')
    for entry in model.metadata_props:
        if provenance.KEY in entry.key:
            yield from ((entry.key.replace('_', ' '), line) for _, line in made_by(entry.value))
        else:
            yield entry.key, readable(entry.value)
    yield 'opset', ', '.join(f'{entry.domain or "ai.onnx"} {entry.version}' for entry in model.opset_import)
    for title, values in (('inputs', model.graph.input), ('outputs', model.graph.output)):
        sides = [[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim] for value in values]
        yield title, '\n'.join(f'{value.name} ({", ".join(map(str, s))})' for value, s in zip(values, sides))


def _stack(folder: Path) -> Lines:
    from dfd_ros.core.focal_stack import FocalStack

    stack = FocalStack.read(folder, metric=False)
    height, width = stack.images[0].shape[:2]
    yield 'frames', f'{len(stack)} of {width}x{height}'
    yield from _lens(stack.lens_states, stack.is_metric)
    yield 'true depth', 'no' if stack.depth is None else 'yes'
    yield from made_by(provenance.of_comment(read_text(folder / 'stack.yaml')))


def _photographs(folder: Path) -> Lines:
    from dfd_ros.core.errors import InputError
    from dfd_ros.core.image_io import read_small_image
    from dfd_ros.photographs.photograph_folder import SMALL, photograph_paths, read_photographs

    paths = photograph_paths(folder)
    first = read_small_image(paths[0], SMALL)
    # As they are read: upright.
    is_portrait = first.pixels.shape[0] > first.pixels.shape[1]
    width, height = sorted(first.stored_size, reverse=not is_portrait)
    yield 'photographs', f'{len(paths)}, {paths[0].name} to {paths[-1].name}, {width}x{height}'
    yield 'camera', first.camera or 'unknown'
    try:
        found = read_photographs(folder)
    except InputError as error:
        yield 'focal stack', f'no: {error}'
        return
    distances = found.focus_distances
    yield 'focal stack', f'yes; to complete and keep what is known of it: dfd stack init {shlex.quote(str(folder))}'
    yield 'focus', found.focus_source if distances is None else f'{", ".join(f"{d:.3g}" for d in distances)} m (EXIF)'


def _samples(path: Path) -> Lines:
    from dfd_ros.datasets.shards import Samples, shards

    samples = Samples(path)
    yield 'shards', len(shards(path))
    yield 'samples', len(samples)
    sample = samples[0]
    height, width = sample.images.shape[1:3]
    yield 'first sample', f'{len(sample)} frames of {width}x{height}'
    yield from _lens(sample.lens_states)
    truth = [name for name in ('background', 'coc', 'flow', 'all_in_focus') if getattr(sample, name) is not None]
    yield 'truth', ', '.join(['depth', *truth])
    yield 'source', sample.source
    yield 'seed', sample.seed
    for name, value in sample.about.items():
        if name == provenance.KEY:
            yield from made_by(value)
        else:
            yield name, readable(json.dumps(value)) if isinstance(value, dict) else value
    settings = (path if path.is_dir() else path.parent) / 'settings.json'  # of dfd render --engine blender
    if settings.is_file():
        yield 'settings', readable(read_text(settings))


def _index(path: Path) -> Lines:
    from dfd_ros.datasets.sample_index import read_index

    head, shards = read_index(path)
    yield 'shards', len(shards)
    yield 'samples', sum(len(shard['samples']) for shard in shards)
    yield from made_by(head.get(provenance.KEY))


def _lens(states: Any, is_metric: bool = True) -> Lines:
    first = states[0]
    distances = ', '.join(f'{state.focus_distance:.3g}' for state in states) + ' m'
    yield 'focus', distances if is_metric else 'distances unknown, only the order of the frames'
    parts = (
        (first.focal_length, f'f = {1e3 * first.focal_length:.3g} mm'),
        (first.f_number, f'f-number {first.f_number:.3g}'),
        (first.pixel_pitch, f'pixels of {1e6 * first.pixel_pitch:.3g} um'),
    )
    yield 'lens', ', '.join(text for value, text in parts if not math.isnan(value)) or 'unknown'


def _bag(path: Path) -> Lines:
    from dfd_ros.bags.bag_files import metadata_of
    from dfd_ros.bags.bag_reader import Bag

    bag = Bag(path)
    for topic in sorted(bag.topics)[:MAX_TOPICS]:
        yield topic, f'{bag.counts[topic]} {bag.topics[topic]}'
    for note in bag.notes():
        yield 'note', note
    custom = metadata_of(path if path.is_dir() else path.parent).get('custom_data')
    yield from made_by(custom.get(provenance.KEY) if isinstance(custom, dict) else None)
