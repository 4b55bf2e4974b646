"""Runs the study: trains and measures all rows. Resumable."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core.errors import InputError, shortened
from dfd_ros.core.files import changed_value, parse_json, read_json, read_text, require_file, write_json
from dfd_ros.core.machine import device_name
from dfd_ros.core.parsing import parse
from dfd_ros.core.run_files import BEST, CHECKPOINT, LOG
from dfd_ros.datasets.stack_cache import StackPool, save_stack, stack_path
from dfd_ros.datasets.stored_stacks import stored_stacks
from dfd_ros.evaluation.study import study_scenes
from dfd_ros.evaluation.study.scene_figures import evaluate, milliseconds
from dfd_ros.evaluation.study.study_report import TITLES
from dfd_ros.evaluation.study.study_rows import Budget, Row, choose_rows
from dfd_ros.evaluation.study.study_scenes import FRAMES
from dfd_ros.evaluation.study.views import Views
from dfd_ros.inference.backends import Backend, TorchBackend, choose_device, is_bf16_fast
from dfd_ros.synthesis.procedural import StackBatch, render_stack
from dfd_ros.training.config import TrainingConfig, make_config
from dfd_ros.training.loop import train

MIN_CROP = 32
HELD_OUT = 10
"""One in this many stacks of `--data` is held out for validation."""
MANY = 10**9  # steps, if the budget is a time


@dataclass(frozen=True)
class _Finished:
    """Content of finished.json: the cost of a training."""

    steps: NonNegativeInt
    hours: NonNegativeFloat
    device: str


@dataclass(frozen=True)
class _Validation:
    """The used parts of a line of log.jsonl."""

    group: Literal['validation']
    step: NonNegativeInt
    hours: NonNegativeFloat
    mse: float


@dataclass(frozen=True)
class Settings:
    """Settings of all rows of a study; a folder holds one study.

    Attributes:
        budget: of each row, see `Budget.parse`.
        crop: side of the training crops and of the test scenes (px).
        frames: frames of a stack.
        batch: stacks of a step.
        scenes: number of procedural stacks to train on; `data`: folders of samples instead of these.
        tests: scenes of each test set.
        seed: of the weights and of the order of the scenes.
    """

    budget: str
    crop: int = 256
    batch: int = 4
    scenes: int = 1000
    tests: int = 50
    seed: int = 0
    data: tuple[str, ...] = ()
    frames: int = FRAMES

    def __post_init__(self):
        Budget.parse(self.budget)
        for name, minimum in (
            ('crop', MIN_CROP),
            ('frames', 2),
            ('batch', 1),
            ('scenes', 1),
            ('tests', 1),
            ('seed', 0),
        ):
            if getattr(self, name) < minimum:
                raise InputError(f'{name} {getattr(self, name)}: must be at least {minimum}')


class Study:
    """A study in a folder.

    Files: settings.json; pool/, the training stacks; rows/NAME/, the run folder of `dfd_ros.training.loop.train` with
    row.json (the row's settings), finished.json (steps, hours, device) and figures.json; results.json.

    Attributes:
        rows: rows of the tables: those selected, and those measured earlier.
        chosen: those selected.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        shared: dict,
        rows: list[Row],
        wanted: str | None = None,
        device: str = 'auto',
    ):
        """
        shared: training settings of all rows.
        wanted: selection of rows, see `choose_rows`; rows measured earlier stay in the tables.

        Raises `InputError` if the folder holds a study with other settings, or a row's configuration is invalid.
        """
        if int(os.environ.get('WORLD_SIZE', 1)) > 1:
            raise InputError('dfd study: runs in one process, start it without torchrun')
        self.folder, self.settings = Path(folder), settings
        self.chosen = choose_rows(rows, wanted)
        self.rows = [row for row in rows if row in self.chosen or (self._of(row) / 'figures.json').exists()]
        self.device = choose_device(device)
        self._shared = shared
        self._stacks = [stack for folder in settings.data for stack in stored_stacks(folder)]
        self.scenes = len(self._stacks) or settings.scenes
        self._held_out = len(self._stacks) // HELD_OUT
        for row in self.rows:  # report errors in all rows before hours are spent on one
            if row.train:
                self.config(row)
            try:
                reads = self._initial(row).frames or settings.frames
            except InputError as error:
                raise InputError(f'row {row.name}: {error}') from None
            if reads != settings.frames:
                raise InputError(
                    f'row {row.name}: reads stacks of {reads} frames, those of this study have '
                    f'{settings.frames} (--frames)'
                )
            other = _difference(self._of(row) / 'row.json', self._described(row))
            if other:
                raise InputError(f'{self._of(row)}: {other}; remove it to start the row again')
        described = asdict(settings)
        if settings.data:
            described['samples'] = study_scenes.fingerprint(self._stacks)
        other = _difference(self.folder / 'settings.json', described)
        if other:
            raise InputError(f'{self.folder}: {other}; give the same settings to resume it, or another folder')
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / 'settings.json', described)

    def _begin(self, row: Row) -> None:
        self._of(row).mkdir(parents=True, exist_ok=True)
        write_json(self._of(row) / 'row.json', self._described(row))

    def _described(self, row: Row) -> dict:
        """Everything that a row's figures depend on."""
        weights = row.weights_path()
        return {
            'network': row.network,
            'config': row.config,
            'training': {**self._shared, **row.training},
            'weights': weights and hashlib.sha256(require_file(weights).read_bytes()).hexdigest(),
            'views': row.views,
        }

    def config(self, row: Row) -> TrainingConfig:
        """The training configuration of a row.

        Raises:
            InputError: a setting is invalid.
        """
        settings, budget = self.settings, Budget.parse(self.settings.budget)
        own = {**self._shared, **row.training}
        decode = own.pop('decode', 1)
        decode = settings.frames if decode == 'all' else decode
        size = study_scenes.stack_size(settings.crop)
        return make_config(
            {
                'half_size': 0.0,
                **own,
                'name': row.name,
                'network': row.network,
                'network_config': row.network_config(settings.crop, settings.frames),
                'steps': budget.steps or MANY,
                'hours': budget.hours,
                'seed': settings.seed,
                'stages': [
                    {'crop': settings.crop, 'batch': settings.batch, 'frames': settings.frames, 'decode': decode}
                ],
                'pool': {
                    'start': self.scenes - self._held_out,
                    'size': self.scenes,
                    'reuse': float('inf'),
                    'workers': 0,
                    'folder': str(self.folder / 'pool'),
                    'on_gpu': True,
                    'held_out': self._held_out,
                },
                'data': asdict(study_scenes.stack_settings('training', size, settings.frames)),
                'initial_weights': str(row.weights_path() or ''),
                'reverse': False,
                'mask_wall': True,
                'validation': 'data',
            },
            f'row {row.name}',
        )

    def render(self, workers: int) -> None:
        """Render the training stacks, once for all rows, unless all rows are trained.

        Args:
            workers: rendering processes, each with one core; 0 = this process, on the device of the study.
        """
        if not self.untrained():
            return
        folder = self.folder / 'pool' / '0'
        folder.mkdir(parents=True, exist_ok=True)
        count = self.scenes
        settings = study_scenes.stack_settings(
            'training', study_scenes.stack_size(self.settings.crop), self.settings.frames
        )
        missing = [i for i in range(count) if not stack_path(folder, i).exists()]
        if not missing:
            return
        bar = tqdm(missing, desc='scenes', unit='stack', initial=count - len(missing), total=count)
        if self.settings.data:
            for index in bar:
                save_stack(
                    stack_path(folder, index),
                    study_scenes.training_stack(self._stacks[index].read(), self.settings.crop, self.settings.frames),
                )
        elif workers == 0:
            for index in bar:
                if not stack_path(folder, index).exists():  # another job may have rendered it meanwhile
                    save_stack(stack_path(folder, index), render_stack(index, settings, self.device))
        else:
            pool = StackPool(folder, settings, workers)
            try:
                pool.want(count)
                for index in bar:
                    pool.get(index)
            finally:
                pool.close()

    def untrained(self) -> list[Row]:
        """Rows whose training is not finished."""
        return [row for row in self.rows if row.train and not (self._of(row) / 'finished.json').exists()]

    def train(self, row: Row) -> dict:
        """Train a row to the end of its budget, unless it is finished. Returns the cost: steps, hours, device."""
        folder = self._of(row)
        finished = folder / 'finished.json'
        if not finished.exists():
            self._begin(row)
            train(self.config(row), folder, str(self.device))
            last = validations(folder)[-1]
            write_json(finished, {'steps': last['step'], 'hours': last['hours'], 'device': machine(self.device)})
            (folder / CHECKPOINT).unlink()  # as large as three networks, and no longer needed
        return _checked(_Finished, finished)

    def network(self, row: Row) -> networks.Network:
        """The network of a row, with the best weights by validation."""
        if row.train:
            return networks.load(self._of(row) / BEST, network=row.network)
        return self._initial(row)

    def _initial(self, row: Row) -> networks.Network:
        if (weights := row.weights_path()) is not None:
            return networks.load(weights, network=row.network)
        return networks.create(row.network, **row.network_config(self.settings.crop, self.settings.frames))

    def measure(self, row: Row, sets: Mapping[str, Callable[[], list[StackBatch]]]) -> dict[str, dict]:
        """The figures of a row on each set."""
        path = self._of(row) / 'figures.json'
        self._begin(row)
        figures = _checked(dict[str, dict[str, float]], path) if os.path.lexists(path) else {}
        # Folders may have changed since: measure them again.
        figures = {name: value for name, value in figures.items() if name in study_scenes.SETS}
        backend = None
        for name, scenes in sets.items():
            if name in figures:
                continue
            backend = backend or self._backend(row, self.network(row))
            figures[name] = evaluate(backend, tqdm(scenes(), desc=f'{row.name}, {name}', leave=False))
            write_json(path, figures)
        return {name: figures[name] for name in sets}

    def results(self, blender: list[StackBatch], real: StackBatch | None) -> dict:
        """All results, which are written to results.json too.

        Args:
            blender: scenes of the set `blender`, empty = none; real: a scene that becomes a set if it has ground truth.
        """
        sets: dict[str, Callable[[], list[StackBatch]]] = {
            name: functools.cache(functools.partial(self._scenes, name)) for name in study_scenes.SETS
        }
        if blender:
            sets['blender'] = lambda: blender
        if real is not None and real.foreground.any():
            sets['real'] = lambda: [real]
        rows: list[dict[str, Any]] = []
        timed: dict[str, tuple[Backend, int]] = {}
        for row in self.rows:
            network = self.network(row)
            timed[row.name] = self._backend(row, network, 'auto'), network.frames or 1
            parameters = sum(p.numel() for p in network.parameters())
            rows.append(
                {
                    'name': row.name,
                    'title': row.title,
                    'network': row.network,
                    'parameters': parameters,
                    'trained_before': bool(row.weights),
                    'weights': row.weights,
                    **(self.train(row) if row.train else {}),
                    'sets': self.measure(row, sets),
                }
            )
        times = milliseconds(timed, next(self._procedural('large', 1)))
        results = {
            'settings': asdict(self.settings),
            'machine': machine(self.device),
            'timed_in_bf16': is_bf16_fast(self.device),
            'rows': [{**row, 'ms': times[row['name']]} for row in rows],
        }
        write_json(self.folder / 'results.json', results)
        return results

    def _scenes(self, name: str) -> list[StackBatch]:
        scenes = self._procedural(name, self.settings.tests)
        return list(tqdm(scenes, desc=f'test scenes, {name}', total=self.settings.tests, leave=False))

    def _procedural(self, name: str, count: int) -> Iterator[StackBatch]:
        return study_scenes.procedural_scenes(name, count, self.settings.crop, self.device, self.settings.frames)

    def curves(self) -> dict[str, list[dict]]:
        """The figures of all validations, by title of the row."""
        return {row.title: validations(self._of(row)) for row in self.rows if row.train}

    def backends(self, network: str | None = None) -> dict[str, Backend]:
        """Backends by title of the row, of all rows or of those with this network."""
        return {row.title: self._backend(row, self.network(row)) for row in self.rows if network in (None, row.network)}

    def _backend(self, row: Row, network: networks.Network, precision: str = 'fp32') -> Backend:
        backend = TorchBackend(network, self.device, precision)
        return Views(backend, row.views) if row.views > 1 else backend

    def pictured(self, blender: list[StackBatch], real: StackBatch | None) -> list[tuple[str, StackBatch]]:
        """Titles and scenes of the picture grid: the first scenes of the test sets."""
        counts = {'small': 1, 'large': 2, 'moving': 1}
        scenes = [(TITLES[name], scene) for name, count in counts.items() for scene in self._procedural(name, count)]
        scenes += [(TITLES['blender'], scene) for scene in blender[:2]]
        return scenes + ([(TITLES['real'], real)] if real is not None else [])

    def _of(self, row: Row) -> Path:
        return self.folder / 'rows' / row.name


def machine(device: torch.device) -> str:
    """The name of the GPU, or of the processor with the number of threads."""
    if device.type == 'cuda':
        return device_name(device)
    threads = torch.get_num_threads()
    return f'{device_name(device)}, {threads} thread{"s" if threads > 1 else ""}'


def validations(folder: Path) -> list[dict]:
    """The figures of all validations of a training, by step. Skips truncated lines, which a kill
    leaves.

    Raises:
        InputError: there is no validation.
    """
    lines: list[dict] = []
    path = folder / LOG
    for text in read_text(path, largest=2**30).splitlines():
        with contextlib.suppress(InputError):
            line = parse_json(text, str(path))
            parse(_Validation, line, str(path), extra='ignore')
            # A killed run resumes at an earlier step.
            lines = [earlier for earlier in lines if earlier['step'] < line['step']] + [line]
    if not lines:
        raise InputError(f'{path}: no validation in it; remove {folder} to start the row again')
    return lines


def _checked(kind: Any, path: Path) -> Any:
    """The content of a JSON file of the study. Raises `InputError` if it does not have this type."""
    content = read_json(path)
    parse(kind, content, str(path))
    return content


def _difference(path: Path, mine: dict) -> str | None:
    """The first setting that differs from those in a file, as text; None if none does or there is no file."""
    if other := changed_value(path, mine):
        name, theirs, now = other
        return f'was made with {name} {shortened(theirs)}, not {shortened(now)}'
    return None
